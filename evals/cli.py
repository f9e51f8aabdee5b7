"""python -m evals: predict, judge, report."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from evals.audit import audit, audit_table
from evals.benchmarks import load_benchmark
from evals.cache import ContentCache
from evals.compare import compare as compare_sides
from evals.compare import comparison_table, side
from evals.config import RunConfig, load_config
from evals.cost import estimate, estimate_table
from evals.judge import judge as judge_run
from evals.predict import predict as predict_run
from evals.report import report as report_run
from evals.report import terminal_table
from evals.tables.context import markdown as context_markdown
from evals.tables.context import model_of, needle, together
from evals.tables.context import shown as context_table
from evals.tables.measuring import chosen, markdown, measure, runs, shown
from evals.tables.published import CONTEXT
from evals.tables.tables import TABLES
from linmem_langgraph.errors import ConfigError, LinmemError

CONFIGS = Path(__file__).parents[1] / "configs"
RUNS = Path("runs")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Drive the M3-Agent loop over a benchmark.")
# Tables need room: where output is no terminal, rich would take 80 columns.
console = Console(width=None if sys.stdout.isatty() else 140)

Config = Annotated[str, typer.Option("--config", "-c", help="A YAML file, or a name in configs/.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The run's folder.", show_default="runs/NAME")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over the config, dotted; repeatable.")]
BenchmarkName = Annotated[str | None, typer.Option("--benchmark", "-b", help="household, locomo or m3_bench.")]
Cached = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Ask models nothing that runs/cache.sqlite has; not to measure.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is left to ask and what it costs, and stop.")]
Data = Annotated[Path | None, typer.Option("--data", help="The benchmark's file or folder.")]


@app.command()
def predict(
    config: Config = "demo",
    benchmark: BenchmarkName = None,
    data: Data = None,
    out: Out = None,
    changes: Changes = None,
    cached: Cached = True,
    dry_run: DryRun = False,
) -> None:
    """Answer every question; a run that was killed goes on where it stopped."""
    run = _resolve(config, benchmark, data, changes)
    if dry_run:
        return console.print(estimate_table(run, estimate(run, _folder(run, out))))
    return _predict(run, _folder(run, out), _cache(run, cached))


@app.command()
def judge(
    config: Config = "",
    out: Out = None,
    changes: Changes = None,
    cached: Cached = True,
) -> None:
    """Grade the answers of a run; again with another judge, if the config names one."""
    run, folder = _of_run(config, out, changes)
    _judge(run, folder, _cache(run, cached))


@app.command()
def report(
    config: Config = "",
    out: Out = None,
    changes: Changes = None,
) -> None:
    """Write report.md and report.html, and print the main table."""
    run, folder = _of_run(config, out, changes)
    _report(run, folder)


@app.command()
def run(
    config: Config = "demo",
    benchmark: BenchmarkName = None,
    data: Data = None,
    out: Out = None,
    changes: Changes = None,
    cached: Cached = True,
) -> None:
    """predict, judge and report."""
    resolved = _resolve(config, benchmark, data, changes)
    folder, cache = _folder(resolved, out), _cache(resolved, cached)
    _predict(resolved, folder, cache)
    _judge(resolved, folder, cache)
    _report(resolved, folder)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A run's folder.")],
    second: Annotated[Path, typer.Argument(help="Another's, or the same.")],
    arms: Annotated[tuple[str, str], typer.Option("--arms", help="Which row of each.")] = ("main", "main"),
) -> None:
    """Which of two readers is better, question by question; refused where they were not asked and judged alike."""
    one, other = side(first, arms[0]), side(second, arms[1])
    console.print(comparison_table(one, other, compare_sides(one, other)))


@app.command("audit-judge")
def audit_judge(
    config: Config = "",
    out: Out = None,
    changes: Changes = None,
    questions: Annotated[int, typer.Option(min=1, help="How many are asked, four times each.")] = 200,
    cached: Cached = True,
) -> None:
    """Whether the judge of a run passes gold answers, and neither answers to other questions nor vague ones."""
    run, folder = _of_run(config, out, changes)
    with _progress("judging") as advance:
        found = audit(run, folder, questions, advance, _cache(run, cached))
    console.print(audit_table(found))


@app.command()
def demo() -> None:
    """The bundled benchmark with embedded defaults, into runs/demo: no key, no server, no download."""
    run("demo")


@app.command()
def ablations(
    suite: Annotated[Literal["tiny"], typer.Option(help="What is measured: linmem-tiny on households.")] = "tiny",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of figures and report.")] = Path(
        "runs/ablations"
    ),
    questions: Annotated[int, typer.Option(min=1, help="Of each number of clips, and of the loop.")] = 500,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="hybrid, linear, or a folder; repeatable.")
    ] = None,
) -> None:
    """The paper's questions, on a benchmark that runs anywhere; goes on where it stopped."""
    from evals.ablations.command import models_of
    from evals.ablations.command import run as run_ablations

    found = run_ablations(models_of(models or []), questions, out, console.print)
    console.print(f"{len(found)} tables: {out / 'report.md'}")


@app.command()
def table(
    name: Annotated[str, typer.Argument(help=f"{', '.join(TABLES)}, or context.")],
    data: Annotated[Path | None, typer.Option("--data", help="What it is measured on, where it is not made.")] = None,
    out: Out = None,
    row: Annotated[list[str] | None, typer.Option("--row", help="Only this row; repeatable.")] = None,
    column: Annotated[list[str] | None, typer.Option("--on", help="Only this column; repeatable.")] = None,
    changes: Changes = None,
    cached: Cached = True,
    dry_run: DryRun = False,
) -> None:
    """Measure a table of LinMem or of M3-Agent's control ablation again, beside what was published; it goes on where it
    stopped."""
    folder, changed = out or RUNS / "tables" / name, dict(map(_pair, changes or ()))
    if name == "context":
        return _context(data, folder, row or list(CONTEXT), changed)
    if name not in TABLES:
        raise ConfigError(f"unknown table {name!r}; choose {', '.join(TABLES)}, context")
    wanted = chosen(TABLES[name], row or (), column or ())
    jobs = list(runs(wanted, data, folder, changed))
    if dry_run:
        for _, _, config, at in jobs:
            console.print(estimate_table(config, estimate(config, at)))
        return None
    cells = measure(wanted, jobs, _progress, lambda config: _cache(config, cached))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(markdown(wanted, cells, changed), encoding="utf-8")
    console.print(shown(wanted, cells))
    console.print(f"table: {folder / 'table.md'}; each run's report is in its folder beside it")
    if any(cell.measured is None and cell.row.config for cell in cells):
        raise typer.Exit(1)
    return None


@app.command("import-graphs")
def import_graphs(
    source: Annotated[Path, typer.Argument(help="A graph (.pkl), an archive (.tar.gz), or a folder of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The benchmark's folder.")] = Path("data/m3_bench"),
) -> None:
    """Convert M3-Agent's memory graphs to memories and vectors, without running what is in the files."""
    from evals.m3_graphs.convert import import_graphs as convert
    from evals.m3_graphs.convert import tell

    with _progress("importing") as advance:
        found = convert(source, out, advance)
    tell(found, out, _say)


@app.command()
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
        download(out, subset, (lambda question: None) if yes else _ask, _say, _progress)
    convert(source or out, out, subset, _say, _progress)


@app.command("check-parity")
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


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked, as there is no terminal: call again with --yes to download")
    typer.confirm(question, abort=True)


def _context(data: Path | None, out: Path, rows: list[str], changes: dict[str, str]) -> None:
    """The table `context`: for each row a file of reads, and what they say."""
    at = {"benchmark.data": str(data)} if data else {}
    for row in rows:
        config = load_config(_config_file(f"m3_bench/{row}"), at | changes)
        records = together(load_benchmark(**config.benchmark.model_dump()))
        reads = needle(model_of(config.reader), records, out / f"{row}.jsonl", console.print)
        (out / f"{row}.md").write_text(context_markdown(row, reads), encoding="utf-8")
        console.print(context_table(row, reads))


def _predict(run: RunConfig, out: Path, cache: ContentCache | None) -> None:
    with _progress("answering") as advance:
        rows = predict_run(run, out, advance, cache)
    errors = Counter(row.error for row in rows if row.error)
    console.print(f"{len(rows)} answers, {errors.total()} of them errors, in {out / 'predictions.jsonl'}")
    for error, count in errors.most_common(1):
        console.print(f"most often ({count} times): {error}", markup=False, highlight=False)
    if errors.total() == len(rows):
        raise ConfigError(f"every question failed: mend it, delete {out} and run again")


def _judge(run: RunConfig, out: Path, cache: ContentCache | None) -> None:
    with _progress("judging") as advance:
        judge_run(run, out, advance, cache)


def _report(run: RunConfig, out: Path) -> None:
    summary = report_run(run, out)
    console.print(terminal_table(run, summary))
    console.print(f"report: {out / 'report.md'} and {out / 'report.html'}")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that appears with the first sign of progress, so that none precedes an early error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, TimeRemainingColumn(), console=console)
    task = progress.add_task(what, total=None)

    def advance(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        progress.stop()


def _resolve(config: str, benchmark: str | None, data: Path | None, changes: list[str] | None) -> RunConfig:
    pairs = dict(_pair(change) for change in changes or ())
    if benchmark is not None:
        pairs["benchmark.name"] = benchmark
    if data is not None:
        pairs["benchmark.data"] = str(data.resolve())
    run = load_config(_config_file(config), pairs)
    # The same set-up over another benchmark is another run, in another folder.
    return run if benchmark is None or "name" in pairs else run.model_copy(update={"name": f"{run.name}-{benchmark}"})


def _of_run(config: str, out: Path | None, changes: list[str] | None) -> tuple[RunConfig, Path]:
    """The set-up a run was made with, from its folder, unless a config is named."""
    if config:
        run = _resolve(config, None, None, changes)
        return run, _folder(run, out)
    folder = out or Path("runs/demo")
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"there is no run in {folder}: run predict first, or name its folder with --out")
    return load_config(folder / "config.yaml", dict(_pair(change) for change in changes or ())), folder


def _config_file(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    files = [file.relative_to(CONFIGS).with_suffix("") for file in CONFIGS.rglob("*.yaml")]
    known = sorted(file.as_posix() for file in files if file.parts[0] not in ("serve", "prompts"))
    if name not in known:
        raise ConfigError(f"unknown config {name!r}; choose {', '.join(known)}, or name a YAML file")
    return CONFIGS / f"{name}.yaml"


def _cache(run: RunConfig, cached: bool) -> ContentCache | None:
    return ContentCache(RUNS / "cache.sqlite", run.seed) if cached else None


def _folder(run: RunConfig, out: Path | None) -> Path:
    return out or RUNS / run.name


def _pair(change: str) -> tuple[str, str]:
    name, equals, value = change.partition("=")
    if not equals:
        raise typer.BadParameter(f"{change!r} is not KEY=VALUE")
    return name, value


def main() -> None:
    """Run the command; an error of ours is one line, not a traceback."""
    try:
        app()
    except LinmemError as exc:
        print(f"error: {' '.join(str(exc).split())}", file=sys.stderr)
        raise SystemExit(2) from exc
