"""Who may ask a model server when: reads at once, up to a bound; primes one step at a time, between reads."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

FIRST_STEP = 4_000
"""Bytes of the first step of a prime, before it is known how fast the server reads."""

SMALLEST, LARGEST = 1_000, 4_000_000
STEP_SECONDS = (0.05, 0.5)
"""What a step may take, between these bounds: the longest while nobody reads, else about twice as long as a read does
that no step slows down."""


class Traffic:
    """The requests to one server, from all readers of this process."""

    def __init__(self, concurrency: int) -> None:
        self.step_bytes = FIRST_STEP
        self._slots = asyncio.Semaphore(concurrency)
        self._lane = asyncio.Lock()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._reads = 0
        self._begun = 0
        self._sent = 0
        self._steps = 0
        self._is_stepping = False
        self._read_seconds = 0.05
        self._step_seconds = 0.0

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """A request that neither reads nor primes."""
        async with self._slots:
            yield

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """A request that somebody waits for."""
        self._reads, self._begun = self._reads + 1, self._begun + 1
        self._quiet.clear()
        try:
            async with self._slots:
                started, before, beside = time.perf_counter(), self._steps, self._is_stepping
                yield
                # Beside a step a read takes longer: steps that were as long as that would grow and grow.
                if before == self._steps and not beside:
                    self._read_seconds += 0.2 * (time.perf_counter() - started - self._read_seconds)
        finally:
            self._reads -= 1
            if not self._reads:
                self._quiet.set()

    @asynccontextmanager
    async def prime_step(self) -> AsyncIterator[int]:
        """A step of a prime, which may be of so many bytes.

        It waits for a moment without reads, but at most for twice as long as the last step took: reads that never pause
        leave a third of the time to primes. Whoever primes takes turns with the others after each step.
        """
        async with self._lane:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), 2 * self._step_seconds)
            async with self._slots:
                started, begun, is_quiet = time.perf_counter(), self._begun, not self._reads
                self._steps, self._is_stepping, self._sent = self._steps + 1, True, self.step_bytes
                try:
                    yield self.step_bytes
                finally:
                    self._is_stepping = False
                self._learn(time.perf_counter() - started, alone=is_quiet and begun == self._begun)

    def sends(self, size: int) -> None:
        """Of how many bytes the step under way is; unless this is called, of as many as it may be."""
        self._sent = size

    def _learn(self, seconds: float, *, alone: bool) -> None:
        least, most = STEP_SECONDS
        wanted = most if alone else min(max(2 * self._read_seconds, least), most)
        self._step_seconds = seconds
        if 2 * self._sent < self.step_bytes and seconds < wanted:
            return  # quick, as it was short
        self.step_bytes = min(max(int(self.step_bytes * min(wanted / seconds, 2.0)), SMALLEST), LARGEST)


_all: dict[tuple[str, int], Traffic] = {}


def traffic_of(place: str, concurrency: int) -> Traffic:
    """The traffic of the server at `place`, shared by all who name it with the same bound."""
    return _all.setdefault((place, concurrency), Traffic(concurrency))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all.clear)
