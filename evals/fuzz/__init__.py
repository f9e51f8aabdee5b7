"""Damaged files, given to everything that reads files: `python -m evals.fuzz`.

`damage` damages bytes, `documents` what JSON says, `run` reads them and watches; `graphs`, `benchmarks` and `rows` are
the kinds of files.
"""
