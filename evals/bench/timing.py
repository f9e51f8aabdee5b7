"""Timing two sides against each other."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Ratio(NamedTuple):
    """Medians in seconds, and the median of the ratios of neighbouring runs, with their quartiles."""

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def compare(
    ours: Callable[[int], object],
    theirs: Callable[[int], object],
    repeats: int,
    after: Callable[[], object] = lambda: None,
    before: Callable[[int], object] = lambda run: None,
) -> Ratio:
    """Run both in turn, `repeats` times each, after one of each that is not counted; who goes first alternates.

    Each is called with the number of its run; `before` goes before each pair of them and `after` follows each, untimed.
    """
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    sides = [("ours", ours), ("theirs", theirs)]
    for run in range(repeats + 1):
        before(run)
        for name, act in sides if run % 2 else sides[::-1]:
            started = time.perf_counter()
            act(run)
            times[name].append(time.perf_counter() - started)
            after()
    counted = {name: found[1:] for name, found in times.items()}
    ratios = [mine / other for mine, other in zip(counted["ours"], counted["theirs"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if repeats > 1 else ratios * 3
    return Ratio(statistics.median(counted["ours"]), statistics.median(counted["theirs"]), middle, low, high)
