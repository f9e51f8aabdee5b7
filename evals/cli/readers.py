"""All readers on the same work."""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.shared import say

commands = typer.Typer()

SIZES = (16, 64, 256, 1_024)


@commands.command("compare-readers")
def compare_readers(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of figures and report.")] = Path(
        "runs/compare_readers"
    ),
    clips: Annotated[
        list[int] | None,
        typer.Option(help="Of a household memory, a multiple of 16; repeatable.", show_default="16, 64, 256, 1024"),
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="About memories of each size, at least.")] = 200,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="linmem-tiny: hybrid, linear, softmax, or a folder; repeatable.")
    ] = None,
    readers: Annotated[list[str] | None, typer.Option("--reader", help="Only this one; repeatable.")] = None,
    locomo: Annotated[Path | None, typer.Option(help="LoCoMo's JSON file, to find its evidence as well.")] = None,
    embeddings: Annotated[str, typer.Option(help="For LoCoMo: lexical, minilm, or provider:model.")] = "lexical",
    answers: Annotated[
        str | None, typer.Option(help="The chat model that reads LoCoMo and answers, by name; without it no F1.")
    ] = None,
) -> None:
    """Quality, tokens, latency, cost of writes and size of state of every reader; goes on where it stopped."""
    from evals.compare_readers.command import Wanted, run
    from evals.compare_readers.report import shown

    wanted = Wanted(
        sizes=clips or SIZES,
        questions=questions,
        models=models or (),
        readers=readers or (),
        locomo=locomo,
        embeddings=embeddings,
        answers=answers,
    )
    found = run(wanted, out, say)
    for line in shown(found):
        say(line)
    say(f"report: {out / 'report.md'}")
    if any(done.work.error for done in found):
        raise typer.Exit(1)
