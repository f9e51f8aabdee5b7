"""Chroma for whichever store a graph runs with: what is needed to read it is found in the store."""

from collections.abc import Collection
from threading import Lock
from typing import ClassVar
from weakref import WeakKeyDictionary, finalize

from langgraph.store.base import BaseStore

from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers.base import Query, Reader
from linmem_langgraph.readers.chroma import ChromaReader
from linmem_langgraph.records import Reading


class StoreReader(Reader):
    """A `ChromaReader` for each store, with the embeddings that the store was given, else with lexical ones.

    The indexes are temporary and go with their stores. Several memories may share it.

    Args:
        limit: how many records a read returns when it does not say.
    """

    name: ClassVar[str] = ChromaReader.name

    def __init__(self, limit: int = 10) -> None:
        self._limit = limit
        self._readers: WeakKeyDictionary[BaseStore, ChromaReader] = WeakKeyDictionary()
        self._lock = Lock()

    def read(self, log: Log, query: Query) -> Reading:
        """The nearest records."""
        return self._of(log).read(log, query)

    def update(self, log: Log, change: Change) -> None:
        """Index what was written."""
        self._of(log).update(log, change)

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Delete entries."""
        return self._of(log).forget(log, keys, change)

    def rebuild(self, log: Log) -> None:
        """Embed everything anew."""
        self._of(log).rebuild(log)

    def _of(self, log: Log) -> ChromaReader:
        with self._lock:
            reader = self._readers.get(log.store)
            if reader is None:
                embeddings = getattr(log.store, "embeddings", None) or LexicalEmbeddings()
                reader = self._readers[log.store] = ChromaReader(embeddings=embeddings, limit=self._limit)
                finalize(log.store, reader.close)
            return reader
