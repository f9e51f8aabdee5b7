"""What a run's rows add up to."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from evals.judge import words
from evals.rows import Grade, Key, Prediction, Tokens, added
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

Pair = tuple[Prediction, Grade]

DEPTHS = (1, 5, 10)

NOTHING_SCORED = Estimate(mean=math.nan, low=math.nan, high=math.nan, n=0)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Measure(_Frozen):
    """A retrieval measure over the questions with gold evidence, and what a random ranking would give."""

    name: str
    value: Estimate
    chance: float


class ArmSummary(_Frozen):
    """One row of the report.

    Args:
        accuracy: over all scored questions, errors counted as wrong.
        by_type: accuracy by question type; a question of several types counts in each.
        yes_no: over questions whose gold answer is a bare yes or no; open: over the other answerable ones.
        unanswerable: over questions whose right answer is that memory does not tell.
        evidence_shown: the share of the gold positions that the agent's own searches showed.
        rounds, searches: means a question; forced: share answered in the last round.
        unparsable: turns that were empty or could not be read, in all.
        controller, reader, judge: tokens in all.
        p50, p95: seconds a question.
        flagged: judge replies that could not be read; parses_differ: share where the other parse says otherwise.
    """

    arm: str
    accuracy: Estimate
    f1: Estimate
    by_type: dict[str, Estimate]
    yes_no: Estimate | None
    open: Estimate | None
    unanswerable: Estimate | None
    errors: int
    unscored: int
    evidence_shown: Estimate | None
    retrieval: tuple[Measure, ...]
    rounds: float
    searches: float
    forced: float
    unparsable: int
    controller: Tokens
    reader: Tokens
    judge: Tokens
    p50: float
    p95: float
    flagged: int
    parses_differ: float | None


class Summary(_Frozen):
    """A run in figures; `majority` is what always giving the commonest answer of a question's type would score."""

    arms: tuple[ArmSummary, ...]
    majority: float
    memories: int
    questions: int
    judge: str


def summarize_run(
    predictions: Sequence[Prediction], grades: Sequence[Grade], order: Sequence[str] = ("main",)
) -> Summary:
    """The figures of a run, from all of its rows; arms in `order`, as far as it names them."""
    by_key: dict[Key, Grade] = {grade.key: grade for grade in grades}
    arms: dict[str, list[Pair]] = {arm: [] for arm in order}
    for prediction in predictions:
        arms.setdefault(prediction.arm, []).append((prediction, by_key[prediction.key]))
    first = next(pairs for pairs in arms.values() if pairs)
    return Summary(
        arms=tuple(_arm(arm, pairs) for arm, pairs in arms.items() if pairs),
        majority=_majority(first),
        memories=len({prediction.cluster for prediction, _ in first}),
        questions=len({prediction.question_id for prediction, _ in first}),
        judge=grades[0].judge,
    )


def _arm(arm: str, pairs: list[Pair]) -> ArmSummary:
    scored = [pair for pair in pairs if pair[1].label != "unscored"]
    seconds = [prediction.seconds for prediction, _ in pairs]
    differing = [grade.other != grade.label for _, grade in scored if grade.other is not None]
    return ArmSummary(
        arm=arm,
        accuracy=_accuracy(scored) or NOTHING_SCORED,
        f1=clustered((p.cluster, g.f1) for p, g in scored) or NOTHING_SCORED,
        by_type=_by_type(scored),
        yes_no=_accuracy(scored, _is_yes_no),
        open=_accuracy(scored, lambda prediction: prediction.answerable and not _is_yes_no(prediction)),
        unanswerable=_accuracy(scored, lambda prediction: not prediction.answerable),
        errors=sum(grade.label == "error" for _, grade in pairs),
        unscored=len(pairs) - len(scored),
        evidence_shown=clustered(
            (p.cluster, recall(p.shown, p.evidence, len(p.shown))) for p, _ in pairs if p.evidence
        ),
        retrieval=_retrieval([prediction for prediction, _ in pairs]),
        rounds=_mean(prediction.rounds for prediction, _ in pairs),
        searches=_mean(prediction.searches for prediction, _ in pairs),
        forced=_mean(prediction.forced for prediction, _ in pairs),
        unparsable=sum(prediction.unparsable for prediction, _ in pairs),
        controller=added(prediction.controller for prediction, _ in pairs),
        reader=added(prediction.reader for prediction, _ in pairs),
        judge=added(grade.tokens for _, grade in pairs),
        p50=statistics.median(seconds),
        p95=float(np.quantile(seconds, 0.95)),
        flagged=sum(grade.flagged for _, grade in pairs),
        parses_differ=_mean(differing) if differing else None,
    )


def _accuracy(pairs: Iterable[Pair], chosen: Callable[[Prediction], bool] = lambda prediction: True) -> Estimate | None:
    return clustered((prediction.cluster, grade.score) for prediction, grade in pairs if chosen(prediction))


def _by_type(pairs: list[Pair]) -> dict[str, Estimate]:
    names = sorted({name for prediction, _ in pairs for name in prediction.types})
    estimates = {name: _accuracy(pair for pair in pairs if name in pair[0].types) for name in names}
    return {name: estimate for name, estimate in estimates.items() if estimate}


def _is_yes_no(prediction: Prediction) -> bool:
    return words(prediction.gold or "") in (["yes"], ["no"])


def _retrieval(predictions: Sequence[Prediction]) -> tuple[Measure, ...]:
    """Over the questions with gold evidence whose read did not fail; a failed one counts as nothing found."""
    asked = [prediction for prediction in predictions if prediction.evidence]
    if not any(prediction.ranking for prediction in asked):
        return ()
    depth = max(len(prediction.ranking) for prediction in asked)

    def measure(name: str, value: Callable[[Prediction], float], chance: Callable[[Prediction], float]) -> Measure:
        estimate = clustered((prediction.cluster, value(prediction)) for prediction in asked)
        assert estimate is not None
        return Measure(name=name, value=estimate, chance=_mean(map(chance, asked)))

    def at(k: int) -> list[Measure]:
        return [
            measure(f"Hit@{k}", lambda p: hit(p.ranking, p.evidence, k), lambda p: _chance(p, p.evidence, k)),
            measure(f"Near hit@{k}", lambda p: near_hit(p.ranking, p.evidence, k), lambda p: _chance(p, near(p), k)),
            measure(
                f"Recall@{k}", lambda p: recall(p.ranking, p.evidence, k), lambda p: chance_recall(p.candidates, k)
            ),
        ]

    measures = [one for k in DEPTHS if k <= depth for one in at(k)]
    mrr = measure(
        f"MRR@{depth}",
        lambda p: reciprocal_rank(p.ranking, p.evidence),
        lambda p: chance_reciprocal_rank(p.candidates, len(p.evidence), depth),
    )
    return (*measures, mrr)


def _chance(prediction: Prediction, gold: Sequence[int], k: int) -> float:
    return chance_hit(prediction.candidates, min(len(set(gold)), prediction.candidates), k)


def near(prediction: Prediction) -> list[int]:
    """The gold positions and those beside them."""
    last = prediction.candidates - 1 if prediction.until is None else prediction.until
    return [position + step for position in prediction.evidence for step in (-1, 0, 1) if 0 <= position + step <= last]


def _majority(pairs: list[Pair]) -> float:
    answers: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for prediction, grade in pairs:
        if grade.label != "unscored":
            answers[prediction.types][" ".join(words(prediction.gold or ""))] += 1
    total = sum(sum(counter.values()) for counter in answers.values())
    return sum(counter.most_common(1)[0][1] for counter in answers.values()) / max(total, 1)


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)
