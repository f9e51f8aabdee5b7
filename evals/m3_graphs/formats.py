"""A memory graph read as text, in one of two formats, from the same log.

`raw`: what happened, clip after clip, as it was written: the episodic records. `structured`: all that is told, what
happened and what holds, about one character after the other, each text once, where it first names somebody; then what
names nobody. It names characters as they are known as of `until`, so an earlier one is no prefix of a later one.

M3-Agent's own raw captions are not published: the episodic records stand for them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from evals.m3_graphs.entities import EQUIVALENCE, TAG, as_characters, characters
from linmem_langgraph.filters import Filter, matches
from linmem_langgraph.log import Change, Head, Log
from linmem_langgraph.readers import Query
from linmem_langgraph.readers.base import Reader
from linmem_langgraph.readers.linear import LinearReader
from linmem_langgraph.records import MemoryRecord, Reading

Format = Literal["raw", "structured"]


def raw(records: Sequence[MemoryRecord]) -> list[MemoryRecord]:
    """What happened, in log order."""
    return [record for record in records if record.kind == "episodic"]


def structured(records: Sequence[MemoryRecord]) -> list[MemoryRecord]:
    """All that is told, by character; in log order about one."""
    cast = characters(records)
    by_name: dict[str, list[MemoryRecord]] = {name: [] for name in [*cast, ""]}
    for record in records:
        if record.kind != EQUIVALENCE:
            text = as_characters(record.text, cast)
            named = next((name for name in TAG.findall(text) if name in cast), "")
            by_name[named].append(record.model_copy(update={"text": text}))
    return [record for told in by_name.values() for record in told]


FORMATS: Mapping[Format, Callable[[Sequence[MemoryRecord]], list[MemoryRecord]]] = {
    "raw": raw,
    "structured": structured,
}


class FormattedReader(Reader):
    """A linear model reads a graph's memory in one format.

    Args:
        inner: reads it.
    """

    name: ClassVar[str] = "m3_linear"

    waits_for_updates: ClassVar[bool] = False

    def __init__(self, inner: LinearReader, format: Format) -> None:
        self._inner, self._format = inner, format

    def check(self, records: Sequence[MemoryRecord]) -> None:
        """Refuse a record that is larger than the model's context."""
        self._inner.check(records)

    def read(self, log: Log, query: Query) -> Reading:
        """What the model says."""
        formatted = _Formatted(log, self._format, query.until)
        return self._inner.read(formatted, query.model_copy(update={"until": None})).model_copy(
            update={"reader": self.name}
        )

    def update(self, log: Log, change: Change) -> None:
        """Prime all of it."""
        self._inner.update(_Formatted(log, self._format), replace(change, appended=False))

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Drop what is kept of the records."""
        return self._inner.forget(_Formatted(log, self._format), keys, change)

    def rebuild(self, log: Log) -> None:
        """Prime it anew."""
        self._inner.rebuild(_Formatted(log, self._format))

    def close(self) -> None:
        """Release connections and files."""
        self._inner.close()


class _Formatted(Log):
    """A log as of a position, as a format has it; its versions are those of the log and the position."""

    def __init__(self, log: Log, format: Format, until: int | None = None) -> None:
        super().__init__(log.store, log.namespace)
        self._format, self._until = format, until

    def head(self) -> Head:
        head = super().head()
        return replace(head, version=f"{head.version}:{self._until}") if head.version else head

    def records(self, *, until: int | None = None, filter: Filter | None = None) -> list[MemoryRecord]:
        bounds = [bound for bound in (until, self._until) if bound is not None]
        told = FORMATS[self._format](super().records(until=min(bounds, default=None)))
        return [record for record in told if matches(record, filter)]
