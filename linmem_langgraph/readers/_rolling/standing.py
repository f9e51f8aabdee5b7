"""The standing note of a namespace: made before anybody asks, and gone on with as the memory grows."""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple
from weakref import WeakValueDictionary

from langchain_core.runnables import run_in_executor

from linmem_langgraph.log import Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.model import ReaderModel
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers._rolling.kept import Checkpoint, KeptNotes, digests
from linmem_langgraph.readers._rolling.plan import RollingPlan
from linmem_langgraph.readers._rolling.prompt import STANDING_INSTRUCTIONS, Note
from linmem_langgraph.readers._rolling.scribe import Scribe
from linmem_langgraph.records import Usage, total


class StandingNotes:
    """Makes notes on the full segments of memories, each from the one before it, and keeps them.

    A note is a function of what it has read alone: made anew it says the same, as far as the model does.

    Args:
        current: the view of a log as it is now.
    """

    def __init__(
        self, model: ReaderModel, plan: RollingPlan, scribe: Scribe, kept: KeptNotes, current: Callable[[Log], View]
    ) -> None:
        self._model, self._plan, self._scribe, self._kept, self._current = model, plan, scribe, kept, current
        self._locks: WeakValueDictionary[Namespace, asyncio.Lock] = WeakValueDictionary()

    async def note(
        self,
        log: Log,
        view: View,
        segments: Sequence[Sequence[int]],
        holds: Callable[[], bool] = lambda: True,
    ) -> tuple[Note | None, Usage]:
        """The note on the first segments of a memory, None on none; and what it cost to make what was not there.

        Each is read once, whoever wants it, in this process; what has been read is kept if this is cancelled or killed.

        Args:
            holds: asked before each segment is read; once it says no, the note is of those before it.
        """
        if not segments:
            return None, Usage()
        wanted, usages = await self._wanted(view, segments), list[Usage]()
        lock = self._locks.setdefault(log.namespace, asyncio.Lock())
        # Who finds what it wants does not wait for another that goes on.
        best = await self._best(log, wanted)
        while not wanted.reached_by(best):
            async with lock:
                best = await self._best(log, wanted, best)
                if not wanted.reached_by(best):
                    if not await run_in_executor(None, holds):
                        break
                    best, usage = await self._next(log, view, segments, wanted, best)
                    usages.append(usage)
        return _as_note(best, view), total(usages)

    async def _next(
        self, log: Log, view: View, segments: Sequence[Sequence[int]], wanted: "_Wanted", best: Checkpoint | None
    ) -> tuple[Checkpoint, Usage]:
        """The note that has read one segment more; it is kept, unless what it has read has changed meanwhile."""
        at = best.segments if best else 0
        note, usage = await self._scribe.rewritten(log.namespace, view, segments[at], _as_note(best, view), None)
        records, digest = wanted.marks[at]
        made = Checkpoint(
            setup=wanted.setup,
            segments=at + 1,
            records=records,
            position=note.last,
            digest=digest,
            note=note.text,
        )
        await run_in_executor(None, self._kept.revise, log.namespace, partial(self._current, log), made)
        return made, usage

    async def _best(self, log: Log, wanted: "_Wanted", held: Checkpoint | None = None) -> Checkpoint | None:
        """The note that has read most of what is wanted, and nothing else."""
        kept = await run_in_executor(None, self._kept.of, log.namespace)
        good = [each for each in kept if wanted.begins_with(each)] + ([held] if held else [])
        return max(good, key=lambda each: each.segments, default=None)

    async def _wanted(self, view: View, segments: Sequence[Sequence[int]]) -> "_Wanted":
        sizes = await self._plan.note(), await self._plan.segment()
        made_with = json.dumps([self._model.name, *sizes, STANDING_INSTRUCTIONS])
        ends = [segment[-1] + 1 for segment in segments]
        marks = list(zip(ends, digests(view.lines, ends), strict=True))
        return _Wanted(sha256(made_with.encode()).hexdigest()[:32], marks)


class _Wanted(NamedTuple):
    """What a note is to have been made with and to have read: how many records up to the end of each segment, and the
    digest of their transcript."""

    setup: str
    marks: list[tuple[int, str]]

    def begins_with(self, checkpoint: Checkpoint) -> bool:
        return (
            checkpoint.setup == self.setup
            and checkpoint.segments <= len(self.marks)
            and self.marks[checkpoint.segments - 1] == (checkpoint.records, checkpoint.digest)
        )

    def reached_by(self, checkpoint: Checkpoint | None) -> bool:
        return checkpoint is not None and checkpoint.segments == len(self.marks)


def _as_note(checkpoint: Checkpoint | None, view: View) -> Note | None:
    if checkpoint is None:
        return None
    return Note(checkpoint.note, view.position(0), checkpoint.position)
