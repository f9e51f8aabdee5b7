"""A linear-attention model reads the whole memory and answers in words."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import run_in_executor

from linmem_langgraph.errors import ConfigError, ContextOverflow
from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._arguments import check_model_arguments
from linmem_langgraph.readers._linear import loop
from linmem_langgraph.readers._linear.answering import Answering
from linmem_langgraph.readers._linear.plan import Plan
from linmem_langgraph.readers._linear.primer import Mode, Primer
from linmem_langgraph.readers._linear.stateful_models import reader_model
from linmem_langgraph.readers._linear.token_counts import TokenCounts
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers._linear.views import Views
from linmem_langgraph.readers.base import Query, Reader
from linmem_langgraph.records import MemoryRecord, Reading


class LinearReader(Reader):
    """Answers in words, from the whole memory, with the records it names.

    The model reads transcript first, question last. On vLLM (`ChatVLLM`) the server keeps its state: after a write the
    transcript is primed in the background, and a read costs as much as its question and answer. A memory larger than
    the context is cut into segments that are read at once, and what was found in them is merged by one more call.

    `limit` bounds how many positions the records of a reading have. `until` reads a prefix of the same transcript; a
    `filter` a transcript of its own, which is not primed. What `exclude` names is left out of the records, and the
    model is told that it is known already, but does read it.

    Args:
        model: the chat model that reads; best one of linear attention on vLLM: `ChatVLLM(base_url=...)`. One that
            keeps states itself (`prime`, `forget`, `get_num_tokens`: see `KeepsStates`) is primed, too.
        prime: "auto" primes where states are kept unless reads show that they are not; "on"; "reads" primes what is
            read when it is first read, not what is written: for memories that are asked as of a position; "off" for
            servers without prefix caching.
        context_tokens: the model's context; None = what the server says. A smaller one makes smaller segments.
        max_tokens: of an answer, at most.
        timeout: seconds a request may take; how often it is repeated is the model's `max_retries`.
        concurrency: requests under way at a time, for all readers of the server.
        cache_secret: mixed into each namespace's `cache_salt`, for servers that others can send requests to: with it
            they cannot find out, by timing, what a memory begins with.
        path: a folder for the token counts of records; None = in memory.

    Make it after a fork, not before: its connections belong to the process that made them.

    Raises:
        ConfigError: an argument is invalid.
    """

    name: ClassVar[str] = "linear"

    waits_for_updates: ClassVar[bool] = False

    def __init__(
        self,
        model: BaseChatModel,
        *,
        prime: Mode = "auto",
        context_tokens: int | None = None,
        max_tokens: int = 512,
        timeout: float = 300.0,
        concurrency: int = 32,
        cache_secret: str = "",
        path: str | Path | None = None,
    ) -> None:
        check_model_arguments(
            context_tokens=context_tokens, max_tokens=max_tokens, timeout=timeout, concurrency=concurrency
        )
        self._model = reader_model(model, timeout=timeout, concurrency=concurrency, secret=cache_secret)
        self._counts = TokenCounts(Path(path) if path else None)
        self._plan = Plan(self._model, self._counts, context_tokens, max_tokens)
        self._primer = Primer(self._model, prime)
        self._views = Views(dropped=self._primer.forget)
        self._closed = False

    def check(self, records: Sequence[MemoryRecord]) -> None:
        """Refuse a record that is larger than the model's context, if the server says how large that is."""
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
        """Prime the transcript."""
        self._prime(log, self._views.followed(log, change))

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Drop what is kept of the records; the server's states of older transcripts are of no prompt any more."""
        self._views.forget(log.namespace)
        self._drop_states(log.namespace)
        return self._counts.forget(log.namespace, keys)

    def rebuild(self, log: Log) -> None:
        """Count all records anew, and prime the transcript."""
        self.forget(log, None, Change(base="", version=""))
        self._prime(log, self._view(log))

    def close(self) -> None:
        """Release connections and files."""
        if not self._closed:
            self._closed = True
            loop.run(self._model.close())
            self._counts.close()

    def _view(self, log: Log) -> View:
        if self._closed:
            raise ConfigError("this LinearReader is closed: make another")
        return self._views.current(log)

    def _prime(self, log: Log, view: View) -> None:
        then = self._plan.known
        try:
            self._prime_segments(log, view)
        except ContextOverflow:
            if not loop.run(self._plan.has_changed_since(then)):
                raise
            self._prime_segments(log, view)

    def _prime_segments(self, log: Log, view: View) -> None:
        if view.records and self._primer.follows_writes:
            segments = loop.run(self._segments(log.namespace, view, range(len(view.records))))
            try:
                self._primer.prime(log.namespace, view, segments, lambda: self._still_holds(log, view))
            finally:
                self._drop_unless_it_holds(log, view)

    def _still_holds(self, log: Log, view: View) -> bool:
        """Whether the log begins with what `view` holds; what was added since is primed by the update that follows."""
        return log.head().version == view.version or self._view(log).lines[: len(view.lines)] == view.lines

    def _drop_unless_it_holds(self, log: Log, view: View) -> None:
        """What was forgotten or changed while the model read it may have been primed after its states were dropped."""
        if not self._still_holds(log, view):
            self._drop_states(log.namespace)

    def _drop_states(self, namespace: Namespace) -> None:
        self._primer.forget(namespace)
        self._model.forget(namespace)

    async def _read(self, log: Log, view: View, query: Query) -> Reading:
        try:
            return await self._answered(log, view, query)
        finally:
            await run_in_executor(None, self._drop_unless_it_holds, log, view)

    async def _answered(self, log: Log, view: View, query: Query) -> Reading:
        cut, then = partial(self._asked, log, view, query), self._plan.known
        answering = partial(Answering, self._model, self._plan, self._primer, log.namespace, view, query, cut)
        try:
            reading = await answering().reading()
        except ContextOverflow:
            if not await self._plan.has_changed_since(then):
                raise
            reading = await answering().reading()
        return reading.model_copy(update={"reader": self.name})

    async def _segments(self, namespace: Namespace, view: View, places: Sequence[int]) -> list[list[int]]:
        """How the transcript of those records is cut: as seldom as the context allows."""
        return await self._plan.segments(namespace, view, places)

    async def _asked(self, log: Log, view: View, query: Query, places: Sequence[int]) -> list[list[int]]:
        """The segments that are read for a query: all."""
        return await self._segments(log.namespace, view, places)
