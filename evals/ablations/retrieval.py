"""Does a reader name the clips that tell the answer, the more clips there are?"""

from collections.abc import Callable, Sequence

from evals.ablations.measured import Measured
from evals.ablations.outcome import Outcome, compared
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
from evals.tiny.measure import Result

CANDIDATES = (10, 20, 30, 50, 80, 100)
"""Clips, as in the paper."""

PAPER = {
    10: "so on web, 64.5 to 56.5, but not on robot, 54.9 to 56.0",
    100: "so on web, 20.4 to 14.5, and on robot, 8.8 to 7.1",
}
"""Exact hit@5 of embeddings against Kimi-Linear."""

RETRIEVAL, RANKING, DEPTH = "chroma (lexical)", 20, 5
"""What ranks, how many positions it names, and how many of them count."""

MEASURES: dict[str, Callable[[Result], float]] = {
    f"exact hit@{DEPTH}": lambda result: hit(result.named, result.evidence, DEPTH),
    f"near hit@{DEPTH}": lambda result: near_hit(result.named, result.evidence, DEPTH),
    f"recall@{DEPTH}": lambda result: recall(result.named, result.evidence, DEPTH),
    "MRR": lambda result: reciprocal_rank(result.named, result.evidence),
}
CHANCES: dict[str, Callable[[Result], float]] = {
    f"exact hit@{DEPTH}": lambda result: chance_hit(result.candidates, len(result.evidence), DEPTH),
    f"near hit@{DEPTH}": lambda result: chance_hit(result.candidates, len(_near(result)), DEPTH),
    f"recall@{DEPTH}": lambda result: chance_recall(result.candidates, DEPTH),
    "MRR": lambda result: chance_reciprocal_rank(result.candidates, len(result.evidence), RANKING),
}


def outcome(measured: Measured) -> Outcome:
    """A row for each reader and measure, and for chance; over the questions that the memory answers."""
    cells: dict[str, dict[str, Estimate | float]] = {}
    for measure, value in MEASURES.items():
        for reader, by_clips in measured.items():
            cells[f"{reader}: {measure}"] = {str(n): _mean(by_clips[n], value) for n in CANDIDATES}
        some = measured[RETRIEVAL]
        cells[f"chance: {measure}"] = {str(n): _mean(some[n], CHANCES[measure]).mean for n in CANDIDATES}
    first = next(iter(MEASURES))
    return Outcome(
        name="retrieval",
        title="Gold clips among the first that are named, % by number of clips",
        rows="reader and measure",
        cells=cells,
        drawn=tuple(row for row in cells if row.endswith(first)),
        remarks=(
            "The linear reader names the clips it rests its answer on, in the order of its words: it ranks nothing, "
            f"and where it names one clip there is no second chance. Retrieval always names {RANKING}, of which hits "
            f"and recall count {DEPTH}; chance is that of {RANKING} clips drawn.",
            *(
                compared(
                    f"At {n} clips embeddings find more than a linear model (the paper: {paper}; here {reader})",
                    *([each for each in measured[one][n] if each.evidence] for one in (RETRIEVAL, reader)),
                    value=MEASURES[f"exact hit@{DEPTH}"],
                )
                for n, paper in PAPER.items()
                for reader in measured
                if reader != RETRIEVAL and n in measured[reader]
            ),
        ),
    )


def _mean(results: Sequence[Result], value: Callable[[Result], float]) -> Estimate:
    found = clustered((result.household, value(result)) for result in results if result.evidence)
    assert found is not None
    return found


def _near(result: Result) -> set[int]:
    near = {clip + step for clip in result.evidence for step in (-1, 0, 1)}
    return near & set(range(result.candidates))
