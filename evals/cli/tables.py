"""Measurements over many runs: tables of what was published, and ablations."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from evals.benchmarks import load_benchmark
from evals.cli.shared import (
    RUNS,
    Cached,
    Changes,
    DryRun,
    Out,
    RetryErrors,
    cache_of,
    config_file,
    console,
    pair,
    progress,
)
from evals.config import load_config, only_writer
from evals.cost import estimate, estimate_table
from evals.tables.context import file_of, model_of, needle, together
from evals.tables.context import markdown as context_markdown
from evals.tables.context import shown as context_table
from evals.tables.measuring import chosen, markdown, measure, runs, shown
from evals.tables.published import CONTEXT
from evals.tables.tables import TABLES
from linmem_langgraph.errors import ConfigError, ReaderUnavailable

commands = typer.Typer()


@commands.command()
def table(
    name: Annotated[str, typer.Argument(help=f"{', '.join(TABLES)}, or context.")],
    data: Annotated[Path | None, typer.Option("--data", help="What it is measured on, where it is not made.")] = None,
    out: Out = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="Only this row; repeatable.")] = None,
    column: Annotated[list[str] | None, typer.Option("--on", help="Only this column; repeatable.")] = None,
    changes: Changes = None,
    cached: Cached = True,
    retry_errors: RetryErrors = False,
    dry_run: DryRun = False,
) -> None:
    """Measure a table of LinMem or of M3-Agent's control ablation again, beside what was published; it goes on where it
    stopped."""
    folder, changed = out or RUNS / "tables" / name, dict(map(pair, changes or ()))
    if name == "context":
        if dry_run or column:
            raise ConfigError("table context has neither a dry run nor columns: leave out --dry-run and --on")
        return _context(data, folder, row or list(CONTEXT), changed)
    if name not in TABLES:
        raise ConfigError(f"unknown table {name!r}; choose {', '.join(TABLES)}, context")
    wanted = chosen(TABLES[name], row or (), column or ())
    if dry_run:
        with TemporaryDirectory() as lists:
            for _, _, config, at in runs(wanted, data, folder, changed, Path(lists)):
                console.print(estimate_table(config, estimate(config, at)))
        return None
    jobs = list(runs(wanted, data, folder, changed))
    cells = measure(wanted, jobs, progress, lambda config: cache_of(config, cached), retry_errors=retry_errors)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{'-'.join(['table', *(row or ()), *(column or ())])}.md"
    file.write_text(markdown(wanted, cells, changed), encoding="utf-8")
    console.print(shown(wanted, cells))
    console.print(f"table: {file}; each run's report is in its folder beside it")
    if any(cell.measured is None and cell.row.config for cell in cells):
        raise typer.Exit(1)
    return None


@commands.command()
def ablations(
    suite: Annotated[Literal["tiny"], typer.Option(help="What is measured: linmem-tiny on households.")] = "tiny",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of figures and report.")] = Path(
        "runs/ablations"
    ),
    questions: Annotated[int, typer.Option(min=1, help="Of each number of clips, and of the loop.")] = 500,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="hybrid, linear, softmax, or a folder; repeatable.")
    ] = None,
) -> None:
    """The paper's questions, on a benchmark that runs anywhere; goes on where it stopped."""
    from evals.ablations.command import models_of
    from evals.ablations.command import run as run_ablations

    found = run_ablations(models_of(models or []), questions, out, console.print)
    console.print(f"{len(found)} tables: {out / 'report.md'}")


def _context(data: Path | None, out: Path, rows: list[str], changes: dict[str, str]) -> None:
    """The table `context`: for each row a file of reads, and what they say."""
    at, failures = {"benchmark.data": str(data)} if data else {}, list[str]()
    with only_writer(out):
        for row in rows:
            config = load_config(config_file(f"m3_bench/{row}"), at | changes)
            benchmark = load_benchmark(**config.benchmark.model_dump())
            records = together(benchmark, config.reader.options.get("format"))
            try:
                reads = needle(model_of(config.reader), records, file_of(out, row, config, benchmark), console.print)
            except ReaderUnavailable as exc:
                failures.append(f"{row}: {exc}")
                continue
            (out / f"{row}.md").write_text(context_markdown(row, reads, changes), encoding="utf-8")
            console.print(context_table(row, reads))
    if failures:
        raise ReaderUnavailable("; ".join(failures))
