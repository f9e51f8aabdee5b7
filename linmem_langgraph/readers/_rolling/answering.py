"""How one query is answered: from a note on all segments but the last, and from the last."""

from collections.abc import Sequence

from linmem_langgraph.log import Log
from linmem_langgraph.readers._linear.model import ReaderModel
from linmem_langgraph.readers._linear.prompt import found_nothing, named_positions, read_messages
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers._rolling.plan import RollingPlan
from linmem_langgraph.readers._rolling.prompt import Note, answer_messages
from linmem_langgraph.readers._rolling.scribe import Scribe
from linmem_langgraph.readers._rolling.standing import StandingNotes
from linmem_langgraph.readers.base import NOTHING, Query
from linmem_langgraph.records import Reading, Usage, total


class RollingAnswering:
    """One query to one version of one namespace's memory.

    Args:
        standing: where there are notes for whatever may be asked; None = the note is made for this query.
    """

    def __init__(
        self,
        model: ReaderModel,
        plan: RollingPlan,
        scribe: Scribe,
        standing: StandingNotes | None,
        log: Log,
        view: View,
        query: Query,
    ) -> None:
        self._model, self._plan, self._scribe = model, plan, scribe
        self._log, self._view, self._query = log, view, query
        # What a filter leaves is a memory of its own, and nothing stands ready for it.
        self._standing = standing if query.filter is None else None
        self._usages, self._invented = list[Usage](), set[int]()

    async def reading(self) -> Reading:
        """The model's words, and the records at the positions it named."""
        places = self._view.selected(self._query)
        admitted = self._view.admitted(places, self._query)
        if not admitted:
            return Reading(text=NOTHING, reader="rolling")
        await self._plan.check_question(self._query.text)
        segments = await self._plan.segments(self._log.namespace, self._view, places)
        note = await self._noted(segments[:-1])
        text, positions = await self._answered(note, segments, admitted)
        return Reading(
            text=text,
            records=self._view.named(positions, admitted, self._query.limit),
            usage=total(self._usages),
            reader="rolling",
            model=self._model.name,
            invented=len(self._invented),
        )

    async def _noted(self, segments: Sequence[Sequence[int]]) -> Note | None:
        """The note on those segments; None on none."""
        if self._standing:
            note, usage = await self._standing.note(self._log, self._view, segments)
            self._usages.append(usage)
            return note
        note = None
        for segment in segments:
            note, usage = await self._scribe.rewritten(self._log.namespace, self._view, segment, note, self._query.text)
            self._usages.append(usage)
        return note

    async def _answered(
        self, note: Note | None, segments: Sequence[Sequence[int]], admitted: Sequence[int]
    ) -> tuple[str, list[int]]:
        """What the model says, and which positions it names of those that it was shown."""
        transcript = self._view.text(segments[-1])
        shown = self._view.positions(segments[-1])
        if note:
            before = self._view.positions([place for segment in segments[:-1] for place in segment])
            noted, strange = named_positions(note.text, before)
            self._invented |= strange
            shown |= {*noted}
        reported = shown - self._view.positions(admitted)
        messages = (
            answer_messages(transcript, note, self._query, reported)
            if note
            else read_messages(transcript, self._query, reported)
        )
        answer = await self._model.ask(messages, self._log.namespace, (await self._plan.budget()).answer)
        self._usages.append(answer.usage)
        named, strange = named_positions(answer.text, shown)
        self._invented |= strange
        return (NOTHING, []) if found_nothing(answer.text) else (answer.text, named)
