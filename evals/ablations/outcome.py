"""What an ablation found: figures by row and column, and what the paper found."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from evals.statistics import Estimate, clustered
from evals.tiny.measure import Result

Cells = Mapping[str, Mapping[str, Estimate | float]]
"""Figures by row, and in it by column; shares are between 0 and 1."""


class Outcome(NamedTuple):
    """The answer to one question.

    Args:
        cells: what was measured.
        rows: what the rows are.
        percent: whether the figures are shares.
        drawn: rows that are drawn, as lines over the columns, which are numbers then.
        remarks: how it compares with the paper, and what else has to be said.
    """

    name: str
    title: str
    rows: str
    cells: Cells
    percent: bool = True
    drawn: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Of all rows, in their order."""
        return list(dict.fromkeys(column for row in self.cells.values() for column in row))


def right(result: Result) -> float:
    """1 where the answer is right."""
    return float(result.is_right)


def share(results: Sequence[Result], value: Callable[[Result], float] = right) -> Estimate:
    """The mean, with the interval over households."""
    found = clustered((result.household, value(result)) for result in results)
    assert found is not None
    return found


def compared(
    claim: str, ours: Sequence[Result], theirs: Sequence[Result], *, value: Callable[[Result], float] = right
) -> str:
    """A claim that `ours` are better than `theirs`, and what the same questions say here."""
    pairs = list(zip(ours, theirs, strict=True))
    assert all(one.question == other.question for one, other in pairs)
    found = clustered((one.household, value(one) - value(other)) for one, other in pairs)
    assert found is not None
    points = f"{100 * found.mean:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    if math.isnan(found.low) or found.low <= 0 <= found.high:
        return f"{claim}. Here {points}: these {found.n} questions cannot tell."
    return f"{claim}. Here {'too' if found.mean > 0 else 'it is the other way round'}: {points}."
