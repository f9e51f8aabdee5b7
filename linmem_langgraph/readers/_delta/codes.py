"""The values of the associative memory: pseudo-random codes of +1 and -1, made anew from a record's key when needed.

The codes of different keys are as good as independent, so that the products of two are small beside their length. What
they are not is orthogonal: of n codes of D signs each record hears the others at about sqrt(n / D) of their strength.
`Codes.decoder` undoes what can be undone of that. With the codes as rows of C, the scores s of all records enter a
read-out as y = C^T s; their best linear estimate is C (C^T C + e I)^-1 y, exact for e = 0 as long as n <= D.
"""

from collections.abc import Sequence
from hashlib import shake_256

import numpy as np

from linmem_langgraph.readers._delta.keys import Array

_DOMAIN = b"linmem-delta-1:"
_BLOCK = 4_096

_SIGNS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) * 2.0 - 1.0
"""The signs that each byte stands for."""

_NOISE = 0.1
"""The estimate's e, as a share of n."""

CROWDED = 8
"""Beyond this many records for each sign of a code, decoding gains less than 7% of signal over noise, and is left out;
and so many codes are better made at each read than kept."""


def codes(keys: Sequence[str], signs: int) -> Array:
    """A row of `signs` values +1 or -1 for each key: SHAKE-256 (FIPS 202) of the key."""
    drawn = b"".join(shake_256(_DOMAIN + key.encode()).digest(signs // 8) for key in keys)
    return np.take(_SIGNS, np.frombuffer(drawn, dtype=np.uint8), axis=0).reshape(len(keys), signs)


class Codes:
    """The codes of a namespace's records in log order, while there are not too many, and their Gram matrix.

    Args:
        signs: of each code.
    """

    def __init__(self, signs: int) -> None:
        self._signs = signs
        self._keys: list[str] = []
        self._rows = np.empty((0, signs))
        self._gram, self._in_gram = np.zeros((signs, signs)), 0

    def of(self, keys: list[str]) -> Array:
        """The codes of those keys, at most `CROWDED` for each sign; kept, so that a longer list costs what is new."""
        same = _common(self._keys, keys)
        if same < min(len(self._keys), len(keys)):
            self._keys = self._keys[:same]
            if self._in_gram > same:
                self._gram, self._in_gram = np.zeros_like(self._gram), 0
        if len(keys) > len(self._keys):
            self._extend(keys)
        return self._rows[: len(keys)]

    def scores(self, keys: list[str], read_out: Array) -> Array:
        """The product of each key's code with a read-out."""
        if len(keys) <= CROWDED * self._signs:
            return np.asarray(self.of(keys) @ read_out)
        blocks = (keys[start : start + _BLOCK] for start in range(0, len(keys), _BLOCK))
        return np.concatenate([codes(block, self._signs) @ read_out for block in blocks])

    def decoded(self, keys: list[str], state: Array) -> Array:
        """(C^T C + e I)^-1 `state`, by which a product with the codes gives every record's own score."""
        count = len(keys)
        if count > CROWDED * self._signs:
            return state / ((1 + _NOISE) * count)
        gram = self._gram_of(self.of(keys)) + _NOISE * count * np.eye(self._signs)
        return np.linalg.solve(gram, state)

    def _gram_of(self, rows: Array) -> Array:
        """C^T C, from the last one if that differs by fewer records than there are; whole numbers, hence exact."""
        count, had = len(rows), self._in_gram
        if abs(count - had) > count:
            self._gram, had = np.zeros_like(self._gram), 0
        between = self._rows[min(count, had) : max(count, had)]
        self._gram = self._gram + np.sign(count - had) * (between.T @ between)
        self._in_gram = count
        return self._gram

    def _extend(self, keys: list[str]) -> None:
        new = codes(keys[len(self._keys) :], self._signs)
        if len(keys) > len(self._rows):
            most = min(2 * len(self._keys), CROWDED * self._signs)
            room = np.empty((max(len(keys), most), self._signs))
            room[: len(self._keys)] = self._rows[: len(self._keys)]
            self._rows = room
        self._rows[len(self._keys) : len(keys)] = new
        self._keys = list(keys)


def _common(some: list[str], other: list[str]) -> int:
    """How many keys both lists begin with."""
    both = min(len(some), len(other))
    if some[:both] == other[:both]:
        return both
    return next(place for place in range(both) if some[place] != other[place])
