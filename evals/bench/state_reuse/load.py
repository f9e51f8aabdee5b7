"""Many reads at a time."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from evals.bench.state_reuse.results import quantile
from linmem_langgraph.records import Usage, total

Read = Callable[[], Usage]


class Load(NamedTuple):
    """What reads took and cost: `wall` for all of them, `each` for one, in seconds."""

    wall: float
    each: list[float]
    usage: Usage

    @property
    def rate(self) -> float:
        """Reads a second."""
        return len(self.each) / self.wall

    @property
    def p50(self) -> float:
        """Milliseconds."""
        return 1e3 * quantile(self.each, 0.5)

    @property
    def p95(self) -> float:
        """Milliseconds."""
        return 1e3 * quantile(self.each, 0.95)

    @property
    def cached(self) -> float:
        """Percent of the prompt tokens, by what the reads say."""
        return percent(self.usage.cached_tokens, self.usage.prompt_tokens)


def run(lanes: Sequence[Iterable[Read]]) -> Load:
    """Run each lane's reads one after the other, and the lanes side by side.

    Lanes may share an iterator: whoever is free takes its next read.
    """
    started = time.perf_counter()
    with ThreadPoolExecutor(len(lanes)) as executor:
        done = [one for lane in executor.map(_run_lane, lanes) for one in lane]
    wall = time.perf_counter() - started
    return Load(wall, [seconds for seconds, _ in done], total(usage for _, usage in done))


def shared(reads: Iterable[Read], lanes: int) -> list[Iterable[Read]]:
    """So many lanes that take their reads from one list."""
    queue = iter(list(reads))
    return [queue] * lanes


def joined(loads: Sequence[Load]) -> Load:
    """Loads that ran one after the other, as one."""
    each = [seconds for load in loads for seconds in load.each]
    return Load(sum(load.wall for load in loads), each, total(load.usage for load in loads))


def percent(part: float, whole: float) -> float:
    """0 of nothing."""
    return 100 * part / whole if whole else 0.0


def _run_lane(lane: Iterable[Read]) -> list[tuple[float, Usage]]:
    done = []
    for read in lane:
        started = time.perf_counter()
        usage = read()
        done.append((time.perf_counter() - started, usage))
    return done
