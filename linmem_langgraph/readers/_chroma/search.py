"""Asking a Chroma collection: the nearest entries, all of them if need be."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from linmem_langgraph.filters import conditions
from linmem_langgraph.readers._chroma.index import hashed
from linmem_langgraph.readers.base import Query
from linmem_langgraph.records import MAX_POSITION

if TYPE_CHECKING:
    from chromadb import Collection as ChromaCollection
    from chromadb.api.types import Where

Hits = list[tuple[str, float]]
"""Keys and cosine similarities, best first."""

_MOST_EXCLUDED = 200
"""More positions than this are left to `Query.admits`: SQLite bounds the parameters of a statement."""


def nearest(
    collection: "ChromaCollection", vector: np.ndarray, where: dict[str, Any] | None, first: int
) -> Iterator[Hits]:
    """The `first` best, then four times as many, and so on, until there are no more."""
    wanted = first
    while True:
        found = collection.query(
            query_embeddings=[vector], n_results=wanted, where=cast("Where", where), include=["distances"]
        )
        distances = (found["distances"] or [[]])[0]
        hits = [(key, _score(1.0 - distance)) for key, distance in zip(found["ids"][0], distances, strict=True)]
        if len(hits) < wanted:
            # Either there are no more, or the graph does not lead to all of them, as among many equal vectors.
            keys = collection.get(where=cast("Where", where), include=[])["ids"]
            complete = hits if len(keys) <= len(hits) else _all(collection, vector, where)
            if complete:
                yield complete
            return
        yield hits
        wanted *= 4


def keys_at(collection: "ChromaCollection", positions: Sequence[int]) -> list[str]:
    """The keys of all entries at those positions."""
    found = collection.get(where=cast("Where", {"position": {"$in": list(positions)}}), include=[])
    return list(found["ids"])


def where_of(query: Query) -> dict[str, Any] | None:
    """What Chroma can decide of the query's bounds: never too strict; `Query.admits` decides exactly."""
    clauses: list[dict[str, Any]] = []
    if query.until is not None and query.until < MAX_POSITION:
        clauses.append({"position": {"$lte": max(query.until, -1)}})
    seen = sorted(item for item in query.exclude if isinstance(item, int) and 0 <= item <= MAX_POSITION)
    if 0 < len(seen) <= _MOST_EXCLUDED:
        clauses.append({"position": {"$nin": seen}})
    for name, operator, value in conditions(query.filter):
        if name == "position" and type(value) is int and abs(value) <= MAX_POSITION:
            clauses.append({"position": {operator: value}})
        elif operator == "$eq" and name not in ("key", "position", "created_at") and isinstance(value, (str, bool)):
            place, wanted = (name, value) if name == "kind" else hashed(name, value)
            clauses.append({place: {"$eq": wanted}})
    return {"$and": clauses} if len(clauses) > 1 else clauses[0] if clauses else None


def _all(collection: "ChromaCollection", vector: np.ndarray, where: dict[str, Any] | None) -> Hits:
    entries = collection.get(where=cast("Where", where), include=["embeddings"])
    vectors = np.asarray(entries["embeddings"], dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
    scores = vectors @ vector / np.where(lengths == 0.0, 1.0, lengths)
    order = np.argsort(-scores, kind="stable")
    return [(entries["ids"][place], _score(scores[place])) for place in order]


def _score(similarity: float) -> float:
    """Without the last digits, which depend on who computed it: what is equal in truth must be a tie."""
    return round(float(similarity), 5)
