"""Every reader on the same work: `python -m evals compare-readers`.

`worlds` makes household memories of several sizes out of the same worlds, `candidates` says which readers are asked,
`asking` asks them and measures what they take, `locomo` does so with LoCoMo's evidence, `report` writes it down.
"""
