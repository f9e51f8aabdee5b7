"""python -m evals.bench NAME"""

from typing import Annotated

import typer

from evals.bench import chroma

app = typer.Typer(add_completion=False)


@app.callback()
def benchmarks() -> None:
    """Ratios against what a user would otherwise run."""


@app.command(name="chroma")
def bench_chroma(repeats: Annotated[int, typer.Option(min=1)] = 200) -> None:
    """Our writes and reads against bare chromadb with the same vectors."""
    chroma.main(repeats=repeats)


app()
