"""How a model's context is shared out, and which records are read together."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from linmem_langgraph.errors import ConfigError, ContextOverflow, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.model import ReaderModel
from linmem_langgraph.readers._linear.prompt import longest_frame
from linmem_langgraph.readers._linear.token_counts import TokenCounts
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.records import MAX_POSITION, MemoryRecord
from linmem_langgraph.transcript import escape, render_record

logger = logging.getLogger(__name__)

TEMPLATE = 64
"""Tokens that a chat template may add to a dialogue of two messages, and a heading to what is merged."""

MOST_FOR_A_QUESTION = 1_024

ALWAYS_FITS = 1_020
"""Bytes: no model with a context that such a record could fill is of use as a memory."""

PATIENCE = 1.0
"""Seconds that a write of a large record waits to learn whether it fits."""

PAUSE = 60.0
"""Seconds for which writes leave a server alone that did not answer one."""


class Budget(NamedTuple):
    """How many tokens of the context are for what."""

    context: int
    answer: int
    question: int
    memory: int


class Plan:
    """Cuts what is to be read into pieces that fit the model's context.

    Args:
        context_tokens: as configured; None = what the server says.
        max_tokens: of an answer, at most.
    """

    def __init__(self, model: ReaderModel, counts: TokenCounts, context_tokens: int | None, max_tokens: int) -> None:
        self._model, self._counts = model, counts
        self._configured, self._max_tokens = context_tokens, max_tokens
        self._budget: Budget | None = None
        # What several reads need to know is asked for once.
        self._asking = asyncio.Lock()
        self._silent_until = 0.0

    async def budget(self) -> Budget:
        """Asked for once; without bounds if nobody knows the model's context.

        Raises:
            ReaderUnavailable: the server does not answer.
            ConfigError: the context is too small to read anything.
        """
        if self._budget is not None:
            return self._budget
        async with self._asking:
            if self._budget is None:
                self._budget = await self._shared_out()
            return self._budget

    @property
    def known(self) -> Budget | None:
        """The budget, if it has been asked for."""
        return self._budget

    async def has_changed_since(self, then: Budget | None) -> bool:
        """Whether the context is another than it was `then`: the server may have been started anew, so it is asked."""
        if self._budget is then:
            self._budget = None
        return then is not None and await self.budget() != then

    async def segments(
        self, namespace: Namespace, view: View, places: Sequence[int], most: int | None = None
    ) -> list[list[int]]:
        """The records' places, cut wherever the next one does not fit, so that a full segment never changes again.

        Args:
            most: tokens of a segment, where the context has room for more.

        Raises:
            ContextOverflow: a single record is larger than the context.
        """
        room = (await self.budget()).memory
        capacity = min(room, most or room)
        # No token is shorter than a byte: what fits by bytes needs no counting.
        if not places or len(view.text(places).encode()) <= capacity:
            return [list(places)]
        await self._count(namespace, view, places[-1] + 1)
        if large := [place for place in places if view.tokens[place] > room]:
            raise ContextOverflow(_too_large(view.records[large[0]], view.tokens[large[0]], room))
        return [[places[index] for index in run] for run in filled([view.tokens[place] for place in places], capacity)]

    async def fit(self, namespace: Namespace, view: View, places: Sequence[int], most: int) -> bool:
        """Whether those records have so many tokens at most, together."""
        if not places or len(view.text(places).encode()) <= most:
            return True
        await self._count(namespace, view, places[-1] + 1)
        return sum(view.tokens[place] for place in places) <= most

    async def check_question(self, text: str) -> None:
        """Raises `ConfigError` if the context has no room for this query."""
        budget, question = await self.budget(), escape(text)
        if len(question.encode()) <= budget.question:
            return
        tokens = (await self._model.count([question]))[0]
        if tokens > budget.question:
            raise ConfigError(
                f"the query {text[:40]!r}... has {tokens:,} tokens; of the model's context of {budget.context:,} "
                f"{budget.question:,} are kept for it: ask a shorter question"
            )

    async def groups(self, texts: Sequence[str]) -> list[list[int]]:
        """Which texts are merged in one call, in their order; two at least, if there are two."""
        runs = filled(await self._model.count(texts), (await self.budget()).memory)
        return runs if len(runs) < len(texts) else [[*range(len(texts))[at : at + 2]] for at in range(0, len(texts), 2)]

    def surely_fit(self, records: Sequence[MemoryRecord]) -> bool:
        """Whether the records are so short that no server need be asked whether they fit the context."""
        most = self._budget.memory if self._budget else ALWAYS_FITS
        # A character takes at most 6 bytes: 4 in UTF-8, or a line break, which is followed by four spaces.
        longer = [record for record in records if 6 * len(record.text) + TEMPLATE > most]
        return time.monotonic() < self._silent_until or all(len(_longest_line(r).encode()) <= most for r in longer)

    async def check(self, records: Sequence[MemoryRecord]) -> None:
        """Raises `ContextOverflow` if a record is larger than the context, as far as the server says how large that is.

        A write depends on no server: if it is slow or down, the log takes the record.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                capacity = (await self.budget()).memory
                lines = {_longest_line(record): record for record in records}
                large = [line for line in lines if len(line.encode()) > capacity]
                tokens = await self._model.count(large)
        except (ReaderUnavailable, ConfigError, TimeoutError) as exc:
            logger.warning("records were written without being compared with the model's context: %r", exc)
            self._silent_until = time.monotonic() + PAUSE
            return
        for line, size in zip(large, tokens, strict=True):
            if size > capacity:
                raise ContextOverflow(_too_large(lines[line], size, capacity))

    async def _count(self, namespace: Namespace, view: View, stop: int) -> None:
        """Let `view.tokens` reach to the record at `stop`."""
        if len(view.tokens) >= stop:
            return
        async with view.counting:
            start = len(view.tokens)
            keys = [str(record.key) for record in view.records[start:stop]]
            if lines := dict(zip(keys, view.lines[start:stop], strict=True)):
                view.tokens += (await self._counts.of(namespace, lines, self._model)).values()

    async def _shared_out(self) -> Budget:
        served = await self._model.context_tokens()
        context = min(served or self._configured or 0, self._configured or served or 0)
        if not context:
            return Budget(0, self._max_tokens, 2**62, 2**62)
        if served and self._configured and served < self._configured:
            logger.warning(
                "context_tokens is %d, but %s serves a context of %d: that is used",
                self._configured,
                self._model.place,
                served,
            )
        answer, question = min(self._max_tokens, context // 8), min(MOST_FOR_A_QUESTION, context // 8)
        frame = (await self._model.count([longest_frame()]))[0] + TEMPLATE
        # Texts counted one by one may be a little longer together.
        memory = context - frame - question - answer - context // 100
        if memory < 2 * (answer + TEMPLATE):
            raise ConfigError(
                f"a context of {context:,} tokens is too small: instructions take {frame:,}, a question {question:,}, "
                f"an answer {answer:,}; serve the model with a longer one (--max-model-len), or lower max_tokens"
            )
        return Budget(context, answer, question, memory)


def filled(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Indexes of `sizes`, in order: as many as `capacity` holds, then the next as many; one at least."""
    runs, room = list[list[int]](), 0
    for index, size in enumerate(sizes):
        if size > room or not runs:
            runs.append([])
            room = capacity
        runs[-1].append(index)
        room -= size
    return runs


def _longest_line(record: MemoryRecord) -> str:
    """What the record can be in a transcript; a position that is still to be handed out may be large."""
    position = MAX_POSITION if record.position is None else record.position
    return render_record(record.model_copy(update={"position": position}))


def _too_large(record: MemoryRecord, tokens: int, capacity: int) -> str:
    return (
        f"the record {record.text[:40]!r}... (key {record.key!r}, position {record.position}) has {tokens:,} tokens, "
        f"and the model's context leaves {capacity:,} for memory: split it into several, or serve a longer context"
    )
