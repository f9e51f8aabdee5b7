"""Figures against closed forms, brute force and simulation."""

import math
from collections.abc import Callable, Sequence
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.statistics import (
    Estimate,
    chance_hit,
    chance_recall,
    chance_reciprocal_rank,
    clustered,
    hit,
    near_hit,
    recall,
    reciprocal_rank,
)

Clusters = dict[str, list[float]]


def estimate(clusters: Clusters, seed: int = 0) -> Estimate:
    found = clustered(((name, value) for name, values in clusters.items() for value in values), seed)
    assert found is not None
    return found


def test_the_mean_is_over_questions_not_over_memories() -> None:
    found = estimate({"a": [1, 1, 1, 0], "b": [0]})

    assert (found.mean, found.n) == (0.6, 5)


def test_nothing_has_no_mean() -> None:
    assert clustered([]) is None


def test_one_memory_has_no_interval() -> None:
    found = estimate({"a": [1, 0, 1]})

    assert found.mean == pytest.approx(2 / 3)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_memories_that_agree_leave_no_doubt() -> None:
    found = estimate({name: [1, 0] for name in "abcd"})

    assert (found.low, found.mean, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    "clusters",
    [
        {"a": [0], "b": [1]},
        {"a": [0, 0], "b": [1, 1, 1], "c": [1, 0]},
        {"a": [1], "b": [0, 0, 0], "c": [1, 1, 0, 1], "d": [0, 1], "e": [1, 1, 1]},
        {"a": [1], "b": [1], "c": [1], "d": [0] * 9, "e": [0] * 9, "f": [0] * 9},
    ],
    ids=["two", "three", "five", "of unequal size"],
)
def test_the_interval_is_that_of_every_possible_draw(clusters: Clusters) -> None:
    draws = [
        sum(sum(clusters[name]) for name in draw) / sum(len(clusters[name]) for name in draw)
        for draw in product(clusters, repeat=len(clusters))
    ]
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")

    found = estimate(clusters)

    assert found.low == pytest.approx(low, abs=0.04)
    assert found.high == pytest.approx(high, abs=0.04)


def test_with_many_memories_it_is_the_normal_interval() -> None:
    rng = np.random.default_rng(1)
    shares = rng.random(300)
    clusters = {str(number): [float(share)] * 5 for number, share in enumerate(shares)}
    half = 1.96 * shares.std() / math.sqrt(len(shares))

    found = estimate(clusters)

    assert found.low == pytest.approx(shares.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(shares.mean() + half, abs=0.15 * half)


def test_questions_that_go_together_make_the_interval_wider() -> None:
    rng = np.random.default_rng(2)
    clusters = {str(number): [float(right)] * 16 for number, right in enumerate(rng.random(25) < 0.4)}
    naive = {f"{name}_{place}": [value] for name, values in clusters.items() for place, value in enumerate(values)}

    honest, wrong = estimate(clusters), estimate(naive)

    assert honest.mean == pytest.approx(wrong.mean)
    assert honest.high - honest.low > 3 * (wrong.high - wrong.low)  # 4 = the root of 16


def test_the_same_rows_have_the_same_interval() -> None:
    clusters = {name: [float(name in "aeiou"), 1] for name in "abcdefgh"}

    assert estimate(clusters) == estimate(clusters)
    assert estimate(clusters) == estimate(dict(clusters), seed=0)


@given(st.dictionaries(st.text("ab", max_size=3), st.lists(st.sampled_from([0.0, 1.0]), min_size=1), min_size=2))
def test_an_interval_is_within_what_can_be(clusters: Clusters) -> None:
    found = estimate(clusters)

    assert 0 <= found.low <= found.high <= 1
    assert found.n == sum(map(len, clusters.values()))


def test_an_estimate_is_shown_in_percent() -> None:
    assert str(Estimate(mean=0.5, low=0.25, high=0.7512, n=3)) == "50.0 [25.0, 75.1]"


RANKING = [7, 3, 9, 1]


@pytest.mark.parametrize(
    ("gold", "k", "expected"),
    [
        ([3], 1, (0, 0, 0)),
        ([3], 2, (1, 1, 1)),
        ([8], 1, (0, 1, 0)),
        ([8], 4, (0, 1, 0)),
        ([7, 9, 5], 3, (1, 1, 2 / 3)),
        ([7, 7, 5], 1, (1, 1, 1 / 2)),
        ([1], 10, (1, 1, 1)),
        ([0], 3, (0, 0, 0)),
        ([0], 4, (0, 1, 0)),
        ([7], 0, (0, 0, 0)),
    ],
)
def test_measures_by_hand(gold: list[int], k: int, expected: tuple[float, float, float]) -> None:
    assert (hit(RANKING, gold, k), near_hit(RANKING, gold, k), recall(RANKING, gold, k)) == expected


@pytest.mark.parametrize(
    ("ranking", "gold", "expected"),
    [(RANKING, [7], 1), (RANKING, [1, 9], 1 / 3), (RANKING, [2], 0), ([], [2], 0)],
)
def test_reciprocal_ranks_by_hand(ranking: list[int], gold: list[int], expected: float) -> None:
    assert reciprocal_rank(ranking, gold) == expected


def test_nothing_found_is_no_hit() -> None:
    assert (hit([], [1], 5), near_hit([], [1], 5), recall([], [1], 5)) == (0, 0, 0)


SIZES = [(5, 1, 1), (5, 2, 3), (6, 3, 2), (6, 6, 2), (4, 1, 9)]


@pytest.mark.parametrize(("candidates", "gold", "k"), SIZES)
def test_chance_is_the_mean_over_every_ranking(candidates: int, gold: int, k: int) -> None:
    right = list(range(gold))

    def mean(measure: Callable[[Sequence[int]], float]) -> float:
        rankings = list(permutations(range(candidates)))
        return sum(map(measure, rankings)) / len(rankings)

    assert chance_hit(candidates, gold, k) == pytest.approx(mean(lambda ranking: hit(ranking, right, k)))
    assert chance_recall(candidates, k) == pytest.approx(mean(lambda ranking: recall(ranking, right, k)))
    assert chance_reciprocal_rank(candidates, gold, k) == pytest.approx(
        mean(lambda ranking: reciprocal_rank(ranking[:k], right))
    )


@pytest.mark.parametrize(("candidates", "gold", "k"), [(60, 1, 5), (100, 3, 10), (40, 2, 40)])
def test_chance_is_what_a_simulation_finds(candidates: int, gold: int, k: int) -> None:
    rng = np.random.default_rng(3)
    rankings = [rng.permutation(candidates).tolist() for _ in range(8_000)]
    right = rng.choice(candidates, gold, replace=False).tolist()

    for chance, measured in [
        (chance_hit(candidates, gold, k), [hit(ranking, right, k) for ranking in rankings]),
        (chance_recall(candidates, k), [recall(ranking, right, k) for ranking in rankings]),
        (chance_reciprocal_rank(candidates, gold, k), [reciprocal_rank(ranking[:k], right) for ranking in rankings]),
    ]:
        error = np.std(measured) / math.sqrt(len(measured))
        assert chance == pytest.approx(np.mean(measured), abs=4 * float(error) + 1e-12)


def test_chance_at_the_edges() -> None:
    assert chance_hit(10, 0, 5) == 0
    assert chance_hit(10, 10, 1) == 1
    assert chance_hit(3, 1, 5) == 1
    assert chance_hit(0, 0, 5) == 0
    assert chance_recall(3, 5) == 1
    assert chance_reciprocal_rank(10, 10, 10) == 1
    assert chance_reciprocal_rank(10, 1, 0) == 0


def test_the_published_chances() -> None:
    """Exact Hit@5 with N candidate clips, one of them right: specs/evals.md prints these."""
    chances = {n: round(100 * chance_hit(n, 1, 5), 2) for n in (10, 20, 30, 50, 80, 100)}

    assert chances == {10: 50, 20: 25, 30: 16.67, 50: 10, 80: 6.25, 100: 5}
