"""A real vLLM server on CPU over a tiny model, for the benchmarks and the tests."""
