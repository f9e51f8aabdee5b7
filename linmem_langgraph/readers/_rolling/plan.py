"""How the context of a model that keeps a note is shared out, and which records it reads at a time."""

from collections.abc import Sequence

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.model import ReaderModel
from linmem_langgraph.readers._linear.plan import TEMPLATE, Budget, Plan
from linmem_langgraph.readers._linear.prompt import longest_frame as linear_frame
from linmem_langgraph.readers._linear.token_counts import TokenCounts
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers._rolling.prompt import longest_frame


class RollingPlan(Plan):
    """Leaves room for a note, and cuts what is to be read into segments that may be smaller than the context.

    Args:
        context_tokens: as configured; None = what the server says.
        max_tokens: of an answer, at most.
        note_tokens: of a note, at most; and at most an eighth of the context.
        segment_tokens: of a segment; a record that is larger, but fits the context, is a segment by itself.
    """

    def __init__(
        self,
        model: ReaderModel,
        counts: TokenCounts,
        context_tokens: int | None,
        max_tokens: int,
        note_tokens: int,
        segment_tokens: int,
    ) -> None:
        super().__init__(model, counts, context_tokens, max_tokens)
        self._note_tokens, self._segment_tokens = note_tokens, segment_tokens

    async def note(self) -> int:
        """How many tokens a note may have."""
        return self._note_within((await self.budget()).context)

    async def segment(self) -> int:
        """How many tokens the records of a segment have, unless there is only one."""
        return min(self._segment_tokens, (await self.budget()).memory)

    async def segments(
        self, namespace: Namespace, view: View, places: Sequence[int], most: int | None = None
    ) -> list[list[int]]:
        """As of any plan, of `segment_tokens` at most."""
        return await super().segments(namespace, view, places, min(most or self._segment_tokens, self._segment_tokens))

    async def _shared_out(self) -> Budget:
        budget = await super()._shared_out()
        if not budget.context:
            return budget
        note = self._note_within(budget.context)
        mine, linear = await self._model.count([longest_frame(), linear_frame()])
        # Whoever answers reads the note; whoever rewrites it reads it and writes another.
        memory = budget.memory - note - max(note - budget.answer, 0) - max(mine - linear, 0)
        if memory < note + TEMPLATE:
            raise ConfigError(
                f"a context of {budget.context:,} tokens is too small: instructions take {mine:,}, a question "
                f"{budget.question:,}, a note {note:,}, and as much again when it is rewritten; serve the model with a "
                "longer one (--max-model-len), or lower note_tokens"
            )
        return budget._replace(memory=memory)

    def _note_within(self, context: int) -> int:
        return min(self._note_tokens, context // 8) if context else self._note_tokens
