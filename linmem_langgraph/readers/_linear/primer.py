"""Priming: the server reads a transcript before anyone asks, and whether that is any use is watched."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import openai

from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear import loop
from linmem_langgraph.readers._linear.model import ReaderModel
from linmem_langgraph.readers._linear.prompt import prime_messages
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.records import Usage
from linmem_langgraph.vllm import STATE_FLAGS

logger = logging.getLogger(__name__)

WORTH_PRIMING = 1_000
"""Tokens: a shorter prompt may lie within a single block of the server's cache, and is read at once."""

MISSES = 3
"""So many primed reads in a row that were computed from the start: the server does not keep what it has read."""

MARKS = 256
"""Prefixes of one segment that are remembered as primed."""

Mode = Literal["auto", "on", "reads", "off"]


class _Mark(NamedTuple):
    """What has been primed: the lines, hashed, and how many tokens the prompt had."""

    digest: int
    tokens: int


class _Shared:
    """A request that several wait for."""

    def __init__(self, task: asyncio.Task[Usage]) -> None:
        self.task = task
        self.waiting = 0


class Primer:
    """Primes segments and remembers which.

    Args:
        mode: "on", "off", "auto": where the model can be primed, and as long as reads profit from it; or "reads": as
            "auto", but what is read is primed when it is first read, not when it is written.
    """

    def __init__(self, model: ReaderModel, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ConfigError(f"prime is {mode!r}: choose 'auto', 'on', 'reads' or 'off'")
        if mode == "on" and not model.primes:
            raise ConfigError(f"{model.place} cannot be primed: give LinearReader a ChatVLLM, or prime='off'")
        self._model, self._mode = model, mode
        self._refused = False
        self._misses = 0
        self._warned = False
        self._marks: dict[Namespace, dict[int, dict[int, _Mark]]] = {}
        self._under_way: dict[tuple[Namespace, int, int, int], _Shared] = {}

    @property
    def is_on(self) -> bool:
        """Whether priming is asked for, possible, and of use."""
        wasted = self._mode != "on" and self._misses >= MISSES
        return self._mode != "off" and self._model.primes and not self._refused and not wasted

    @property
    def follows_writes(self) -> bool:
        """Whether what is written is to be primed at once."""
        return self.is_on and self._mode != "reads"

    def prime(
        self, namespace: Namespace, view: View, segments: Sequence[Sequence[int]], is_current: Callable[[], bool]
    ) -> None:
        """Let the server read what it has not yet, in steps between other reads; waits for it.

        Args:
            is_current: asked before each step; once it says no, the rest is left, as something of it was forgotten.
        """
        for segment in segments:
            start, stop = segment[0], segment[-1] + 1
            while (done := self._reached(namespace, view, start, stop)) < stop and self.is_on and is_current():
                loop.run(self._step(namespace, view, start, done, stop))

    async def prime_at_once(self, namespace: Namespace, view: View, segment: Sequence[int]) -> Usage:
        """Let the server read a segment that somebody is about to ask about, in one step; what it cost.

        Several who are about to ask about the same segment wait for one request, which is cancelled with the last of
        them.
        """
        start, stop = segment[0], segment[-1] + 1
        place = (namespace, start, stop, hash(view.lines[start:stop]))
        shared = self._under_way.get(place)
        is_first = shared is None
        if shared is None:
            shared = self._under_way[place] = _Shared(asyncio.create_task(self._read(namespace, view, start, stop)))
        shared.waiting += 1
        try:
            usage = await asyncio.shield(shared.task)
            return usage if is_first else Usage()
        except ReaderUnavailable as exc:
            if not isinstance(exc.__cause__, openai.APIStatusError):
                raise
            return Usage()  # there is a server: whether it answers is for the read to tell
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                shared.task.cancel()
                self._under_way.pop(place, None)

    def primed(self, namespace: Namespace, view: View, segment: Sequence[int]) -> int:
        """How many tokens were primed, if exactly this segment has been; else 0."""
        start, stop = segment[0], segment[-1] + 1
        mark = self._marks.get(namespace, {}).get(start, {}).get(stop)
        return mark.tokens if mark and mark.digest == hash(view.lines[start:stop]) else 0

    def watch(self, usage: Usage, primed: int) -> None:
        """Take note of what a read cost; one warning if primed segments are computed anew again and again.

        Args:
            primed: how many of its tokens had been primed.
        """
        if usage.cached_tokens * 2 >= max(primed, WORTH_PRIMING):
            self._misses = 0
        elif primed >= WORTH_PRIMING:
            # Lost by a restart, or pushed out by other memories. After a restart all are lost, and that is one miss.
            self._marks.clear()
            self._misses += 1
            if self._misses >= MISSES and not self._warned:
                self._warned = True
                self._warn(usage)

    def forget(self, namespace: Namespace) -> None:
        """Nothing of this namespace counts as primed any more."""
        self._marks.pop(namespace, None)

    async def _read(self, namespace: Namespace, view: View, start: int, stop: int) -> Usage:
        async with self._model.traffic.read():
            return await self._send(namespace, view, start, stop)

    async def _step(self, namespace: Namespace, view: View, start: int, done: int, stop: int) -> None:
        async with self._model.traffic.prime_step() as size:
            end, room = done + 1, size - len(view.lines[done].encode())
            while end < stop and (room := room - len(view.lines[end].encode())) >= 0:
                end += 1
            self._model.traffic.sends(size - max(room, 0))
            await self._send(namespace, view, start, end)

    async def _send(self, namespace: Namespace, view: View, start: int, end: int) -> Usage:
        try:
            usage = await self._model.prime(prime_messages(view.text(range(start, end))), namespace)
        except ReaderUnavailable as exc:
            if not isinstance(exc.__cause__, openai.BadRequestError):
                raise
            self._refused = True
            logger.warning("memories are not primed any more, as they cannot be: %s", exc)
            return Usage()
        marks = self._marks.setdefault(namespace, {}).setdefault(start, {})
        marks[end] = _Mark(hash(view.lines[start:end]), usage.prompt_tokens or 1)
        while len(marks) > MARKS:
            del marks[next(iter(marks))]
        return usage

    def _reached(self, namespace: Namespace, view: View, start: int, stop: int) -> int:
        """Up to where this segment has been primed; `start` if it has not."""
        marks = dict(self._marks.get(namespace, {}).get(start, {}))
        ends = sorted((end for end in marks if end <= stop), reverse=True)
        return next((end for end in ends if marks[end].digest == hash(view.lines[start:end])), start)

    def _warn(self, usage: Usage) -> None:
        logger.warning(
            "%s computes primed memories anew: of %d prompt tokens %d came from its cache, and so %d times in a row. "
            "It was started without prefix caching (%s), does not tell what it reuses "
            "(--enable-prompt-tokens-details), or has too little cache for the memories in use "
            "(--gpu-memory-utilization). Find out which: linmem doctor %s",
            *(self._model.place, usage.prompt_tokens, usage.cached_tokens, self._misses),
            *(" ".join(STATE_FLAGS), self._model.place),
        )
