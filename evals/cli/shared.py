"""What the commands share: their options, the terminal, and how a run is named."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from evals.cache import ContentCache
from evals.config import RunConfig, load_config
from linmem_langgraph.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
RUNS = Path("runs")

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
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Ask the questions again that failed.")]
Data = Annotated[Path | None, typer.Option("--data", help="The benchmark's file or folder.")]


def say(line: str) -> None:
    """Print a line as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that appears with the first sign of progress, so that none precedes an early error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=console)
    task = bar.add_task(what, total=None)

    def advance(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        bar.stop()


def resolve(config: str, benchmark: str | None, data: Path | None, changes: list[str] | None) -> RunConfig:
    """The set-up that a command was given."""
    pairs = dict(pair(change) for change in changes or ())
    if benchmark is not None:
        pairs["benchmark.name"] = benchmark
    if data is not None:
        pairs["benchmark.data"] = str(data.resolve())
    run = load_config(config_file(config), pairs)
    # The same set-up over another benchmark is another run, in another folder.
    return run if benchmark is None or "name" in pairs else run.model_copy(update={"name": f"{run.name}-{benchmark}"})


def of_run(config: str, out: Path | None, changes: list[str] | None) -> tuple[RunConfig, Path]:
    """The set-up a run was made with, from its folder, unless a config is named."""
    if config:
        run = resolve(config, None, None, changes)
        return run, folder_of(run, out)
    folder = out or Path("runs/demo")
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"there is no run in {folder}: run predict first, or name its folder with --out")
    return load_config(folder / "config.yaml", dict(pair(change) for change in changes or ())), folder


def config_file(name: str) -> Path:
    """The YAML file of that name in configs/, or the one named.

    Raises:
        ConfigError: there is none of this name.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    files = [file.relative_to(CONFIGS).with_suffix("") for file in CONFIGS.rglob("*.yaml")]
    known = sorted(file.as_posix() for file in files if file.parts[0] not in ("serve", "prompts"))
    if name not in known:
        raise ConfigError(f"unknown config {name!r}; choose {', '.join(known)}, or name a YAML file")
    return CONFIGS / f"{name}.yaml"


def cache_of(run: RunConfig, cached: bool) -> ContentCache | None:
    """Where models' answers are kept, unless they are not to be."""
    return ContentCache(RUNS / "cache.sqlite", run.seed) if cached else None


def folder_of(run: RunConfig, out: Path | None) -> Path:
    """A run's folder."""
    return out or RUNS / run.name


def pair(change: str) -> tuple[str, str]:
    """The name and the value of KEY=VALUE."""
    name, equals, value = change.partition("=")
    if not equals:
        raise typer.BadParameter(f"{change!r} is not KEY=VALUE")
    return name, value
