"""Retrieval narrows, a linear-attention model reads."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import run_in_executor

from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._arguments import check_positive
from linmem_langgraph.readers._linear.primer import Mode as Prime
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers.base import Query
from linmem_langgraph.readers.chroma import ChromaReader
from linmem_langgraph.readers.linear import LinearReader

Mode = Literal["auto", "whole", "routed"]

CANDIDATES = 10
"""Records that each index names for a query; as many as segments are read, if these are more."""

RANK_CONSTANT = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a record at rank r counts 1 / (60 + r)."""


class HybridReader(LinearReader):
    """Reads a small memory whole, and of a larger one the segments in which retrieval finds most.

    The transcript is cut into fixed segments, so that the server's state of each serves every question about it; a
    choice of single records would be a prompt of its own each time. Which segments are read is decided by the ranks of
    their records in two Chroma indexes, one of vectors and one of words. A read costs no more for a larger memory.

    Everything else, arguments too, is as in `LinearReader`: several segments are read at once and merged by one more
    call; `until`, `filter` and `exclude` hold for what is retrieved and for what is read.

    Args:
        model: the chat model that reads, as for `LinearReader`.
        embeddings: of the index of vectors, as for `ChromaReader`; `LexicalEmbeddings` leaves only the index of words.
        mode: "auto" reads whole what `budget_tokens` hold, "whole" reads everything, "routed" always chooses.
        segment_tokens: of a segment, at most, unless a single record is longer.
        budget_tokens: what a read may take of the memory, in whole segments, one at least.
        path: a folder for the indexes and the token counts; None = a temporary one.

    Raises:
        ConfigError: an argument is invalid.
    """

    name: ClassVar[str] = "hybrid"

    def __init__(
        self,
        model: BaseChatModel,
        *,
        embeddings: Any = None,
        mode: Mode = "auto",
        segment_tokens: int = 4_000,
        budget_tokens: int = 12_000,
        prime: Prime = "auto",
        context_tokens: int | None = None,
        max_tokens: int = 512,
        timeout: float = 300.0,
        concurrency: int = 32,
        cache_secret: str = "",
        path: str | Path | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            raise ConfigError(f"mode is {mode!r}: choose {', '.join(get_args(Mode))}")
        check_positive(segment_tokens=segment_tokens, budget_tokens=budget_tokens)
        if budget_tokens < segment_tokens:
            raise ConfigError(f"budget_tokens is {budget_tokens}, less than one segment of {segment_tokens}: give more")
        super().__init__(
            model,
            prime=prime,
            context_tokens=context_tokens,
            max_tokens=max_tokens,
            timeout=timeout,
            concurrency=concurrency,
            cache_secret=cache_secret,
            path=path,
        )
        self._mode, self._segment_tokens, self._budget_tokens = mode, segment_tokens, budget_tokens
        self._opened = list[ChromaReader]()
        with ExitStack() as undo:
            undo.callback(self.close)
            self._indexes = [self._open("words", path, LexicalEmbeddings())]
            if type(embeddings) is not LexicalEmbeddings:
                self._indexes.append(self._open("vectors", path, embeddings))
            elif path is not None and (Path(path) / "vectors").exists():
                self._open("vectors", path, embeddings)  # made with other embeddings: all it can do is to forget
            undo.pop_all()

    def update(self, log: Log, change: Change) -> None:
        """Index what was written, and prime the transcript."""
        with ExitStack() as following:  # one that fails does not keep back the others
            following.callback(super().update, log, change)
            for index in self._indexes:
                following.callback(index.update, log, change)

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Delete entries from the indexes, and drop what is kept of the records."""
        gone = list[int]()
        with ExitStack() as forgetting:  # one that fails does not keep what the others hold
            for forget in (super().forget, *(index.forget for index in self._opened)):
                forgetting.callback(lambda act: gone.append(act(log, keys, change)), forget)
        return sum(gone)

    def rebuild(self, log: Log) -> None:
        """Index all records anew, and prime the transcript."""
        super().rebuild(log)  # forgets
        for index in self._indexes:
            index.rebuild(log)

    def close(self) -> None:
        """Release indexes, connections and files."""
        with ExitStack() as closing:
            closing.callback(super().close)
            for index in self._opened:
                closing.callback(index.close)

    def _open(self, kind: str, path: str | Path | None, embeddings: Any) -> ChromaReader:
        self._opened.append(ChromaReader(None if path is None else Path(path) / kind, embeddings=embeddings))
        return self._opened[-1]

    async def _segments(self, namespace: Namespace, view: View, places: Sequence[int]) -> list[list[int]]:
        """As few as the context allows, if all of it is to be read, and small ones otherwise."""
        return await self._plan.segments(namespace, view, places, await self._size(namespace, view, places))

    async def _size(self, namespace: Namespace, view: View, places: Sequence[int]) -> int | None:
        """Tokens of a segment; None = what the context allows, as all of it is to be read."""
        if self._mode == "whole":
            return None
        is_small = self._mode == "auto" and await self._plan.fit(namespace, view, places, self._budget_tokens)
        return None if is_small else self._segment_tokens

    async def _asked(self, log: Log, view: View, query: Query, places: Sequence[int]) -> list[list[int]]:
        """The segments of the best candidates that the budget holds, in their order in the transcript."""
        size = await self._size(log.namespace, view, places)
        segments = await self._plan.segments(log.namespace, view, places, size)
        if size is None or len(segments) == 1:
            return segments
        wanted = self._budget_tokens // self._segment_tokens
        if len(segments) <= wanted and self._held(view, segments) == segments:
            return segments
        scores = await run_in_executor(None, self._scores, log, query, max(CANDIDATES, wanted))
        by_place = {view.places[key]: score for key, score in scores.items() if key in view.places}
        # By the best record of each: many that are a little alike do not make up for the one that is asked for.
        worth = [max(by_place.get(place, 0.0) for place in segment) for segment in segments]
        # Of equal ones the latest: where nothing is found, what is new is the best guess.
        best = sorted(range(len(segments)), key=lambda index: (-worth[index], -index))[:wanted]
        return sorted(self._held(view, [segments[index] for index in best]))

    def _held(self, view: View, segments: Sequence[list[int]]) -> list[list[int]]:
        """The first, and of the others those that the budget has room for: a single record can be a large segment."""
        held, room = list[list[int]](), self._budget_tokens
        for segment in segments:
            size = sum(view.tokens[place] for place in segment)
            if not held or size <= room:
                held.append(segment)
                room -= size
        return held

    def _scores(self, log: Log, query: Query, limit: int) -> dict[str, float]:
        """Reciprocal rank fusion of what the indexes find, `limit` records each, by record."""
        asked = query.model_copy(update={"limit": limit})
        scores: dict[str, float] = {}
        for index in self._indexes:
            for rank, hit in enumerate(index.nearest(log, asked), start=1):
                if hit.score is not None and hit.score > 0:  # without anything in common, a rank says nothing
                    key = str(hit.record.key)
                    scores[key] = scores.get(key, 0.0) + 1 / (RANK_CONSTANT + rank)
        return scores
