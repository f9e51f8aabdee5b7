"""M3-Agent's search over a memory graph, as a reader: `ChromaReader`, asked once for each face and voice a query means.

A query that names somebody (`<character_0>`, `<face_3>`) is searched among the texts about them only, once for each
way to name them; the best counts. A query with the words `character id` finds single texts. Any other finds clips and
gives all that is told of them, but not again what was seen. What is shown names characters.

`until` bounds who is who as it bounds texts: the reference lets later equivalences through.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice, product
from typing import ClassVar, NamedTuple

from evals.m3_graphs.entities import EQUIVALENCE, TAG, Characters, about, as_characters, characters
from linmem_langgraph import transcript
from linmem_langgraph.filters import matches
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers import Query, Reader
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.readers.chroma import By, ChromaReader
from linmem_langgraph.records import MemoryRecord, Reading, ScoredRecord

NODE_WISE = "character id"
"""Words of a query that is searched text by text."""

VARIANTS = 100
"""At most so many ways to name who a query names."""


class Found(NamedTuple):
    """What a search gives.

    Args:
        clips: those that are new, the best first, then their neighbours; also such of which nothing is shown. None were
            searched node-wise.
        shown: by clip; within one in order, or the best first where it was searched node-wise.
    """

    clips: tuple[int, ...]
    shown: tuple[ScoredRecord, ...]


class GraphReader(Reader):
    """Reads what `python -m evals import-graphs` wrote.

    Args:
        inner: has the vectors.
        clips: how many a search gives, of which those seen are left out.
        nodes: how many texts a node-wise search gives.
        threshold: the least cosine similarity of a clip's best text.
        neighbours: so many clips before and after each that is found, too.
        episodic_only: show what happened, not what holds.
    """

    name: ClassVar[str] = "m3_graph"

    def __init__(
        self,
        inner: ChromaReader,
        *,
        clips: int = 2,
        nodes: int = 20,
        threshold: float | None = 0.5,
        neighbours: int = 0,
        episodic_only: bool = False,
    ) -> None:
        self._inner, self._clips, self._nodes, self._threshold = inner, clips, nodes, threshold
        self._neighbours, self._episodic_only = neighbours, episodic_only

    def read(self, log: Log, query: Query) -> Reading:
        """What the search finds, by clip."""
        shown = self.find(log, query).shown
        text = transcript.render(hit.record for hit in shown).rstrip("\n")
        return Reading(text=text or NOTHING, records=shown, reader=self.name)

    def find(self, log: Log, query: Query, *, node_wise: bool | None = None) -> Found:
        """What the search finds; a clip is seen where it, or each record of it that can be shown, is excluded.

        Args:
            node_wise: None = as the query's words have it.
        """
        search = _Search(self._inner, log, query)
        told = {
            record.key: record.model_copy(update={"text": as_characters(record.text, search.cast)})
            for record in search.known
            if record.kind != EQUIVALENCE
            and not (self._episodic_only and record.kind == "semantic")
            and matches(record, query.filter)
        }
        if NODE_WISE in query.text if node_wise is None else node_wise:
            return _by_node(search, told, query.limit or self._nodes)
        scores = _clips(search, query.limit or self._clips, self._threshold)
        around = {clip + step for clip in scores for step in range(-self._neighbours, self._neighbours + 1)}
        by_clip: dict[int, list[MemoryRecord]] = {clip: [] for clip in scores}
        for record in told.values():
            if record.position in around:
                by_clip.setdefault(record.position, []).append(record)
        new = {clip: records for clip, records in by_clip.items() if not _is_seen(clip, records, query.exclude)}
        shown = [ScoredRecord(record=record, score=scores.get(clip)) for clip in sorted(new) for record in new[clip]]
        return Found(tuple(new), tuple(shown))

    def update(self, log: Log, change: Change) -> None:
        """Index what was written."""
        self._inner.update(log, change)

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Delete entries."""
        return self._inner.forget(log, keys, change)

    def rebuild(self, log: Log) -> None:
        """Embed everything anew."""
        self._inner.rebuild(log)

    def close(self) -> None:
        """Release the index."""
        self._inner.close()


class _Search:
    """One query over what is remembered: the nearest records, whichever way it names whom it means."""

    def __init__(self, inner: ChromaReader, log: Log, query: Query) -> None:
        self._inner, self._log, self._query = inner, log, query
        self.known = log.records(until=query.until)
        self.cast = characters(self.known)
        self._texts = variants(query.text, self.cast)
        self._unmeant = _unmeant(query.text, self.known, self.cast)
        self._nodes = {record.key: _number(record) for record in self.known}
        nodes = list(self._nodes.values())
        self._in_order = nodes == sorted(nodes)

    def nearest(self, by: By, limit: int, threshold: float | None) -> list[ScoredRecord]:
        """The best first, of equal ones the earlier node; a record can be there several times."""
        if len(self._unmeant) == len(self.known):
            return []
        # Of equal ones the reader takes the earlier in the log: where nodes are in another order, all must be seen.
        bounds = {"limit": limit if self._in_order else len(self.known), "exclude": self._unmeant}
        hits = [
            hit
            for text in self._texts
            for hit in self._inner.nearest(
                self._log, self._query.model_copy(update={"text": text, **bounds}), by=by, threshold=threshold
            )
        ]
        return sorted(hits, key=lambda hit: (-(hit.score or 0.0), self._nodes[hit.record.key]))


Told = Mapping[str | None, MemoryRecord]
"""What can be shown, by key, in log order."""


def _clips(search: _Search, limit: int, threshold: float | None) -> dict[int, float]:
    """The best clips with their scores, the best first."""
    scores = dict[int, float]()
    for hit in search.nearest("position", limit, threshold):
        scores.setdefault(hit.record.position or 0, hit.score or 0.0)
    return dict(islice(scores.items(), limit))


def _by_node(search: _Search, told: Told, limit: int) -> Found:
    # What is not shown is found, too, and does not count.
    hits = search.nearest("record", limit + len(search.known) - len(told), None)
    scores = dict[str | None, float]()
    for hit in hits:
        if hit.record.key in told:
            scores.setdefault(hit.record.key, hit.score or 0.0)
    shown = [ScoredRecord(record=told[key], score=scores[key]) for key in islice(scores, limit)]
    return Found((), tuple(sorted(shown, key=lambda hit: hit.record.position or 0)))


def variants(text: str, cast: Characters) -> list[str]:
    """The text once for each face and voice of the characters it names; the first hundred, if there are more."""
    named = [name for name in dict.fromkeys(TAG.findall(text)) if name in cast]
    choices = islice(product(*(cast[name] for name in named)), VARIANTS)
    return [_renamed(text, dict(zip(named, choice, strict=True))) for choice in choices]


def _number(record: MemoryRecord) -> float:
    """Of the node it was; what was written otherwise comes after all nodes, in log order."""
    node = re.fullmatch(r"node_(\d+)", str(record.key))
    return int(node[1]) if node else math.inf


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return TAG.sub(lambda tag: f"<{names.get(tag[1], tag[1])}>", text)


def _unmeant(text: str, known: Iterable[MemoryRecord], cast: Characters) -> frozenset[str]:
    """Keys of the texts that are not about those whom a query names; none, if it names nobody who is known."""
    members = {member for group in cast.values() for member in group}
    meant = {member for name in TAG.findall(text) for member in cast.get(name, [name]) if member in members}
    return frozenset(str(record.key) for record in known if meant and not meant & about(record))


def _is_seen(clip: int, records: Sequence[MemoryRecord], seen: Collection[int | str]) -> bool:
    return clip in seen or (bool(records) and all(record.key in seen for record in records))
