"""A run: predict, judge, report; two runs compared, a judge audited."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from evals.audit import audit, audit_table
from evals.cache import ContentCache
from evals.cli.shared import (
    BenchmarkName,
    Cached,
    Changes,
    Config,
    Data,
    DryRun,
    Out,
    RetryErrors,
    cache_of,
    console,
    folder_of,
    of_run,
    progress,
    resolve,
    say,
)
from evals.compare import compare as compare_sides
from evals.compare import comparison_table, side
from evals.config import RunConfig
from evals.cost import estimate, estimate_table
from evals.judge import judge as judge_run
from evals.langsmith import connected
from evals.predict import predict as predict_run
from evals.report import report as report_run
from evals.report import terminal_table
from linmem_langgraph.errors import ConfigError

commands = typer.Typer()

ToLangSmith = Annotated[
    bool, typer.Option("--langsmith", help="Send the run to LangSmith, as experiments over a dataset.")
]


@commands.command()
def predict(
    config: Config = "demo",
    benchmark: BenchmarkName = None,
    data: Data = None,
    out: Out = None,
    changes: Changes = None,
    cached: Cached = True,
    retry_errors: RetryErrors = False,
    dry_run: DryRun = False,
    langsmith: ToLangSmith = False,
) -> None:
    """Answer every question; a run that was killed goes on where it stopped."""
    run = resolve(config, benchmark, data, changes)
    if dry_run:
        console.print(estimate_table(run, estimate(run, folder_of(run, out))))
        return
    folder = folder_of(run, out)
    with _sent(run, folder, langsmith):
        _predict(run, folder, cache_of(run, cached), retry_errors)


@commands.command()
def judge(
    config: Config = "",
    out: Out = None,
    changes: Changes = None,
    cached: Cached = True,
    langsmith: ToLangSmith = False,
) -> None:
    """Grade the answers of a run; again with another judge, if the config names one."""
    run, folder = of_run(config, out, changes)
    with _sent(run, folder, langsmith):
        _judge(run, folder, cache_of(run, cached))


@commands.command()
def report(
    config: Config = "",
    out: Out = None,
    changes: Changes = None,
) -> None:
    """Write report.md and report.html, and print the main table."""
    run, folder = of_run(config, out, changes)
    _report(run, folder)


@commands.command()
def run(
    config: Config = "demo",
    benchmark: BenchmarkName = None,
    data: Data = None,
    out: Out = None,
    changes: Changes = None,
    cached: Cached = True,
    retry_errors: RetryErrors = False,
    langsmith: ToLangSmith = False,
) -> None:
    """predict, judge and report."""
    resolved = resolve(config, benchmark, data, changes)
    folder, cache = folder_of(resolved, out), cache_of(resolved, cached)
    with _sent(resolved, folder, langsmith):
        _predict(resolved, folder, cache, retry_errors)
        _judge(resolved, folder, cache)
        _report(resolved, folder)


@commands.command()
def demo() -> None:
    """The bundled benchmark with embedded defaults, into runs/demo: no key, no server, no download."""
    run("demo")


@commands.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A run's folder.")],
    second: Annotated[Path, typer.Argument(help="Another's, or the same.")],
    arms: Annotated[tuple[str, str], typer.Option("--arms", help="Which row of each.")] = ("main", "main"),
) -> None:
    """Which of two readers is better, question by question; refused where they were not asked and judged alike."""
    one, other = side(first, arms[0]), side(second, arms[1])
    console.print(comparison_table(one, other, compare_sides(one, other)))


@commands.command("audit-judge")
def audit_judge(
    config: Config = "",
    out: Out = None,
    changes: Changes = None,
    questions: Annotated[int, typer.Option(min=1, help="How many are asked, four times each.")] = 200,
    cached: Cached = True,
) -> None:
    """Whether the judge of a run passes gold answers, and neither answers to other questions nor vague ones."""
    run, folder = of_run(config, out, changes)
    with progress("judging") as advance:
        found = audit(run, folder, questions, advance, cache_of(run, cached))
    console.print(audit_table(found))


@contextmanager
def _sent(run: RunConfig, out: Path, langsmith: bool) -> Iterator[None]:
    """Whatever is done to a run is sent afterwards, if it is to be; whether it can be is seen before."""
    if not langsmith:
        yield
        return
    with connected() as sender:
        yield
        say(f"experiments: {sender.send(run, out)}")


def _predict(run: RunConfig, out: Path, cache: ContentCache | None, retry_errors: bool) -> None:
    with progress("answering") as advance:
        rows = predict_run(run, out, advance, cache, retry_errors=retry_errors)
    errors = Counter(row.error for row in rows if row.error)
    console.print(f"{len(rows)} answers, {errors.total()} of them errors, in {out / 'predictions.jsonl'}")
    for error, count in errors.most_common(1):
        console.print(f"most often ({count} times): {error}", markup=False, highlight=False)
    if errors.total() == len(rows):
        raise ConfigError("every question failed: mend it and run again with --retry-errors")


def _judge(run: RunConfig, out: Path, cache: ContentCache | None) -> None:
    with progress("judging") as advance:
        judge_run(run, out, advance, cache)


def _report(run: RunConfig, out: Path) -> None:
    summary = report_run(run, out)
    console.print(terminal_table(run, summary))
    console.print(f"report: {out / 'report.md'} and {out / 'report.html'}")
