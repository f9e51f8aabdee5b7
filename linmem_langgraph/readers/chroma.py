"""Retrieval: the records nearest to the query in a Chroma index."""

from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from linmem_langgraph import transcript
from linmem_langgraph.errors import ConfigError, LinmemError, ReaderUnavailable
from linmem_langgraph.filters import conditions
from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._chroma_client import ClientSource, FolderClient, GivenClient
from linmem_langgraph.readers._chroma_index import ChromaIndex
from linmem_langgraph.readers._embedder import Embedder
from linmem_langgraph.readers.base import Query, Reader
from linmem_langgraph.records import MemoryRecord, Reading, ScoredRecord

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

T = TypeVar("T")

NOTHING = "Nothing in memory matches."
"""The text of an empty reading."""


class ChromaReader(Reader):
    """Answers with the records, or the positions, nearest to the query by cosine similarity.

    The index follows the log in the background and mends itself when it lags, was lost or was damaged. Filters, `until`
    and `exclude` hold exactly; the nearest-neighbour search itself is approximate (HNSW), as Chroma's is.

    Args:
        path: the folder of the embedded index; None = a temporary one.
        client: any Chroma client, such as `chromadb.HttpClient(...)`, instead of `path`.
        embeddings: a LangChain `Embeddings` or a Chroma embedding function; None = Chroma's default, MiniLM.
        by: "record" reads the nearest records; "position" all records of the positions whose best record is nearest.
        limit: how many records or positions a read returns when it does not say.
        neighbours: for by="position": this many positions before and after each, too.
        threshold: only what has at least this cosine similarity; None = no bound.
        hnsw: parameters of the index (`ef_search`, `ef_construction`, `max_neighbors`) over Chroma's own.

    Raises:
        ConfigError: an argument is invalid.
    """

    name: ClassVar[str] = "chroma"

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        client: "ClientAPI | None" = None,
        embeddings: Any = None,
        by: Literal["record", "position"] = "record",
        limit: int = 5,
        neighbours: int = 0,
        threshold: float | None = None,
        hnsw: dict[str, Any] | None = None,
    ) -> None:
        if path is not None and client is not None:
            raise ConfigError("give ChromaReader a path or a client, not both")
        if by not in ("record", "position"):
            raise ConfigError(f"by is {by!r}: choose 'record' or 'position'")
        if limit < 1 or neighbours < 0:
            raise ConfigError(f"limit is {limit} and neighbours {neighbours}: give at least 1 and 0")
        self._embedder = Embedder(embeddings)
        self._by, self._limit, self._neighbours, self._threshold = by, limit, neighbours, threshold
        self._hnsw = hnsw or {}
        self._temporary = TemporaryDirectory(prefix="linmem-") if path is None and client is None else None
        self._source: ClientSource = (
            GivenClient(client) if client is not None else FolderClient.open(Path(path or self._temporary.name))  # type: ignore[union-attr]
        )
        self._indexes: dict[Namespace, tuple[ClientAPI, ChromaIndex]] = {}
        self._lock = Lock()

    def read(self, log: Log, query: Query) -> Reading:
        """The nearest records, in log order; the best first in `records`."""
        return self._reaching(lambda: self._read(log, query), log)

    def update(self, log: Log, change: Change) -> None:
        """Index what was written."""
        self._reaching(lambda: self._index(log).update(log, change), log)

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Delete entries, or the namespace's collection."""
        return self._reaching(lambda: self._index(log).forget(log, keys, change), log)

    def rebuild(self, log: Log) -> None:
        """Embed everything anew."""

        def again() -> None:
            self._index(log).drop()
            self._index(log).current(log)

        self._reaching(again, log)

    def close(self) -> None:
        """Release the client, unless it was given."""
        self._source.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _read(self, log: Log, query: Query) -> Reading:
        index = self._index(log)
        if index.current(log) is None:
            return Reading(text=NOTHING, reader=self.name)
        scored, in_order = self._nearest(index, log, query)
        if self._by == "position":
            scored, in_order = self._widened(index, log, query, scored)
        return Reading(
            text=transcript.render(in_order).rstrip("\n") or NOTHING, records=tuple(scored), reader=self.name
        )

    def _nearest(self, index: ChromaIndex, log: Log, query: Query) -> tuple[list[ScoredRecord], list[MemoryRecord]]:
        """The best, first to last and in log order: `limit` records, or as many as it takes for `limit` positions."""
        vector = self._embedder.query(query.text)
        index.check_dimension(vector)
        limit, kept, found = query.limit or self._limit, list[ScoredRecord](), list[MemoryRecord]()
        for hits in index.query(vector, _where(query), limit if self._by == "record" else 4 * limit):
            found = log.get([key for key, _ in hits])
            admitted = {record.key: record for record in found if query.admits(record)}
            kept, groups = [], set[int | str | None]()
            for key, score in hits:
                if key in admitted and len(groups) < limit and (self._threshold is None or score >= self._threshold):
                    kept.append(ScoredRecord(record=admitted[key], score=score))
                    groups.add(key if self._by == "record" else admitted[key].position)
            if len(groups) == limit or (self._threshold is not None and hits[-1][1] < self._threshold):
                break
        keys = {hit.record.key for hit in kept}
        return kept, [record for record in found if record.key in keys]

    def _widened(
        self, index: ChromaIndex, log: Log, query: Query, nearest: list[ScoredRecord]
    ) -> tuple[list[ScoredRecord], list[MemoryRecord]]:
        """All records of the positions found, each with its position's score, then those of their neighbours."""
        scores: dict[int, float | None] = {}
        for hit in nearest:
            scores.setdefault(hit.record.position or 0, hit.score)
        reach = range(-self._neighbours, self._neighbours + 1)
        around = sorted({position + step for position in scores for step in reach} - scores.keys())
        ranks = {position: rank for rank, position in enumerate([*scores, *around])}
        if not ranks:
            return [], []
        records = [record for record in log.get(index.keys_at(list(ranks))) if query.admits(record)]
        ordered = sorted(records, key=lambda record: ranks[record.position or 0])
        return [ScoredRecord(record=record, score=scores.get(record.position or 0)) for record in ordered], records

    def _index(self, log: Log) -> ChromaIndex:
        client = self._source.client()
        with self._lock:
            held = self._indexes.get(log.namespace)
            if held is None or held[0] is not client:
                held = client, ChromaIndex(client, log.namespace, self._embedder, self._hnsw)
                self._indexes[log.namespace] = held
            return held[1]

    def _reaching(self, act: Callable[[], T], log: Log) -> T:
        """`act`, once more if the collection vanished under it; what Chroma raises becomes `ReaderUnavailable`."""
        import httpx
        from chromadb.errors import ChromaError, NotFoundError

        try:
            try:
                return act()
            except NotFoundError:
                with self._lock:
                    self._indexes.pop(log.namespace, None)
                return act()
        except LinmemError:
            raise
        except (ChromaError, httpx.HTTPError, OSError) as exc:
            raise ReaderUnavailable(
                f"Chroma at {self._source.place} does not answer ({type(exc).__name__}: {exc}). Start a server with: "
                "chroma run --host HOST --port PORT; an embedded folder is derived from the log and may be deleted"
            ) from exc


def _where(query: Query) -> dict[str, Any] | None:
    """What Chroma can decide of the query's bounds: never too strict; `Query.admits` decides exactly."""
    clauses: list[dict[str, Any]] = []
    if query.until is not None:
        clauses.append({"position": {"$lte": query.until}})
    if seen := sorted(item for item in query.exclude if isinstance(item, int)):
        clauses.append({"position": {"$nin": seen}})
    for name, operator, value in conditions(query.filter):
        if operator == "$eq" and name not in ("key", "position", "created_at") and isinstance(value, (str, bool)):
            clauses.append({name if name == "kind" else f"meta.{name}": {"$eq": value}})
    return {"$and": clauses} if len(clauses) > 1 else clauses[0] if clauses else None
