"""The Chroma index of one namespace: vectors, positions and what filters need; the texts stay in the log.

The collection's metadata says which embedding made it, and it or the entry written last says which version of the log
it holds. An entry carries a digest of its record, so that a difference to the log, whatever its cause, is found and
mended by comparing digests.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._chroma.client import ClientSource
from linmem_langgraph.readers._embedder import Embedder
from linmem_langgraph.records import MemoryRecord

if TYPE_CHECKING:
    from chromadb import Collection as ChromaCollection
    from chromadb.api import ClientAPI
    from chromadb.api.collection_configuration import CreateCollectionConfiguration

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

    def __init__(self, source: ClientSource, namespace: Namespace, embedder: Embedder, hnsw: dict[str, Any]) -> None:
        self._source = source
        self._client: ClientAPI | None = None
        self._namespace = namespace
        self._name = collection_name(namespace)
        self._embedder = embedder
        self._hnsw = hnsw
        self._collection: ChromaCollection | None = None
        self._version: str | None = None
        self._lock = RLock()

    def is_outdated(self) -> bool:
        """Whether its client was replaced since it was last used."""
        return self._client is not self._source.client()

    def current(self, log: Log) -> "ChromaCollection | None":
        """The collection, brought up to date with the log; None for an empty log."""
        version, collection = log.head().version, self._collection
        if not version:
            return None
        if collection is not None and self._version == version and not self.is_outdated():
            return collection
        with self._alone():
            return self._follow(log)

    def update(self, log: Log, change: Change) -> None:
        """Apply a change; if the collection is not at its base, compare with the whole log instead."""
        with self._alone():
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
            if log.head().version != change.version:
                # Somebody else may have forgotten one meanwhile, and cleaned the index before it came in.
                kept = {record.key for record in log.get([str(record.key) for record in written])}
                _delete(collection, [str(record.key) for record in written if record.key not in kept])
            if written:
                self._version = change.version
            else:
                self._set_version(collection, change.version)

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Remove entries; how many there were."""
        with self._alone():
            collection = self._held()
            if collection is None:
                return 0
            if keys is None:
                count = int(collection.count())
                self._drop()
                return count
            held = [
                key for batch in _batches(sorted(keys)) for key in collection.get(ids=list(batch), include=[])["ids"]
            ]
            _delete(collection, held)
            if self._version == change.base:
                self._set_version(collection, change.version)
            return len(held)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """While this is held, nobody else changes the collection; what is known of it is looked up anew."""
        with self._alone():
            self._collection = self._version = None
            yield

    def rebuild(self, log: Log) -> None:
        """Make the collection anew."""
        with self._alone():
            self._drop()
            self.current(log)

    def _drop(self) -> None:
        from chromadb.errors import NotFoundError

        with suppress(NotFoundError):
            self._source.client().delete_collection(self._name)
        self._collection = self._version = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock, self._source.changing():
            yield

    def check_dimension(self, collection: "ChromaCollection", vector: np.ndarray) -> None:
        """Refuse a vector of another length than the collection's."""
        made_with = (collection.metadata or {}).get("dimension")
        if made_with not in (None, 0, len(vector)):
            raise ConfigError(
                f"the index of {self._namespace!r} holds vectors of {made_with} dimensions, {self._embedder.name} "
                f"gives {len(vector)}: {self._mend()}"
            )

    def _held(self) -> "ChromaCollection | None":
        """The collection if there is one, whoever made it."""
        from chromadb.errors import NotFoundError

        client = self._source.client()
        if client is not self._client:
            self._client, self._collection, self._version = client, None, None
        with suppress(NotFoundError):
            return self._collection or client.get_collection(self._name, embedding_function=None)
        return None

    def _open(self) -> "ChromaCollection":
        """The collection, made if there is none."""
        collection = self._held()
        if collection is not None and collection is self._collection:
            return collection
        if collection is None:
            collection = self._source.client().create_collection(
                self._name,
                embedding_function=None,
                configuration=cast("CreateCollectionConfiguration", {"hnsw": {**self._hnsw, "space": "cosine"}}),
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

    def _follow(self, log: Log) -> "ChromaCollection":
        """Bring the collection to the log's version: by looking, if another process has; else by comparing all."""
        collection, head = self._open(), log.head()
        if self._version == head.version:
            return collection
        if self._holds(head.version) and collection.count() == head.count:
            self._version = head.version
            return collection
        records = log.records()
        entries = collection.get(include=["metadatas"])
        metadatas = entries["metadatas"] or []
        held = {key: (found or {}).get("digest") for key, found in zip(entries["ids"], metadatas, strict=True)}
        _delete(collection, sorted(held.keys() - {str(record.key) for record in records}))
        self._upsert(collection, [record for record in records if held.get(str(record.key)) != _digest(record)])
        self._set_version(collection, head.version)
        return collection

    def _holds(self, version: str) -> bool:
        """Whether the change that made `version` was applied: its last entry is stamped with it, or the metadata is."""
        collection = self._source.client().get_collection(self._name, embedding_function=None)
        if (collection.metadata or {}).get("version") == version:
            return True
        return bool(collection.get(where={"version": version}, limit=1, include=[])["ids"])

    def _upsert(
        self, collection: "ChromaCollection", records: Sequence[MemoryRecord], stamp: str | None = None
    ) -> None:
        for batch in _batches(records):
            vectors = self._embedder.documents([record.text for record in batch])
            self.check_dimension(collection, vectors[0])
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
            "embedding": self._embedder.name,
            "dimension": dimension,
            "version": version,
        }


def entry_metadata(record: MemoryRecord) -> dict[str, Any]:
    """What the index keeps of a record beside its vector: its position, kind, digest, and its metadata's texts and
    truth values as hashes, so that filters on them are fast and nothing readable is left behind by a `forget`."""
    filterable = [hashed(name, value) for name, value in record.metadata.items() if isinstance(value, (str, bool))]
    return {"position": record.position, "kind": record.kind, "digest": _digest(record), **dict(filterable)}


def hashed(name: str, value: str | bool) -> tuple[str, str]:
    """The name and value under which the index keeps an entry of a record's metadata."""
    digests = [hashlib.sha256(json.dumps(part).encode()).hexdigest()[:16] for part in (name, [name, value])]
    return f"meta.{digests[0]}", digests[1]


def _digest(record: MemoryRecord) -> str:
    return hashlib.sha256(json.dumps(record.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:32]


def _delete(collection: "ChromaCollection", keys: Sequence[str]) -> None:
    for batch in _batches(keys):
        collection.delete(ids=list(batch))


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
