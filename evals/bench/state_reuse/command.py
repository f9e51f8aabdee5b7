"""Which scenarios run, on which servers, and where their tables, figures and plots go."""

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from evals.bench.state_reuse import (
    answers,
    append,
    busy,
    concurrency,
    household,
    latency,
    m3_schedule,
    plots,
    small_cache,
    writes,
)
from evals.bench.state_reuse.results import Outcome
from evals.bench.state_reuse.scale import Scale
from evals.bench.state_reuse.servers import READING, Kind, Server, tiny_servers
from evals.bench.state_reuse.stand import Stand
from linmem_langgraph.errors import ConfigError

FILE = "state_reuse.json"
PACKAGES = ("linmem-langgraph", "langgraph", "langchain-core", "langchain-openai", "openai")


class Scenario(NamedTuple):
    """What it runs, and on which servers."""

    measure: Callable[[Stand], Outcome]
    servers: tuple[Kind, ...] = ("reuse",)


SCENARIOS: Mapping[str, Scenario] = {
    "latency": Scenario(latency.measure),
    "append": Scenario(append.measure),
    "busy": Scenario(busy.measure),
    "answers": Scenario(answers.measure, ("reuse", "recompute", "small")),
    "m3_schedule": Scenario(m3_schedule.measure),
    "concurrency": Scenario(concurrency.measure),
    "small_cache": Scenario(small_cache.measure, ("recompute", "small")),
    "writes": Scenario(writes.measure),
    "household": Scenario(household.measure, READING),
}


def run(names: Sequence[str], scale: Scale, *, url: str | None, out: Path, console: Console) -> list[Outcome]:
    """Run scenarios, all if none is named; print and keep what each found as soon as it has.

    Args:
        url: of a running vLLM server, for those scenarios that need one alone; None = tiny ones, started for this.

    Raises:
        ConfigError: a scenario is unknown or needs servers that are not there.
    """
    chosen = select(names, only={"reuse"} if url else None)
    kinds = {kind for name in chosen for kind in SCENARIOS[name].servers}
    found = list[Outcome]()
    with (
        tempfile.TemporaryDirectory(prefix="linmem-bench-") as folder,
        _servers(url, kinds, Path(folder), scale, console) as servers,
    ):
        facts = {kind: server.facts() for kind, server in servers.items()}
        # linmem-tiny's tokens are words; the other tiny servers share their tokens, and texts are made for those.
        bytewise = [server for kind, server in servers.items() if kind not in READING]
        per_token = bytewise[0].characters_per_token() if bytewise else 1.0
        stand = Stand(scale, servers, Path(folder, "memories"), per_token)
        for name in chosen:
            started = time.perf_counter()
            outcome = SCENARIOS[name].measure(stand)
            found.append(outcome.model_copy(update={"seconds": time.perf_counter() - started}))
            console.print(found[-1].table(), "")
            keep(out / FILE, found[-1], set_up(scale, facts))
            plots.draw(found[-1], out)
    console.print(f"Figures, and plots if any, are in {out}")
    return found


def select(names: Sequence[str], *, only: Collection[Kind] | None = None) -> list[str]:
    """The scenarios of those names, or all that run on the servers there are, each once and in their order."""
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise ConfigError(f"unknown scenario {unknown[0]!r}: choose {', '.join(SCENARIOS)}")
    possible = [name for name, each in SCENARIOS.items() if only is None or set(each.servers) <= set(only)]
    if missing := [name for name in names if name not in possible]:
        raise ConfigError(f"{missing[0]} compares servers that it starts itself: leave --url out")
    return [name for name in possible if not names or name in names]


def keep(file: Path, outcome: Outcome, made_with: Mapping[str, Any]) -> None:
    """Put the outcome into the file, beside those of other scenarios that are there from earlier runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        kept = {}
    except ValueError as exc:
        raise ConfigError(f"{file} is not what an earlier run wrote ({exc}): delete it") from exc
    kept[outcome.name] = {**outcome.dump(), "set_up": made_with}
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    partial.replace(file)


def set_up(scale: Scale, facts: Mapping[Kind, Mapping[str, Any]]) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "servers": facts,
        "scale": scale.model_dump(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


@contextmanager
def _servers(
    url: str | None, kinds: Collection[Kind], folder: Path, scale: Scale, console: Console
) -> Iterator[Mapping[Kind, Server]]:
    if url:
        yield {"reuse": Server(url)}
        return
    with tiny_servers(kinds, folder, cache_blocks=scale.cache_blocks, say=console.print) as servers:
        yield servers


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "a checkout that is not installed"
