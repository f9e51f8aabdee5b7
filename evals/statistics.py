"""Figures that can be trusted: means with intervals clustered by memory, retrieval measures with chance beside."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from pydantic import BaseModel, ConfigDict

RESAMPLES = 2_000


class Estimate(BaseModel):
    """A mean over `n` questions with a 95% confidence interval from a bootstrap over memories."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "-"
        interval = "" if math.isnan(self.low) else f" [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{100 * self.mean:.1f}{interval}"


def clustered(values: Iterable[tuple[str, float]], seed: int = 0) -> Estimate | None:
    """The mean of (cluster, value) pairs; None without any.

    Questions about one memory are not independent: the percentile bootstrap draws whole memories, not questions
    (Davison and Hinkley, Bootstrap Methods, 1997, section 3.8). With a single cluster the interval is nan.
    """
    clusters: dict[str, list[float]] = defaultdict(list)
    for cluster, value in values:
        clusters[cluster].append(value)
    if not clusters:
        return None
    # In one order, whatever order the rows came in: the same run has the same interval.
    groups = [clusters[cluster] for cluster in sorted(clusters)]
    sums = np.array([math.fsum(group) for group in groups])
    counts = np.array([len(group) for group in groups])
    mean, n = float(sums.sum() / counts.sum()), int(counts.sum())
    if len(clusters) == 1:
        return Estimate(mean=mean, low=math.nan, high=math.nan, n=n)
    draws = np.random.default_rng(seed).integers(0, len(sums), size=(RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(mean=mean, low=float(low), high=float(high), n=n)


def mcnemar(first: int, second: int) -> float:
    """The two-sided p-value that two systems err alike, from the questions that only one of them has right.

    Exact: of those, each system would have half by chance (McNemar, Psychometrika 12, 1947). It takes questions for
    independent, as the interval over memories does not.
    """
    tosses, fewer = first + second, min(first, second)
    tail = sum(math.comb(tosses, k) for k in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**tosses))


def kappa(pairs: Sequence[tuple[float, float]]) -> float | None:
    """How far two judges agree beyond chance: 1 = always, 0 = as if by chance (Cohen, 1960). Labels are 0 or 1.

    None where chance alone would have them agree always, or there are no pairs.
    """
    if not pairs:
        return None
    one, other = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    chance = one * other + (1 - one) * (1 - other)
    agreed = sum(first == second for first, second in pairs) / len(pairs)
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def detectable(difference: Estimate) -> float:
    """The smallest true difference that such questions would show in 4 of 5 runs, at 95% confidence.

    2.8 standard errors (1.96 + 0.84), the error taken from the width of the interval.
    """
    return 2.8 * (difference.high - difference.low) / (2 * 1.96)


def hit(ranking: Sequence[int], gold: Sequence[int], k: int) -> float:
    """1 if any gold position is among the first `k`, else 0."""
    return float(bool(set(ranking[:k]) & set(gold)))


def near_hit(ranking: Sequence[int], gold: Sequence[int], k: int) -> float:
    """1 if any of the first `k` is a gold position or next to one, else 0."""
    return hit(ranking, [position + step for position in gold for step in (-1, 0, 1)], k)


def recall(ranking: Sequence[int], gold: Sequence[int], k: int) -> float:
    """The share of the gold positions among the first `k`."""
    return len(set(ranking[:k]) & set(gold)) / len(set(gold))


def reciprocal_rank(ranking: Sequence[int], gold: Sequence[int]) -> float:
    """1 / rank of the first gold position; 0 if it is not in the ranking."""
    return next((1 / rank for rank, position in enumerate(ranking, start=1) if position in set(gold)), 0.0)


def chance_hit(candidates: int, gold: int, k: int) -> float:
    """The expected `hit` of a random ranking of `candidates` positions, `gold` of them right."""
    wrong = max(candidates - gold, 0)
    return 1 - math.comb(wrong, k) / math.comb(candidates, k) if k <= candidates else float(gold > 0)


def chance_recall(candidates: int, k: int) -> float:
    """The expected `recall` of a random ranking."""
    return min(1.0, k / candidates) if candidates else 0.0


def chance_reciprocal_rank(candidates: int, gold: int, depth: int) -> float:
    """The expected `reciprocal_rank` of a random ranking cut off at `depth`."""
    hits = [chance_hit(candidates, gold, k) for k in range(min(depth, candidates) + 1)]
    return sum((now - before) / rank for rank, (before, now) in enumerate(pairwise(hits), start=1))
