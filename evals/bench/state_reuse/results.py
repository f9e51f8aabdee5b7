"""What a scenario found: rows of ours against theirs, each with its target, as tables and as data."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.table import Table

from evals.bench.timing import Ratio

Series = dict[str, list[tuple[float, float]]]
"""Points to draw, by what they are of."""


class Target(BaseModel):
    """A bound that a figure keeps, or does not."""

    model_config = ConfigDict(frozen=True)

    least: float | None = None
    most: float | None = None

    def met(self, figure: float) -> bool:
        """Whether `figure` is within the bound; not a number is not."""
        return (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)

    def __str__(self) -> str:
        bounds = [f"{word} {bound:g}" for word, bound in (("≥", self.least), ("≤", self.most)) if bound is not None]
        return " and ".join(bounds)


class Row(BaseModel):
    """One comparison. A target is for the ratio, or for `ours` where there is no ratio.

    `low` and `high` are the quartiles of the ratio; `n` is how many figures on each side the medians are of.
    """

    model_config = ConfigDict(frozen=True)

    what: str
    unit: str = ""
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 1
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return self.target.met(self.ours if self.ratio is None else self.ratio) if self.target else None

    @classmethod
    def faster(cls, what: str, timed: Ratio, n: int, target: Target | None = None) -> Self:
        """Times of both in milliseconds, and how many times faster ours is."""
        times = {"ours": 1e3 * timed.ours, "theirs": 1e3 * timed.theirs}
        quartiles = {"ratio": 1 / timed.ratio, "low": 1 / timed.high, "high": 1 / timed.low}
        return cls(what=what, unit="ms", n=n, target=target, **times, **quartiles)

    @classmethod
    def slower(cls, what: str, timed: Ratio, n: int, target: Target | None = None) -> Self:
        """Times of both in milliseconds, and how many times slower ours is."""
        times = {"ours": 1e3 * timed.ours, "theirs": 1e3 * timed.theirs}
        quartiles = {"ratio": timed.ratio, "low": timed.low, "high": timed.high}
        return cls(what=what, unit="ms", n=n, target=target, **times, **quartiles)


class Outcome(BaseModel):
    """What one scenario found.

    Args:
        ours, theirs, ratio: what these columns hold.
        notes: what a reader of the table should know besides.
        series: what is drawn of it.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    ours: str
    theirs: str
    ratio: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    series: Series = {}
    seconds: float = 0.0

    def table(self) -> Table:
        """The rows, for a terminal."""
        table = Table(title=self.title, caption="\n".join(self.notes), caption_justify="left", title_justify="left")
        names = ("what", "n", self.ours, self.theirs, self.ratio, "quartiles", "target", "met")
        columns = list(zip(*map(cells, self.rows), strict=True))
        filled = [(name, column) for name, column in zip(names, columns, strict=True) if any(column)]
        for name, _ in filled:
            table.add_column(name, justify="left" if name == "what" else "right")
        for row in zip(*(column for _, column in filled), strict=True):
            table.add_row(*row)
        return table

    def dump(self) -> dict[str, object]:
        """For a JSON file; each row says whether its target is met."""
        rows = [{**row.model_dump(mode="json", exclude_none=True), "met": row.met} for row in self.rows]
        return {**self.model_dump(mode="json"), "rows": rows}


def cells(row: Row) -> tuple[str, ...]:
    """A row's figures as text."""
    met = {None: "", True: "yes", False: "NO"}[row.met]
    quartiles = "" if row.low is None else f"{figure(row.low)} to {figure(row.high)}"
    target = str(row.target) if row.target else ""
    values = (figure(row.ours, row.unit), figure(row.theirs, row.unit), figure(row.ratio))
    return (row.what, f"{row.n:,}", *values, quartiles, target, met)


def figure(value: float | None, unit: str = "") -> str:
    """Three digits that matter, two below one; whole from a hundred on."""
    if value is None:
        return ""
    size = abs(value)
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 0.1 else 4
    return f"{value:,.{digits}f}{unit and ' '}{unit}"


def median(values: Sequence[float]) -> float:
    """Not a number without values."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies, interpolated; not a number without values."""
    return float(np.quantile(values, share)) if values else float("nan")
