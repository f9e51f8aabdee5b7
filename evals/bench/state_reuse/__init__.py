"""`LinearReader` on a real vLLM server, against what one would otherwise run: what reuse of the model's state is worth.

One module a scenario: `latency`, `append`, `busy`, `answers`, `m3_schedule`, `concurrency`, `small_cache`, `writes`.
"""
