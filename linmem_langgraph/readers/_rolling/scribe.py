"""Who rewrites a note: a model, whose words are cut to the size of a note if they are more."""

from collections.abc import Sequence

from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.model import ReaderModel
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers._rolling.plan import RollingPlan
from linmem_langgraph.readers._rolling.prompt import Note, body, is_unchanged, note_messages
from linmem_langgraph.records import Usage


class Scribe:
    """Rewrites notes of a fixed size."""

    def __init__(self, model: ReaderModel, plan: RollingPlan) -> None:
        self._model, self._plan = model, plan

    async def rewritten(
        self, namespace: Namespace, view: View, segment: Sequence[int], note: Note | None, question: str | None
    ) -> tuple[Note, Usage]:
        """The note on `segment` and on what `note` is about, by one call of the model; and what that cost.

        Args:
            segment: places of records in `view`.
            question: what the note is for; None = whatever may be asked.
        """
        limit = await self._plan.note()
        messages = note_messages(view.text(segment), note, limit // 2, question)
        answer = await self._model.ask(messages, namespace, limit)
        text = whole(answer.text) if answer.cut or answer.usage.completion_tokens >= limit else answer.text
        if is_unchanged(answer.text):
            text = note.text if note else ""
        first = note.first if note else view.position(segment[0])
        return Note(await self._fitting(text, limit), first, view.position(segment[-1])), answer.usage

    async def _fitting(self, text: str, limit: int) -> str:
        """`text`, or as many whole statements of its beginning as `limit` tokens hold."""
        if await self._fits(text, limit):
            return text
        low, high = 0, len(text)
        while high - low > 1 + limit // 16:
            middle = (low + high) // 2
            if await self._fits(whole(text[:middle]), limit):
                low = middle
            else:
                high = middle
        return whole(text[:low])

    async def _fits(self, text: str, limit: int) -> bool:
        sent = body(text)
        return len(sent.encode()) <= limit or (await self._model.count([sent]))[0] <= limit


def whole(text: str) -> str:
    """A text that was cut off without the statement it was cut off in; a statement ends a line, or with positions."""
    end = max(text.rfind("\n"), text.rfind("]") + 1)
    return (text[:end] if end > 0 else text.rpartition(" ")[0] or text).rstrip()
