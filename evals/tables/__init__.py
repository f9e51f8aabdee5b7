"""The tables of LinMem and of M3-Agent's control ablation, measured again: `python -m evals table main`.

`published` holds their figures, `tables` what each row and column is run with, `measuring` runs and prints them;
`context` is the needle test. A row is a config of `configs/m3_bench/`; what is run stays in the table's folder, and
goes on from there.
"""
