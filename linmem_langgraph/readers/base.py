"""The contract of a reader: it answers a query from the log of one namespace."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from langchain_core.runnables import run_in_executor
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from linmem_langgraph.filters import matches
from linmem_langgraph.log import Change, Log
from linmem_langgraph.records import MemoryRecord, Reading

NOTHING = "Nothing in memory matches."
"""The text of an empty reading."""


class Query(BaseModel):
    """What is asked of a reader.

    Args:
        text: the question or search text.
        limit: how many records (or positions, where a reader reads by position) at most; None = the reader's own.
        until: the as-of bound, a position, inclusive; nothing later may influence the reading.
        exclude: what was already seen: an integer excludes a position, a string a key.
        filter: as in `linmem_langgraph.filters`.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    limit: StrictInt | None = Field(default=None, ge=1, le=1_000_000)
    until: StrictInt | None = None
    exclude: frozenset[int | str] = frozenset()
    filter: dict[str, Any] | None = None

    def admits(self, record: MemoryRecord) -> bool:
        """Whether `record` may take part in the reading."""
        return (
            (self.until is None or (record.position or 0) <= self.until)
            and record.position not in self.exclude
            and record.key not in self.exclude
            and matches(record, self.filter)
        )


class Reader(ABC):
    """Answers queries from a log. One reader serves any number of namespaces, from several threads at once.

    A reader is handed the log of a single namespace and sees no other. Whatever it keeps beside the log (an index, a
    model's state) is derived: it must bring it up to date by itself when `Log.head` has another version than the one it
    was derived from, so that a crash, a lost index or a second process never make a read miss a record.
    """

    name: ClassVar[str]
    """The word for this reader in configs, readings and receipts."""

    waits_for_updates: ClassVar[bool] = True
    """Whether a read should first let pending `update`s of its namespace finish."""

    @abstractmethod
    def read(self, log: Log, query: Query) -> Reading:
        """The reading for `query`.

        Raises:
            ReaderUnavailable: the index or the server cannot be reached.
            ConfigError: the derived state was made by another set-up; the message says how to mend it.
        """

    async def aread(self, log: Log, query: Query) -> Reading:
        """`read`, without blocking the event loop; a reader that can be cancelled overrides it."""
        return await run_in_executor(None, self.read, log, query)

    def check(self, records: Sequence[MemoryRecord]) -> None:  # noqa: B027 - every record is an answer
        """Refuse records that this reader could never read, before the log has them. Calls no model.

        Raises:
            ContextOverflow: a record is larger than the reader's model can read.
        """

    @abstractmethod
    def update(self, log: Log, change: Change) -> None:
        """Follow a change of the log. Runs in the background, one change of a namespace after the other."""

    @abstractmethod
    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Remove those keys, or everything, from the derived state; how many entries went.

        The log has already forgotten them, by `change`.
        """

    @abstractmethod
    def rebuild(self, log: Log) -> None:
        """Drop the derived state and derive it anew from the log."""

    def close(self) -> None:  # noqa: B027 - nothing to release is an answer
        """Release clients and files; the reader is not used afterwards."""
