"""Questions of the LinMem paper, asked of a benchmark that runs anywhere: `python -m evals ablations --suite tiny`.

One module a question: `end_to_end`, `retrieval`, `summaries`, `transcripts`, `architectures`, `cost`. Each gives an
`Outcome` (`outcome`), which `report` writes down. The suite `tiny` has linmem-tiny read households of the bundled
benchmark's kind.
"""
