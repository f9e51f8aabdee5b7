"""Retrieval: the records nearest to the query in a Chroma index."""

import math
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from linmem_langgraph import transcript
from linmem_langgraph.errors import ConfigError, LinmemError, ReaderUnavailable
from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._chroma.client import ClientSource, FolderClient, GivenClient
from linmem_langgraph.readers._chroma.index import ChromaIndex
from linmem_langgraph.readers._chroma.search import keys_at, nearest, where_of
from linmem_langgraph.readers._embedder import Embedder
from linmem_langgraph.readers.base import NOTHING, Query, Reader
from linmem_langgraph.records import MemoryRecord, Reading, ScoredRecord

if TYPE_CHECKING:
    from chromadb import Collection as ChromaCollection
    from chromadb.api import ClientAPI

T = TypeVar("T")

By = Literal["record", "position"]

_HNSW = ("ef_search", "ef_construction", "max_neighbors")


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
        hnsw: parameters of the index (`ef_search`, `ef_construction`, `max_neighbors`) over Chroma's own, for
            collections made from now on.

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
        by: By = "record",
        limit: int = 5,
        neighbours: int = 0,
        threshold: float | None = None,
        hnsw: dict[str, Any] | None = None,
    ) -> None:
        if path is not None and client is not None:
            raise ConfigError("give ChromaReader a path or a client, not both")
        if by not in ("record", "position"):
            raise ConfigError(f"by is {by!r}: choose 'record' or 'position'")
        if not isinstance(limit, int) or not isinstance(neighbours, int) or limit < 1 or neighbours < 0:
            raise ConfigError(f"limit is {limit!r} and neighbours {neighbours!r}: give integers of at least 1 and 0")
        if not isinstance(threshold, float | int | None):
            raise ConfigError(f"threshold is {threshold!r}: give a cosine similarity, such as 0.5, or None")
        if not isinstance(hnsw, dict | None):
            raise ConfigError(f"hnsw is {hnsw!r}: give parameters by name, such as {{'ef_search': 200}}")
        for name, value in (hnsw or {}).items():
            if name not in _HNSW or not isinstance(value, int) or value < 1:
                raise ConfigError(f"hnsw has {name!r}: {value!r}; give positive integers for {', '.join(_HNSW)}")
        self._embedder = Embedder(embeddings)
        self._by, self._limit, self._neighbours, self._threshold = by, limit, neighbours, threshold
        self._hnsw = hnsw or {}
        self._temporary = TemporaryDirectory(prefix="linmem-") if path is None and client is None else None
        self._source: ClientSource = (
            GivenClient(client) if client is not None else FolderClient.open(Path(path or self._temporary.name))  # type: ignore[union-attr]
        )
        self._indexes: dict[Namespace, ChromaIndex] = {}
        self._lock = Lock()
        self._closed = False

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
        self._reaching(lambda: self._index(log).rebuild(log), log)

    def close(self) -> None:
        """Release the client, unless it was given."""
        if not self._closed:
            self._closed = True
            self._source.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def nearest(
        self, log: Log, query: Query, *, by: By | None = None, threshold: float | None = None
    ) -> list[ScoredRecord]:
        """The records nearest to the query, the best first; of equal ones the earlier in the log.

        Args:
            by: "record" gives `limit` of them; "position" as many as it takes for `limit` positions; None = as the
                reader reads.
            threshold: only those with at least this cosine similarity; None = no bound.
        """
        return self._reaching(lambda: self._nearest(log, query, by or self._by, threshold)[0], log)

    def _read(self, log: Log, query: Query) -> Reading:
        scored, in_order, collection = self._nearest(log, query, self._by, self._threshold)
        if collection is not None and self._by == "position":
            scored, in_order = self._widened(collection, log, query, scored)
        return Reading(
            text=transcript.render(in_order).rstrip("\n") or NOTHING, records=tuple(scored), reader=self.name
        )

    def _nearest(
        self, log: Log, query: Query, by: By, threshold: float | None
    ) -> tuple[list[ScoredRecord], list[MemoryRecord], "ChromaCollection | None"]:
        """The best, first to last and in log order: `limit` records, or as many as it takes for `limit` positions."""
        index = self._index(log)
        collection = index.current(log)
        if collection is None:
            return [], [], None
        vector = self._embedder.query(query.text)
        index.check_dimension(collection, vector)
        limit, kept, found = query.limit or self._limit, list[ScoredRecord](), list[MemoryRecord]()
        least = -math.inf if threshold is None else threshold
        # One more than needed: whoever ties with the last one kept must be seen, or the index would choose among them.
        for hits in nearest(collection, vector, where_of(query), 1 + (limit if by == "record" else 4 * limit)):
            found = log.get([key for key, _ in hits])
            scores = dict(hits)
            admitted = [record for record in found if query.admits(record) and scores[str(record.key)] >= least]
            kept, full = _best(admitted, scores, limit, by)
            worst = kept[-1].score if kept else None
            if hits[-1][1] < least or (full and worst is not None and worst > hits[-1][1]):
                break
        keys = {hit.record.key for hit in kept}
        return kept, [record for record in found if record.key in keys], collection

    def _widened(
        self, collection: "ChromaCollection", log: Log, query: Query, best: list[ScoredRecord]
    ) -> tuple[list[ScoredRecord], list[MemoryRecord]]:
        """All records of the positions found, each with its position's score, then those of their neighbours."""
        scores: dict[int, float | None] = {}
        for hit in best:
            scores.setdefault(hit.record.position or 0, hit.score)
        reach = range(-self._neighbours, self._neighbours + 1)
        around = sorted({position + step for position in scores for step in reach} - scores.keys())
        ranks = {position: rank for rank, position in enumerate([*scores, *around])}
        if not ranks:
            return [], []
        records = [record for record in log.get(keys_at(collection, list(ranks))) if query.admits(record)]
        ordered = sorted(records, key=lambda record: ranks[record.position or 0])
        return [ScoredRecord(record=record, score=scores.get(record.position or 0)) for record in ordered], records

    def _index(self, log: Log) -> ChromaIndex:
        if self._closed:
            raise ConfigError("this ChromaReader is closed: make another")
        with self._lock:
            if log.namespace not in self._indexes:
                self._indexes[log.namespace] = ChromaIndex(self._source, log.namespace, self._embedder, self._hnsw)
            return self._indexes[log.namespace]

    def _reaching(self, act: Callable[[], T], log: Log) -> T:
        """`act`; once more, alone, if its collection or client was replaced meanwhile.

        What Chroma raises becomes `ReaderUnavailable`.
        """
        try:
            return act()
        except LinmemError:
            raise
        except Exception as exc:
            if not self._was_replaced(log, exc):
                raise self._unavailable(exc) from exc
        try:
            with self._index(log).exclusively():
                return act()
        except LinmemError:
            raise
        except Exception as exc:
            raise self._unavailable(exc) from exc

    def _was_replaced(self, log: Log, exc: Exception) -> bool:
        from chromadb.errors import InternalError, NotFoundError

        # A client that was closed, or whose files another process is changing, raises an internal error.
        return isinstance(exc, (NotFoundError, InternalError)) or self._index(log).is_outdated()

    def _unavailable(self, exc: Exception) -> ReaderUnavailable:
        # Chroma's clients raise whatever they meet: their own errors, httpx's, JSON's, a bare Exception.
        return ReaderUnavailable(
            f"Chroma at {self._source.place} does not answer ({type(exc).__name__}: {exc}). Start a server with: "
            "chroma run --host HOST --port PORT; an embedded folder is derived from the log and may be deleted"
        )


def _best(records: list[MemoryRecord], scores: dict[str, float], limit: int, by: By) -> tuple[list[ScoredRecord], bool]:
    """Best first, of equal ones the earlier, until there are `limit` records or positions; whether there are."""
    kept, groups = list[ScoredRecord](), set[int | str | None]()
    for record in sorted(records, key=lambda record: -scores[str(record.key)]):
        # The log's records are valid; validating them again would cost as much as finding them.
        kept.append(ScoredRecord.model_construct(record=record, score=scores[str(record.key)]))
        groups.add(record.key if by == "record" else record.position)
        if len(groups) == limit:
            return kept, True
    return kept, False
