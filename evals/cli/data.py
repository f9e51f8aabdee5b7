"""M3-Bench's data: fetched, converted, and its search compared with the recorded one."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from evals.cli.shared import console, progress, say
from linmem_langgraph.errors import ConfigError

commands = typer.Typer()


@commands.command()
def fetch(
    benchmark: Annotated[Literal["m3_bench"], typer.Argument(help="Whose data.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The benchmark's folder.")] = Path("data/m3_bench"),
    source: Annotated[Path | None, typer.Option("--from", help="A local copy; nothing is downloaded then.")] = None,
    subset: Annotated[Literal["robot", "web"] | None, typer.Option(help="One half.", show_default="both")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Download without asking.")] = False,
) -> None:
    """Get annotations and memory graphs, and convert the graphs; what is there already stays."""
    from evals.fetch import convert, download

    if source is None:
        download(out, subset, (lambda question: None) if yes else _ask, say, progress)
    convert(source or out, out, subset, say, progress)


@commands.command("import-graphs")
def import_graphs(
    source: Annotated[Path, typer.Argument(help="A graph (.pkl), an archive (.tar.gz), or a folder of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The benchmark's folder.")] = Path("data/m3_bench"),
) -> None:
    """Convert M3-Agent's memory graphs to memories and vectors, without running what is in the files."""
    from evals.m3_graphs.convert import import_graphs as convert
    from evals.m3_graphs.convert import tell

    with progress("importing") as advance:
        found = convert(source, out, advance)
    tell(found, out, say)


@commands.command("check-parity")
def check_parity(
    folder: Annotated[Path, typer.Argument(help="Graphs, cases.json and hash_embedding.py, which is run.")],
) -> None:
    """Compare the search over memory graphs with what M3-Agent's own was recorded to do; 1 if a case differs."""
    from evals.m3_graphs.parity import check

    cases = check(folder)
    for case in cases:
        console.print(f"{case.outcome:9}{case.name}{': ' if case.why else ''}{case.why}", markup=False, highlight=False)
    counts = Counter(case.outcome for case in cases)
    console.print(f"{len(cases)} cases: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")
    if counts["differs"]:
        raise typer.Exit(1)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked, as there is no terminal: call again with --yes to download")
    typer.confirm(question, abort=True)
