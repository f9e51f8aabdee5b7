"""The state of one namespace: what a rule keeps, and which records it was made of. It holds no text, key or vector."""

from collections.abc import Sequence
from dataclasses import dataclass

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers._delta.codes import codes
from linmem_langgraph.readers._delta.keys import Array, centre, centred, on_grid, unit
from linmem_langgraph.readers._delta.listing import link
from linmem_langgraph.readers._delta.rules import Arrays, Rule
from linmem_langgraph.records import MemoryRecord

PORTION = 1_000

_HALF_WRITTEN = b"half written"
"""No digest: those are longer."""


@dataclass
class State:
    """What was written, in the order of the log.

    Args:
        rule: how it was written.
        arrays: what the rule keeps.
        total: the sum of all vectors.
        count: how many records.
        chain: their digest, as `Listing.chain` has it.
    """

    rule: Rule
    arrays: Arrays
    total: Array
    count: int = 0
    chain: bytes = b""

    def write(self, records: Sequence[MemoryRecord], vectors: Array) -> None:
        """Write records, the next in the log, whose vectors are rows of `on_grid`."""
        keys = centred(vectors, self.total, self.count) if self.rule.centred else vectors
        values = codes([str(record.key) for record in records], self.values)
        # What is broken off half way (no memory left, an interrupt) is of no log: nothing goes on from it.
        chain, self.chain = link(self.chain, records)[-1], _HALF_WRITTEN
        self.rule.write(self.arrays, self.count, keys, values)
        self.total += vectors.sum(axis=0)
        self.count += len(records)
        self.chain = chain

    def check(self, dimension: int) -> None:
        """Refuse vectors of another length.

        Raises:
            ConfigError: they are.
        """
        if dimension != len(self.total):
            raise ConfigError(
                f"a state was made of vectors of {len(self.total)} dimensions, the embedding gives {dimension}: call "
                "memory.rebuild, or use the embedding it was made with"
            )

    def query(self, vector: Array) -> Array:
        """The key to read with."""
        found = on_grid(vector)
        return unit(found - centre(self.total, self.count)) if self.rule.centred else found

    @property
    def values(self) -> int:
        """How many signs a value has."""
        return len(next(iter(self.arrays.values())))


def empty(rule: Rule, values: int, dimension: int) -> State:
    """The state of nothing written."""
    import numpy as np

    return State(rule, rule.start(values, dimension), np.zeros(dimension))


def marks(count: int, most: int) -> range:
    """After how many records a state of `count` leaves checkpoints: evenly spaced, and at most `most` of them."""
    stride = 256
    while count // stride > most:
        stride *= 2
    return range(stride, count + 1, stride)
