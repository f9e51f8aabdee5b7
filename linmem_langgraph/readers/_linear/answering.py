"""How one query is answered: the segments are read side by side, and what was found in them is merged."""

import asyncio
from collections.abc import Collection, Sequence

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
from linmem_langgraph.records import Reading, ScoredRecord, Usage


class Answering:
    """One query to one version of one namespace's memory."""

    def __init__(
        self, model: ReaderModel, plan: Plan, primer: Primer, namespace: Namespace, view: View, query: Query
    ) -> None:
        self._model, self._plan, self._primer = model, plan, primer
        self._namespace, self._view, self._query = namespace, view, query
        self._usage, self._invented = Usage(), set[int]()
        # A memory of many segments takes its turn with other reads after each of them.
        self._turns = asyncio.Semaphore(model.concurrency)

    async def reading(self) -> Reading:
        """The model's words, and the records at the positions it named."""
        places = self._view.selected(self._query)
        admitted = places
        if self._query.exclude:
            admitted = [place for place in places if self._query.admits(self._view.records[place])]
        if not admitted:
            return Reading(text=NOTHING, reader="linear")
        await self._plan.check_question(self._query.text)
        segments = await self._plan.segments(self._namespace, self._view, places)
        shown = {self._position(place) for place in admitted}
        known = {self._position(place) for place in places} - shown
        found = await together(self._read(segment, known) for segment in segments)
        merged = await self._merged([each for each in found if not found_nothing(each.text)])
        named = self._within_limit(merged.positions, admitted) if merged else ()
        return Reading(
            text=merged.text if merged else NOTHING,
            records=tuple(
                ScoredRecord(record=self._view.records[place]) for place in admitted if self._position(place) in named
            ),
            usage=self._usage,
            reader="linear",
            model=self._model.name,
            invented=len(self._invented),
        )

    async def _read(self, segment: Sequence[int], known: Collection[int]) -> Found:
        positions = {self._position(place) for place in segment}
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
            self._invented |= strange - {self._position(place) for place in self._view.selected(self._query)}
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
        cost = await self._primer.prime_at_once(self._namespace, self._view, segment)
        self._usage = _sum(self._usage, cost)
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
        self._usage = _sum(self._usage, answer.usage)
        return answer

    def _within_limit(self, positions: Sequence[int], admitted: Sequence[int]) -> Collection[int]:
        present = {self._position(place) for place in admitted}
        return {*[position for position in positions if position in present][: self._query.limit]}

    def _position(self, place: int) -> int:
        return self._view.records[place].position or 0


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )
