"""A namespace's transcript at one version of its log, line by line."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property

from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers.base import Query
from linmem_langgraph.records import MemoryRecord, ScoredRecord
from linmem_langgraph.transcript import render_record


class View:
    """The records of a log, in its order, and the transcript's lines of each.

    `tokens` are those of the first so many, as far as they have been counted; who counts holds `counting`.
    """

    def __init__(
        self,
        version: str,
        records: tuple[MemoryRecord, ...],
        lines: tuple[str, ...] | None = None,
        tokens: Sequence[int] = (),
    ) -> None:
        self.version, self.records, self.tokens = version, records, list(tokens)
        self.lines = tuple(map(render_record, records)) if lines is None else lines
        self.counting = asyncio.Lock()

    @classmethod
    def of(cls, log: Log) -> "View":
        """The log as it is now."""
        before = log.head().version
        records = tuple(log.records())
        # Written to meanwhile: a version that no log has, so that the next read looks again.
        return cls(before if log.head().version == before else "changing", records)

    def followed(self, change: Change) -> "View | None":
        """The view after `change`, None unless it was made from this version and only added records at the end."""
        if change.base != self.version or not change.appended:
            return None
        # A store without transactions may have shown some of what was written before its version.
        latest = {record.key for record in self.records[-len(change.written) :]}
        if any(record.key in latest for record in change.written):
            return None
        lines = (*self.lines, *map(render_record, change.written))
        return View(change.version, (*self.records, *change.written), lines, self.tokens)

    def selected(self, query: Query) -> Sequence[int]:
        """The places of the records that a transcript for `query` holds: all up to `until` that match the filter."""
        stop = len(self.records)
        if query.until is not None:
            stop = bisect_right(self.records, query.until, key=lambda record: record.position or 0)
        if query.filter is None:
            return range(stop)
        matching = Query(text=query.text, filter=query.filter)
        return [place for place in range(stop) if matching.admits(self.records[place])]

    def admitted(self, places: Sequence[int], query: Query) -> Sequence[int]:
        """Those of the selected places whose records a reading may name: all but what the query excludes."""
        return [place for place in places if query.admits(self.records[place])] if query.exclude else places

    def named(self, positions: Sequence[int], places: Sequence[int], limit: int | None) -> tuple[ScoredRecord, ...]:
        """The records at `places` that lie at the first `limit` of those `positions` at which any does."""
        present = self.positions(places)
        named = {*[position for position in positions if position in present][:limit]}
        return tuple(ScoredRecord(record=self.records[place]) for place in places if self.position(place) in named)

    def position(self, place: int) -> int:
        """The position of the record there."""
        return self.records[place].position or 0

    def positions(self, places: Iterable[int]) -> set[int]:
        """The positions of those records."""
        return {self.position(place) for place in places}

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each record, by its key."""
        return {str(record.key): place for place, record in enumerate(self.records)}

    def text(self, places: Sequence[int]) -> str:
        """The transcript of those records."""
        return "".join(map(self.lines.__getitem__, places))
