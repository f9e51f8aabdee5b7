"""From embeddings to the keys that records are written under.

A vector is brought to unit length and rounded to multiples of 2**-14. What is rounded so adds up without any error in
64-bit floats, so that sums over records are the same to the bit in whatever order and portions they were made.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers._embedder import Embedder
from linmem_langgraph.records import MemoryRecord

Array = np.ndarray

GRID = 2.0**14

_PRIOR = 8
"""The mean starts from zero, as if this many vectors without any direction had gone before."""

_KEPT = 4_096
_BATCH = 1_000


def unit(vectors: Array) -> Array:
    """Rows of length one; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0, 1.0, lengths)


def on_grid(vectors: Array) -> Array:
    """Unit rows of multiples of 2**-14."""
    return _rounded(np.array(vectors, dtype=np.float64))


def centre(total: Array, count: int) -> Array:
    """The mean of `count` vectors that add up to `total`, drawn a little to zero."""
    return total / (count + _PRIOR)


def centred(vectors: Array, total: Array, count: int) -> Array:
    """Unit keys: each vector less the mean of those before it.

    Only what went before enters, so that a key does not depend on what is written later.

    Args:
        vectors: consecutive rows of `on_grid`.
        total: the sum of the `count` vectors before them.
    """
    found = np.empty_like(vectors)
    found[:1] = total
    # Row by row: numpy's sums down the columns take five times as long.
    for before, vector, after in zip(found[:-1], vectors, found[1:], strict=False):
        np.add(before, vector, out=after)
    found /= -(np.arange(count, count + len(vectors)) + float(_PRIOR))[:, None]
    found += vectors
    return _rounded(found)


def _rounded(vectors: Array) -> Array:
    """`vectors` themselves, brought to unit length and onto the grid."""
    lengths = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None]
    vectors *= GRID / np.where(lengths == 0, 1.0, lengths)
    np.rint(vectors, out=vectors)
    vectors /= GRID
    return vectors


class Vectors:
    """Embeds records; the latest vectors of a namespace stay in memory, so that going back a little costs no model."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._kept: OrderedDict[str, tuple[bytes, Array]] = OrderedDict()

    def of(self, records: Sequence[MemoryRecord]) -> Array:
        """A row of `on_grid` for each of at least one record.

        Raises:
            ConfigError: they are not of one length.
        """
        digests = [blake2b(record.text.encode(), digest_size=16).digest() for record in records]
        named = list(zip(records, digests, strict=True))
        found = [self._kept.get(str(record.key), (b"", None)) for record in records]
        rows = [vector if had == digest else None for (had, vector), digest in zip(found, digests, strict=True)]
        missing = [place for place, row in enumerate(rows) if row is None]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            for place, row in zip(batch, self._embedded([records[at].text for at in batch]), strict=True):
                # A copy: a row of the batch would keep all of the batch alive.
                rows[place] = row.copy()
        lengths = sorted({len(row) for row in rows if row is not None})
        if len(lengths) > 1:
            raise ConfigError(
                f"the embedding gave vectors of {' and of '.join(map(str, lengths))} dimensions: call memory.rebuild, "
                "or use the embedding that it was before"
            )
        for (record, digest), row in zip(named, rows, strict=True):
            self._keep(str(record.key), digest, row)
        return np.stack([row for row in rows if row is not None])

    def forget(self, keys: Iterable[str]) -> None:
        """Drop the vectors of those keys."""
        for key in keys:
            self._kept.pop(key, None)

    def clear(self) -> None:
        """Drop all."""
        self._kept.clear()

    def _embedded(self, texts: list[str]) -> Array:
        return on_grid(np.stack(self._embedder.documents(texts)))

    def _keep(self, key: str, digest: bytes, row: Array | None) -> None:
        if row is not None:
            self._kept[key] = (digest, row)
            self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
