"""The Chroma index of one namespace: vectors, positions and what filters need; the texts stay in the log.

The collection's metadata says which embedding made it, and it or the entry written last says which version of the log
it holds. An entry carries a digest of its record, so that a difference to the log, whatever its cause, is found and
mended by comparing digests.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._embedder import Embedder
from linmem_langgraph.records import MemoryRecord

if TYPE_CHECKING:
    from chromadb import Collection as ChromaCollection
    from chromadb.api import ClientAPI
    from chromadb.api.collection_configuration import CreateCollectionConfiguration
    from chromadb.api.types import Where

_BATCH = 1_000

T = TypeVar("T")


def collection_name(namespace: Namespace) -> str:
    """A name Chroma takes, another one for every namespace."""
    return "linmem-" + hashlib.sha256(json.dumps(namespace).encode()).hexdigest()[:48]


class ChromaIndex:
    """What a client holds for one namespace.

    Raises (all methods):
        ConfigError: the collection was made by another embedding.
    """

    def __init__(self, client: "ClientAPI", namespace: Namespace, embedder: Embedder, hnsw: dict[str, Any]) -> None:
        self._client = client
        self._namespace = namespace
        self._name = collection_name(namespace)
        self._embedder = embedder
        self._hnsw = hnsw
        self._collection: ChromaCollection | None = None
        self._version: str | None = None
        self._lock = RLock()

    def current(self, log: Log) -> "ChromaCollection | None":
        """The collection, brought up to date with the log; None for an empty log."""
        version = log.head().version
        if not version:
            return None
        if self._collection is None or self._version != version:
            with self._lock:
                self._follow(log)
        return self._collection

    def update(self, log: Log, change: Change) -> None:
        """Apply a change; if the collection is not at its base, compare with the whole log instead."""
        with self._lock:
            collection = self._open()
            if self._version != change.base:
                self._follow(log)
                return
            written = change.written
            if log.head().version != change.version:
                # More has happened since: a record that is already forgotten must not enter the index any more.
                written = tuple(log.get([str(record.key) for record in written]))
            _delete(collection, change.removed)
            self._upsert(collection, written, stamp=change.version)
            if written:
                self._version = change.version
            else:
                self._set_version(collection, change.version)

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Remove entries; how many there were."""
        with self._lock:
            collection = self._held()
            if collection is None:
                return 0
            if keys is None:
                count = int(collection.count())
                self.drop()
                return count
            held = [
                key for batch in _batches(sorted(keys)) for key in collection.get(ids=list(batch), include=[])["ids"]
            ]
            _delete(collection, held)
            if self._version == change.base:
                self._set_version(collection, change.version)
            return len(held)

    def drop(self) -> None:
        """Delete the collection."""
        from chromadb.errors import NotFoundError

        with self._lock:
            with suppress(NotFoundError):
                self._client.delete_collection(self._name)
            self._collection = self._version = None

    def keys_at(self, positions: Sequence[int]) -> list[str]:
        """The keys of all entries at those positions."""
        assert self._collection is not None
        found = self._collection.get(where=cast("Where", {"position": {"$in": list(positions)}}), include=[])
        return list(found["ids"])

    def query(self, vector: np.ndarray, where: dict[str, Any] | None, first: int) -> Iterator[list[tuple[str, float]]]:
        """The `first` best keys with their cosine similarities, then four times as many, until there are no more."""
        assert self._collection is not None
        wanted = first
        while True:
            found = self._collection.query(
                query_embeddings=[vector], n_results=wanted, where=where, include=["distances"]
            )
            distances = (found["distances"] or [[]])[0]
            hits = [(key, 1.0 - float(distance)) for key, distance in zip(found["ids"][0], distances, strict=True)]
            if hits:
                yield hits
            if len(hits) < wanted:
                return
            wanted *= 4

    def check_dimension(self, vector: np.ndarray) -> None:
        """Refuse a vector of another length than the collection's."""
        made_with = (self._collection.metadata or {}).get("dimension") if self._collection else None
        if made_with not in (None, 0, len(vector)):
            raise ConfigError(
                f"the index of {self._namespace!r} holds vectors of {made_with} dimensions, {self._embedder.name} "
                f"gives {len(vector)}: {self._mend()}"
            )

    def _held(self) -> "ChromaCollection | None":
        """The collection if there is one, whoever made it."""
        from chromadb.errors import NotFoundError

        with suppress(NotFoundError):
            return self._collection or self._client.get_collection(self._name, embedding_function=None)
        return None

    def _open(self) -> "ChromaCollection":
        """The collection, made if there is none."""
        if self._collection is not None:
            return self._collection
        collection = self._held()
        if collection is None:
            collection = self._client.create_collection(
                self._name,
                embedding_function=None,
                configuration=cast("CreateCollectionConfiguration", {"hnsw": {"space": "cosine", **self._hnsw}}),
                metadata=self._metadata("", 0),
                get_or_create=True,
            )
        made_by = (collection.metadata or {}).get("embedding")
        if made_by != self._embedder.name:
            raise ConfigError(
                f"the index of {self._namespace!r} was built with the embedding {made_by!r}, this reader uses "
                f"{self._embedder.name!r}: {self._mend()}"
            )
        self._collection = collection
        return collection

    def _mend(self) -> str:
        return f"call memory.rebuild({self._namespace!r}), or use the embedding it was built with"

    def _follow(self, log: Log) -> None:
        """Bring the collection to the log's version: by looking, if another process has; else by comparing all."""
        collection, head = self._open(), log.head()
        if self._version == head.version:
            return
        if self._holds(head.version) and collection.count() == head.count:
            self._version = head.version
            return
        records = log.records()
        entries = collection.get(include=["metadatas"])
        metadatas = entries["metadatas"] or []
        held = {key: (found or {}).get("digest") for key, found in zip(entries["ids"], metadatas, strict=True)}
        _delete(collection, sorted(held.keys() - {str(record.key) for record in records}))
        self._upsert(collection, [record for record in records if held.get(str(record.key)) != _digest(record)])
        self._set_version(collection, head.version)

    def _holds(self, version: str) -> bool:
        """Whether the change that made `version` was applied: its last entry is stamped with it, or the metadata is."""
        collection = self._client.get_collection(self._name, embedding_function=None)
        if (collection.metadata or {}).get("version") == version:
            return True
        return bool(collection.get(where={"version": version}, limit=1, include=[])["ids"])

    def _upsert(
        self, collection: "ChromaCollection", records: Sequence[MemoryRecord], stamp: str | None = None
    ) -> None:
        for batch in _batches(records):
            vectors = self._embedder.documents([record.text for record in batch])
            self.check_dimension(vectors[0])
            if not (collection.metadata or {}).get("dimension"):
                collection.modify(metadata=self._metadata(self._version or "", len(vectors[0])))
            metadatas: list[Any] = [entry_metadata(record) for record in batch]
            if stamp and batch[-1] is records[-1]:
                metadatas[-1]["version"] = stamp
            collection.upsert(ids=[str(record.key) for record in batch], embeddings=vectors, metadatas=metadatas)

    def _set_version(self, collection: "ChromaCollection", version: str) -> None:
        collection.modify(metadata=self._metadata(version, (collection.metadata or {}).get("dimension", 0)))
        self._version = version

    def _metadata(self, version: str, dimension: int) -> dict[str, Any]:
        return {
            "namespace": json.dumps(self._namespace),
            "embedding": self._embedder.name,
            "dimension": dimension,
            "version": version,
        }


def entry_metadata(record: MemoryRecord) -> dict[str, Any]:
    """What the index keeps of a record beside its vector; texts and truth values of the metadata, for filters."""
    filterable = {f"meta.{name}": value for name, value in record.metadata.items() if isinstance(value, (str, bool))}
    return {"position": record.position, "kind": record.kind, "digest": _digest(record), **filterable}


def _digest(record: MemoryRecord) -> str:
    return hashlib.sha256(json.dumps(record.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:32]


def _delete(collection: "ChromaCollection", keys: Sequence[str]) -> None:
    for batch in _batches(keys):
        collection.delete(ids=list(batch))


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
