"""Reads of one memory while another, long one is primed."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import NamedTuple

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.results import Outcome, Row, Target, median, quantile
from evals.bench.state_reuse.stand import Stand
from linmem_langgraph import Memory
from linmem_langgraph.transcript import render

SLOWER = Target(most=5)
ALONE = 30
"""Reads of the one memory while nothing else is asked."""


class Primed(NamedTuple):
    """Seconds of reads beside a prime, and of the prime itself, with and without them."""

    reads: list[float]
    beside: list[float]
    alone: list[float]


def measure(stand: Stand) -> Outcome:
    """Primes in steps, as ours does it, and in one request."""
    with stand.memory() as memory:
        bench = Busy(stand, memory)
        alone = list[float]()
        ways = {"steps": bench.in_steps, "piece": bench.in_one_piece}
        found = {way: Primed([], [], []) for way in ways}
        for run in range(stand.scale.primes):
            for way in list(ways)[:: 1 if run % 2 else -1]:
                alone += bench.reads(lambda done: done >= ALONE)
                bench.prime(ways[way], found[way])
    return outcome(stand, alone, found["steps"], found["piece"])


class Busy:
    """A memory that is read by one thread without pause."""

    def __init__(self, stand: Stand, memory: Memory) -> None:
        self._stand, self._memory = stand, memory
        self._read, self._plain, self._numbers = stand.namespace("busy read"), stand.plain(), count()
        memory.write(self._read, stand.records(stand.scale.beside, "beside"))
        memory.flush()

    def prime(self, act: Callable[[int], None], found: Primed) -> None:
        """Prime a memory alone, and another one while reads go on; keep the seconds of both and of the reads."""
        found.alone.append(self._timed(act))
        with ThreadPoolExecutor(1) as beside:
            priming: Future[float] = beside.submit(self._timed, act)
            found.reads.extend(self.reads(lambda done: priming.done()))
            found.beside.append(priming.result())

    def reads(self, enough: Callable[[int], bool]) -> list[float]:
        """Seconds of reads, one after the other, until there are enough."""
        times = list[float]()
        while not enough(len(times)):
            times.append(self._memory.read(self._read, texts.question(next(self._numbers))).seconds)
        return times

    def in_steps(self, number: int) -> None:
        """Ours: written, and primed in the background."""
        namespace = self._stand.namespace(f"busy primed {number}")
        self._memory.write(namespace, self._stand.records(self._stand.scale.primed, f"primed {number}"))
        self._memory.flush()

    def in_one_piece(self, number: int) -> None:
        """Theirs: sent as a whole."""
        self._plain.prime(render(self._stand.records(self._stand.scale.primed, f"primed {number}")))

    def _timed(self, act: Callable[[int], None]) -> float:
        number, started = next(self._numbers), time.perf_counter()
        act(number)
        return time.perf_counter() - started


def outcome(stand: Stand, alone: list[float], steps: Primed, piece: Primed) -> Outcome:
    """The rows."""

    def both(what: str, unit: str, ours: float, theirs: float, n: int = 1, target: Target | None = None) -> Row:
        return Row(what=what, unit=unit, ours=ours, theirs=theirs, n=n, target=target)

    p50 = 1e3 * median(alone)
    during = [1e3 * median(primed.reads) for primed in (steps, piece)]
    n = len(steps.reads)
    slowest = [1e3 * quantile(primed.reads, 0.95) for primed in (steps, piece)]
    rows = (
        both("read p50 alone", "ms", p50, p50, len(alone)),
        both("read p50 beside the prime", "ms", during[0], during[1], n),
        both("times the p50 alone", "x", during[0] / p50, during[1] / p50, n, SLOWER),
        both("read p95 beside the prime", "ms", slowest[0], slowest[1], n),
        both("prime alone", "s", median(steps.alone), median(piece.alone), len(steps.alone)),
        both("prime beside reads", "s", median(steps.beside), median(piece.beside), len(steps.beside)),
    )
    return Outcome(
        name="busy",
        title=f"Reads of a memory while another of {stand.scale.primed:,} tokens is primed",
        ours="in steps",
        theirs="in one piece",
        ratio="",
        rows=rows,
        notes=(
            f"One thread reads a memory of {stand.scale.beside:,} tokens without pause; {len(piece.reads)} of its "
            "reads came beside the primes in one piece.",
        ),
    )
