"""python -m evals.bench NAME"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evals.bench import chroma
from linmem_langgraph.errors import ConfigError

app = typer.Typer(add_completion=False)


@app.callback()
def benchmarks() -> None:
    """Ratios against what a user would otherwise run."""


@app.command(name="chroma")
def bench_chroma(repeats: Annotated[int, typer.Option(min=1)] = 200) -> None:
    """Our writes and reads against bare chromadb with the same vectors."""
    chroma.main(repeats=repeats)


@app.command(name="agents")
def bench_agents(repeats: Annotated[int, typer.Option(min=1)] = 300) -> None:
    """The loop against other agents, and what the middleware adds to a turn."""
    from evals.bench import agents

    agents.main(repeats=repeats)


@app.command(name="conversations")
def bench_conversations(
    conversations: Annotated[int, typer.Option(min=1)] = 64, turns: Annotated[int, typer.Option(min=2)] = 10
) -> None:
    """Conversations at once in one process: what writes and reads take, and whether all of it was remembered once."""
    from evals.bench import conversations as bench

    bench.main(conversations, turns)


@app.command(name="delta")
def bench_delta(
    data: Annotated[Path | None, typer.Option(help="A LoCoMo JSON file.", show_default="only the times")] = None,
    embeddings: Annotated[str, typer.Option(help="By name.")] = "minilm",
    draws: Annotated[int, typer.Option(min=1, help="Of codes, for each figure.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Of what is timed.")] = 100,
    out: Annotated[Path, typer.Option(help="The folder for tables and plots.")] = Path("runs/bench"),
) -> None:
    """What the delta reader's rules recall, and its times against bare matrix products: some minutes."""
    from evals.bench import delta

    try:
        delta.main(data, embeddings=embeddings, draws=draws, repeats=repeats, out=out)
    except ConfigError as exc:
        Console().print(f"error: {exc}", style="red", markup=False)
        raise typer.Exit(2) from exc


@app.command(name="state_reuse")
def bench_state_reuse(
    scenario: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.", show_default="all")] = None,
    url: Annotated[
        str | None, typer.Option(help="A running vLLM server's /v1.", show_default="tiny ones on CPU, started for this")
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Of what is timed in pairs.", show_default="5")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only see that all of it runs, in two minutes.")] = False,
    out: Annotated[Path, typer.Option(help="The folder for figures and plots.")] = Path("runs/bench"),
) -> None:
    """Reads that reuse a model's state on a real vLLM server, against those that do not: some minutes."""
    from evals.bench.state_reuse import command
    from evals.bench.state_reuse.scale import Scale

    scale = Scale.quick() if quick else Scale()
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        command.run(
            scenario or [],
            scale.model_copy(update={"repeats": repeats or scale.repeats}),
            url=url,
            out=out,
            console=console,
        )
    except ConfigError as exc:
        console.print(f"error: {exc}", style="red", markup=False)
        raise typer.Exit(2) from exc


@app.command(name="rehearsal")
def bench_rehearsal(
    annotations: Annotated[Path, typer.Argument(help="M3-Bench's robot.json.")],
    url: Annotated[
        str | None,
        typer.Option(help="A running vLLM server's /v1.", show_default="a tiny one on CPU, started for this"),
    ] = None,
    kills: Annotated[int, typer.Option(min=0, help="How often the run is killed on its way.")] = 2,
    out: Annotated[Path, typer.Option(help="The folder of data, run and report; a new one.")] = Path("runs/rehearsal"),
) -> None:
    """All robot questions of M3-Bench over made-up captions, killed and resumed: a quarter of an hour."""
    from evals.bench import rehearsal

    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        data = rehearsal.write_data(annotations, out / "data")
        with rehearsal.served(url, out / "server", console.print) as server:
            whole = rehearsal.run(data, server, out, kills, console.print)
            found = rehearsal.orders(data, server)
    except ConfigError as exc:
        console.print(f"error: {exc}", style="red", markup=False)
        raise typer.Exit(2) from exc
    for table in rehearsal.tables(whole, found):
        console.print(table)


app()
