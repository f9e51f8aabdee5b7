"""How one query is answered: the segments are read side by side, and what was found in them is merged."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import chain

from langchain_core.messages import BaseMessage

from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.loop import together
from linmem_langgraph.readers._linear.model import Answer, ReaderModel
from linmem_langgraph.readers._linear.plan import Plan
from linmem_langgraph.readers._linear.primer import WORTH_PRIMING, Primer
from linmem_langgraph.readers._linear.prompt import (
    Found,
    finding,
    found_nothing,
    merge_messages,
    named_positions,
    read_messages,
)
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers.base import NOTHING, Query
from linmem_langgraph.records import Reading, Usage, total

Cut = Callable[[Sequence[int]], Awaitable[list[list[int]]]]
"""The segments of those records, of their places, that a query is to be asked of."""


class Answering:
    """One query to one version of one namespace's memory."""

    def __init__(
        self, model: ReaderModel, plan: Plan, primer: Primer, namespace: Namespace, view: View, query: Query, cut: Cut
    ) -> None:
        self._model, self._plan, self._primer, self._cut = model, plan, primer, cut
        self._namespace, self._view, self._query = namespace, view, query
        self._usages, self._shown, self._invented = list[Usage](), set[int](), set[int]()
        # A memory of many segments takes its turn with other reads after each of them.
        self._turns = asyncio.Semaphore(model.concurrency)

    async def reading(self) -> Reading:
        """The model's words, and the records at the positions it named."""
        places = self._view.selected(self._query)
        if not self._view.admitted(places, self._query):
            return Reading(text=NOTHING, reader="linear")
        await self._plan.check_question(self._query.text)
        segments = await self._cut(places)
        # Of a position that is cut in two, what lies in a segment that is not read is no part of the reading.
        shown = [*chain.from_iterable(segments)]
        admitted, self._shown = self._view.admitted(shown, self._query), self._view.positions(shown)
        known = self._shown - self._view.positions(admitted)
        found = await together(self._read(segment, known) for segment in segments)
        merged = await self._merged([each for each in found if not found_nothing(each.text)])
        return Reading(
            text=merged.text if merged else NOTHING,
            records=self._view.named(merged.positions, admitted, self._query.limit) if merged else (),
            usage=total(self._usages),
            reader="linear",
            model=self._model.name,
            invented=len(self._invented),
        )

    async def _read(self, segment: Sequence[int], known: Collection[int]) -> Found:
        positions = self._view.positions(segment)
        first, last = min(positions), max(positions)
        reported = [position for position in known if first <= position <= last]
        async with self._turns:
            messages = read_messages(self._view.text(segment), self._query, reported)
            budget = await self._plan.budget()
            is_known = await self._model.knows(messages, self._namespace, budget.answer)
            primed = 0 if is_known else await self._primed(segment)
            answer = await self._ask(messages)
        self._primer.watch(answer.usage, primed)
        named, strange = named_positions(answer.text, positions)
        if strange:
            # What lies in another segment was not shown here, but is not invented.
            self._invented |= strange - self._shown
        return Found(first, last, answer.text, named)

    async def _primed(self, segment: Sequence[int]) -> int:
        """How many tokens the server should find again: a prefix that more reads may follow is primed first.

        A read alone leaves no state where its memory ends, as its prompt goes on with the question.
        """
        if self._query.filter is not None:
            return 0
        primed = self._primer.primed(self._namespace, self._view, segment)
        if primed or not self._primer.is_on or len(self._view.text(segment)) < WORTH_PRIMING:
            return primed
        self._usages.append(await self._primer.prime_at_once(self._namespace, self._view, segment))
        return self._primer.primed(self._namespace, self._view, segment)

    async def _merged(self, found: Sequence[Found]) -> Found | None:
        """One finding from many: as many at once as the context holds, until one is left."""
        while len(found) > 1:
            groups = await self._plan.groups([finding(each) for each in found])
            merged = await together(self._merge([found[index] for index in group]) for group in groups)
            found = [each for each in merged if not found_nothing(each.text)]
        return found[0] if found else None

    async def _merge(self, found: Sequence[Found]) -> Found:
        if len(found) == 1:
            return found[0]
        answer = await self._ask(merge_messages(found, self._query))
        known = {position for each in found for position in each.positions}
        named, invented = named_positions(answer.text, known)
        self._invented |= invented
        return Found(found[0].first, found[-1].last, answer.text, named)

    async def _ask(self, messages: Sequence[BaseMessage]) -> Answer:
        answer = await self._model.ask(messages, self._namespace, (await self._plan.budget()).answer)
        self._usages.append(answer.usage)
        return answer
