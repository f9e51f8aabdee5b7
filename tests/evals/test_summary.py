"""What rows add up to, counted by hand."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from evals.rows import Grade, Prediction, Tokens
from evals.statistics import chance_hit
from evals.summary import ArmSummary, Summary, summarize_run
from tests.evals.support import grade_of, prediction

Told = tuple[Prediction, Grade]


def told(question_id: str, label: str, *, graded: dict[str, Any] | None = None, **fields: Any) -> Told:
    row = prediction(question_id, **fields)
    return row, grade_of(row, label, **(graded or {}))


def summarize(*rows: Told) -> Summary:
    return summarize_run([row for row, _ in rows], [grade for _, grade in rows])


def only(*rows: Told) -> ArmSummary:
    (arm,) = summarize(*rows).arms
    return arm


RUN: Sequence[Told] = (
    told("q1", "correct", memory="a", types=("where",), gold="shelf"),
    told("q2", "incorrect", memory="a", types=("where", "who"), gold="Anna", forced=True, unparsable=2, rounds=5),
    told("q3", "correct", memory="a", types=("yes_no",), gold="Yes."),
    told("q4", "error", memory="b", types=("yes_no",), gold="no", rounds=0),
    told("q5", "correct", memory="b", types=("none",), gold="not in memory", answerable=False),
    told("q6", "incorrect", memory="b", types=("none",), gold="not in memory", answerable=False),
    told("q7", "unscored", memory="b", types=("note",), gold=None),
)


def test_accuracy_counts_errors_as_wrong_and_leaves_out_what_cannot_be_scored() -> None:
    arm = only(*RUN)

    assert (arm.accuracy.mean, arm.accuracy.n) == (3 / 6, 6)
    assert (arm.errors, arm.unscored) == (1, 1)


def test_questions_are_apart_by_what_their_answer_is() -> None:
    arm = only(*RUN)

    found = {name: getattr(arm, name) for name in ("yes_no", "open", "unanswerable")}
    assert {name: (part.mean, part.n) for name, part in found.items()} == {
        "yes_no": (1 / 2, 2),
        "open": (1 / 2, 2),
        "unanswerable": (1 / 2, 2),
    }
    assert sum(part.n for part in found.values()) == arm.accuracy.n
    assert sum(part.mean * part.n for part in found.values()) == pytest.approx(arm.accuracy.mean * arm.accuracy.n)


def test_a_question_of_several_types_counts_in_each() -> None:
    arm = only(*RUN)

    assert {name: (part.mean, part.n) for name, part in arm.by_type.items()} == {
        "where": (1 / 2, 2),
        "who": (0, 1),
        "yes_no": (1 / 2, 2),
        "none": (1 / 2, 2),
    }


def test_what_does_not_occur_has_no_figure() -> None:
    arm = only(told("q1", "correct"))

    assert arm.yes_no is None
    assert arm.unanswerable is None
    assert arm.evidence_shown is None
    assert arm.parses_differ is None
    assert arm.retrieval == ()
    assert math.isnan(arm.accuracy.low)


def test_a_run_without_a_scored_question_has_no_accuracy() -> None:
    arm = only(told("q1", "unscored", gold=None))

    assert arm.accuracy is None or math.isnan(arm.accuracy.mean)


def test_costs_are_means_and_totals() -> None:
    used: dict[str, Any] = {"controller": Tokens(prompt=10, cached=4, completion=1), "reader": Tokens(prompt=100)}
    arm = only(
        told("q1", "correct", seconds=1.0, searches=3, rounds=4, **used),
        told("q2", "correct", seconds=2.0, searches=0, rounds=1, **used),
        told("q3", "error", seconds=60.0, searches=0, rounds=0, forced=True, unparsable=1),
    )

    assert (arm.rounds, arm.searches, arm.forced, arm.unparsable) == pytest.approx((5 / 3, 1, 1 / 3, 1))
    assert arm.controller == Tokens(prompt=20, cached=8, completion=2)
    assert arm.reader == Tokens(prompt=200)
    assert arm.p50 == 2
    assert arm.p95 == pytest.approx(2 + 0.9 * 58)


def test_the_judge_s_doubts_are_counted() -> None:
    arm = only(
        told("q1", "incorrect", graded={"flagged": True, "other": "correct"}),
        told("q2", "correct", graded={"other": "correct"}),
        told("q3", "incorrect", graded={"other": "incorrect"}),
        told("q4", "error"),
    )

    assert arm.flagged == 1
    assert arm.parses_differ == pytest.approx(1 / 3)


def test_retrieval_is_over_questions_with_gold_and_a_failed_read_found_nothing() -> None:
    rankings: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
        ("first", (4,), (4, 1, 2, 3, 0, 5)),
        ("third", (7, 8), (0, 9, 7, 1, 2, 3)),
        ("near", (3,), (2, 7, 8, 9, 0, 6)),
        ("failed", (1,), ()),
    ]
    rows = [told(name, "correct", evidence=gold, ranking=found, candidates=10) for name, gold, found in rankings]

    found = {
        measure.name: (measure.value.mean, measure.value.n)
        for measure in only(*rows, told("none", "correct")).retrieval
    }

    assert found == {
        "Hit@1": (1 / 4, 4),
        "Near hit@1": (2 / 4, 4),
        "Recall@1": (1 / 4, 4),
        "Hit@5": (2 / 4, 4),
        "Near hit@5": (3 / 4, 4),
        "Recall@5": (1.5 / 4, 4),
        "MRR@6": (pytest.approx((1 + 1 / 3) / 4), 4),
    }


def test_chance_stands_beside_each_measure() -> None:
    rows = [
        told("one", "correct", evidence=(0,), ranking=(1, 2, 3, 4, 5), candidates=10),
        told("two", "correct", evidence=(4, 6), ranking=(1, 2, 3, 4, 5), candidates=20),
    ]

    chance = {measure.name: measure.chance for measure in only(*rows).retrieval}

    assert chance["Hit@1"] == pytest.approx((1 / 10 + 2 / 20) / 2)
    assert chance["Hit@5"] == pytest.approx((1 / 2 + chance_hit(20, 2, 5)) / 2)
    assert chance["Recall@5"] == pytest.approx((5 / 10 + 5 / 20) / 2)
    # Position 0 has one neighbour, 4 and 6 share one.
    assert chance["Near hit@1"] == pytest.approx((2 / 10 + 5 / 20) / 2)
    assert chance["MRR@5"] == pytest.approx((sum(1 / rank / 10 for rank in range(1, 6)) + sum_of_ranks(20, 2, 5)) / 2)


def sum_of_ranks(candidates: int, gold: int, depth: int) -> float:
    """The expected reciprocal rank, from the chance that the first `rank - 1` are all wrong and the next is right."""
    total, left = 0.0, 1.0
    for rank in range(1, depth + 1):
        right = gold / (candidates - rank + 1)
        total += left * right / rank
        left *= 1 - right
    return total


def test_neighbours_beyond_until_are_no_chance() -> None:
    row = told("q", "correct", evidence=(5,), until=5, ranking=(0, 1, 2, 3, 4), candidates=6)

    chance = {measure.name: measure.chance for measure in only(row).retrieval}

    assert chance["Near hit@1"] == pytest.approx(2 / 6)


def test_gold_where_nothing_can_be_found_does_not_end_the_report() -> None:
    only(
        told("q1", "correct", evidence=(5,), until=2, candidates=0),
        told("q2", "correct", evidence=(1,), ranking=(1,), candidates=3),
    )


def test_evidence_shown_is_the_share_of_gold_the_searches_brought() -> None:
    arm = only(
        told("q1", "correct", memory="a", evidence=(1, 2), shown=(2, 9, 8)),
        told("q2", "correct", memory="b", evidence=(1,), shown=(1,)),
        told("q3", "error", memory="b", evidence=(1,)),
        told("q4", "correct", memory="b"),
    )

    assert arm.evidence_shown is not None
    assert (arm.evidence_shown.mean, arm.evidence_shown.n) == (1.5 / 3, 3)


def test_the_run_is_counted_once_however_many_arms() -> None:
    rows = [
        told(f"q{number}", "correct" if arm == "oracle" else "incorrect", arm=arm, config=arm, memory=f"m{number % 2}")
        for arm in ("main", "blind", "oracle")
        for number in range(4)
    ]

    summary = summarize(*rows)

    assert (summary.questions, summary.memories, summary.judge) == (4, 2, "lexical")
    assert [(arm.arm, arm.accuracy.mean, arm.accuracy.n) for arm in summary.arms] == [
        ("main", 0, 4),
        ("blind", 0, 4),
        ("oracle", 1, 4),
    ]


@pytest.mark.parametrize("order", [("main", "blind", "oracle"), ("main",), ("main", "other", "oracle")])
def test_the_main_arm_comes_first_whatever_row_was_written_first(order: Sequence[str]) -> None:
    rows = [told("q1", "correct", arm=arm, config=arm) for arm in ("blind", "main", "oracle")]

    found = summarize_run([row for row, _ in rows], [grade for _, grade in rows], order)

    assert {arm.arm for arm in found.arms} == {"main", "blind", "oracle"}
    assert found.arms[0].arm == "main"


def test_questions_are_counted_once_however_many_seeds() -> None:
    rows = [told("q1", "correct", seed=seed) for seed in (0, 1)]

    assert summarize(*rows).questions == 1


def test_the_majority_is_the_commonest_answer_of_each_type() -> None:
    rows = [
        told("q1", "correct", types=("yes_no",), gold="Yes."),
        told("q2", "error", types=("yes_no",), gold="yes"),
        told("q3", "correct", types=("yes_no",), gold="No"),
        told("q4", "correct", types=("where",), gold="shelf"),
        told("q5", "correct", types=("where",), gold="sink"),
        told("q6", "unscored", types=("where",), gold=None),
    ]

    assert summarize(*rows).majority == pytest.approx((2 + 1) / 5)


def test_intervals_are_over_memories() -> None:
    alike = [
        told(f"q{memory}{number}", "correct" if memory < 5 else "incorrect", memory=str(memory))
        for memory in range(10)
        for number in range(20)
    ]
    apart = [(row.model_copy(update={"memory": row.question_id}), grade) for row, grade in alike]

    clustered, naive = only(*alike).accuracy, only(*apart).accuracy

    assert clustered.mean == naive.mean == 0.5
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)
