"""The delta reader's core against numpy's bare matrix products of the same shapes.

Ours is what a write and a read do once the vectors are there: bringing them onto the grid, drawing codes, the records'
digests, the rule; and for a read, the key, the read-out, the scores. Theirs are the products alone, of numbers that are
already there. Both sides use 64-bit numbers, in one process.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from evals.bench.timing import Ratio, compare
from linmem_langgraph.readers._delta.codes import Codes, codes
from linmem_langgraph.readers._delta.delta_rules import CHUNK
from linmem_langgraph.readers._delta.keys import Array, on_grid
from linmem_langgraph.readers._delta.state import PORTION, State, empty
from linmem_langgraph.readers.delta import named_rule
from linmem_langgraph.records import MemoryRecord

DIMENSION, VALUES = 384, 1024

Products = Callable[[Array, Array], None]


class Timed(NamedTuple):
    """A ratio, of what, and how many times that was measured."""

    rule: str
    what: str
    ratio: Ratio
    repeats: int
    most: float


class Side:
    """Vectors and records to write, and a state to write them to."""

    def __init__(self, rule: str, count: int) -> None:
        rng = np.random.default_rng(0)
        self.vectors = rng.normal(size=(count, DIMENSION))
        self.records = [MemoryRecord.model_construct(text=f"note {number}", key=str(number)) for number in range(count)]
        self.keys, self.values = on_grid(self.vectors), codes([str(number) for number in range(count)], VALUES)
        self.state: State = empty(named_rule(rule, {}), VALUES, DIMENSION)
        self.products = _sums() if rule == "least_squares" else _delta()
        # So small that a memory that is fed its own answers does not overflow.
        self.small = 1e-2 * self.keys

    def write(self, first: int, last: int) -> None:
        """Ours."""
        for start in range(first, last, PORTION):
            part = slice(start, min(start + PORTION, last))
            self.state.write(self.records[part], on_grid(self.vectors[part]))

    def multiply(self, first: int, last: int) -> None:
        """Theirs, in the same chunks."""
        step = PORTION if self.state.rule.name == "least_squares" else CHUNK
        for start in range(first, last, step):
            part = slice(start, min(start + step, last))
            self.products(self.small[part], self.values[part])


def writes(rule: str, size: int, repeats: int) -> Ratio:
    """Writing `size` records at once."""
    side = Side(rule, size)
    return compare(lambda run: side.write(0, size), lambda run: side.multiply(0, size), repeats)


def reads(rule: str, records: int, repeats: int) -> Ratio:
    """The scores of all records for a query, from a state that has been read before."""
    side, memory = Side(rule, records), Codes(VALUES)
    side.write(0, records)
    keys = [str(record.key) for record in side.records]
    decoded = memory.decoded(keys, side.state.rule.memory(side.state.arrays))
    rows = memory.of(keys).copy()
    queries = side.keys
    return compare(
        lambda run: memory.scores(keys, decoded @ side.state.query(side.vectors[run % records])),
        lambda run: rows @ (decoded @ queries[run % records]),
        repeats,
    )


def measure(repeats: int, many: int = 100_000, records: int = 2_080) -> list[Timed]:
    """The ratios; `many` records are written a tenth as often, but at least three times."""
    found = []
    for rule in ("least_squares", "delta"):
        for size in (1, CHUNK, PORTION):
            ratio = writes(rule, min(size, many), repeats)
            found.append(Timed(rule, f"write {size:,}", ratio, repeats, 1.3))
        found.append(Timed(rule, f"read of {records:,}", reads(rule, records, repeats), repeats, 1.3))
        fewer = max(3, repeats // 10)
        found.append(Timed(rule, f"write {many:,}", writes(rule, many, fewer), fewer, 1.5))
    return found


def _sums() -> Products:
    sums, gram = np.zeros((VALUES, DIMENSION)), np.zeros((DIMENSION, DIMENSION))

    def products(keys: Array, values: Array) -> None:
        nonlocal sums, gram
        sums += values.T @ keys
        gram += keys.T @ keys

    return products


def _delta() -> Products:
    memory = np.zeros((VALUES, DIMENSION))

    def products(keys: Array, values: Array) -> None:
        nonlocal memory
        errors = keys @ memory.T
        np.subtract(values, errors, out=errors)
        memory += errors.T @ keys

    return products
