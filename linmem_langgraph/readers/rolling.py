"""A model with a short context reads the memory part by part, and keeps a note of a fixed size."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import run_in_executor

from linmem_langgraph.errors import ConfigError, ContextOverflow
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers._arguments import check_model_arguments
from linmem_langgraph.readers._linear import loop
from linmem_langgraph.readers._linear.stateful_models import reader_model
from linmem_langgraph.readers._linear.token_counts import TokenCounts
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers._linear.views import Views
from linmem_langgraph.readers._rolling.answering import RollingAnswering
from linmem_langgraph.readers._rolling.kept import KeptNotes
from linmem_langgraph.readers._rolling.plan import RollingPlan
from linmem_langgraph.readers._rolling.scribe import Scribe
from linmem_langgraph.readers._rolling.standing import StandingNotes
from linmem_langgraph.readers.base import Query, Reader
from linmem_langgraph.records import MemoryRecord, Reading
from linmem_langgraph.traces import untraced


class RollingReader(Reader):
    """Answers in words, from the whole memory, with a model of any context, with the records it names.

    The memory is read as in MemAgent (arXiv 2507.02259): segment by segment, each with the note on those before it,
    which is rewritten and never longer than `note_tokens`. The last segment is not noted but answered from, together
    with the note on all others. So a read of a memory of N segments is N calls, one after the other: N - 1 that write
    the note, with the question in view, and one that answers. A memory of one segment is read as `LinearReader` does.

    With `standing=True` the note is made for whatever may be asked: after the write that fills a segment, in the
    background, by one call a segment. A read is then one call, from the note and the last segment; if the note is
    behind (a burst of writes, a server that was down), the read first makes what is missing. Notes are kept under
    `path` with what they have read, at most 33 a namespace; one that has read what was forgotten or changed is dropped,
    and the one before it is gone on with. `until` reads from the note before that position, or goes on from the nearest
    one before it.

    `limit` bounds how many positions the records of a reading have. A `filter` reads a transcript of its own, for which
    no standing note is made: as without `standing`. What `exclude` names is left out of the records, and the model is
    told that it is known already, but does read it. Positions that the note does not name cannot be among the records.

    Args:
        model: any chat model. Without `max_tokens` of its own it may write a longer note, which is cut.
        standing: keep a note that no question is known to, instead of making one for each.
        note_tokens: of a note, at most; at most an eighth of the context.
        segment_tokens: read at a time, at most; what the context leaves, if that is less. A longer record that fits the
            context is read alone.
        context_tokens: the model's context; None = what the server says, if it is a vLLM server; else no bound.
        max_tokens: of an answer, at most.
        timeout: seconds a request may take; how often it is repeated is the model's `max_retries`.
        concurrency: requests under way at a time, for all readers of the server.
        cache_secret: mixed into each namespace's `cache_salt`, as in `LinearReader`.
        path: a folder for the notes, and the token counts of records; None = in memory.

    Make it after a fork, not before: its connections belong to the process that made them.

    Raises:
        ConfigError: an argument is invalid.
    """

    name: ClassVar[str] = "rolling"

    waits_for_updates: ClassVar[bool] = False

    def __init__(
        self,
        model: BaseChatModel,
        *,
        standing: bool = False,
        note_tokens: int = 1_000,
        segment_tokens: int = 4_000,
        context_tokens: int | None = None,
        max_tokens: int = 512,
        timeout: float = 300.0,
        concurrency: int = 32,
        cache_secret: str = "",
        path: str | Path | None = None,
    ) -> None:
        if not isinstance(standing, bool):
            raise ConfigError(f"standing is {standing!r}: give True for a standing note, False for one a question")
        check_model_arguments(
            context_tokens=context_tokens,
            max_tokens=max_tokens,
            timeout=timeout,
            concurrency=concurrency,
            note_tokens=note_tokens,
            segment_tokens=segment_tokens,
        )
        folder = Path(path) if path else None
        self._model = reader_model(model, timeout=timeout, concurrency=concurrency, secret=cache_secret)
        self._counts = TokenCounts(folder)
        self._plan = RollingPlan(self._model, self._counts, context_tokens, max_tokens, note_tokens, segment_tokens)
        self._views = Views()
        self._kept = KeptNotes(folder / "notes" if folder else None)
        self._scribe = Scribe(self._model, self._plan)
        notes = StandingNotes(self._model, self._plan, self._scribe, self._kept, self._views.current)
        self._standing = notes if standing else None
        self._closed = False

    def check(self, records: Sequence[MemoryRecord]) -> None:
        """Refuse a record that is larger than the model's context, if it is known how large that is."""
        if not self._plan.surely_fit(records):
            loop.run(self._plan.check(records))

    def read(self, log: Log, query: Query) -> Reading:
        """What the model says."""
        return loop.run(self._read(log, self._view(log), query))

    async def aread(self, log: Log, query: Query) -> Reading:
        """What the model says; cancelling this cancels the requests to the server."""
        view = await run_in_executor(None, self._view, log)
        return await loop.arun(self._read(log, view, query))

    def update(self, log: Log, change: Change) -> None:
        """Let the standing note read the segments that are full now; drop notes on what was changed."""
        view = self._views.followed(log, change)
        if not change.appended:
            self._kept.revise(log.namespace, partial(self._views.current, log))
        if self._standing:
            self._follow(log, self._mended(log, view))

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Drop the notes that have read one of the records, and what is kept of the records."""
        self._views.forget(log.namespace)
        self._model.forget(log.namespace)
        notes = self._kept.revise(log.namespace, partial(self._views.current, log))
        return notes + self._counts.forget(log.namespace, keys)

    def rebuild(self, log: Log) -> None:
        """Count all records anew, and make the standing note anew."""
        self._kept.forget(log.namespace)
        self.forget(log, None, Change(base="", version=""))
        if self._standing:
            self._follow(log, self._view(log))

    def close(self) -> None:
        """Release connections and files."""
        if not self._closed:
            self._closed = True
            loop.run(self._model.close())
            self._counts.close()

    def _view(self, log: Log) -> View:
        if self._closed:
            raise ConfigError("this RollingReader is closed: make another")
        view = self._views.current(log)
        return self._mended(log, view) if self._standing else view

    def _mended(self, log: Log, view: View) -> View:
        """`view`, with no note left on what is not in it any more."""
        self._kept.mend(log.namespace, view, partial(self._views.current, log))
        return view

    def _follow(self, log: Log, view: View) -> None:
        with untraced():
            loop.run(self._note(log, view))

    async def _note(self, log: Log, view: View) -> None:
        then = self._plan.known
        try:
            await self._note_segments(log, view)
        except ContextOverflow:
            if not await self._plan.has_changed_since(then):
                raise
            await self._note_segments(log, view)

    async def _note_segments(self, log: Log, view: View) -> None:
        assert self._standing
        segments = await self._plan.segments(log.namespace, view, range(len(view.records)))
        await self._standing.note(log, view, segments[:-1], partial(self._still_holds, log, view))

    def _still_holds(self, log: Log, view: View) -> bool:
        """Whether the log begins with what `view` holds; a note on anything else would not be kept."""
        return log.head().version == view.version or self._views.current(log).lines[: len(view.lines)] == view.lines

    def _drop_unless_it_holds(self, log: Log, view: View) -> None:
        """A model may have kept what it read, after it was told to forget that."""
        if not self._still_holds(log, view):
            self._model.forget(log.namespace)

    async def _read(self, log: Log, view: View, query: Query) -> Reading:
        try:
            return await self._answered(log, view, query)
        finally:
            await run_in_executor(None, self._drop_unless_it_holds, log, view)

    async def _answered(self, log: Log, view: View, query: Query) -> Reading:
        then = self._plan.known
        answering = partial(RollingAnswering, self._model, self._plan, self._scribe, self._standing)
        try:
            return await answering(log, view, query).reading()
        except ContextOverflow:
            if not await self._plan.has_changed_since(then):
                raise
            return await answering(log, view, query).reading()
