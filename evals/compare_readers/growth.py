"""How many times longer a read of a large memory takes than one of a small one: both are open, and read in turn."""

from collections.abc import Sequence

from evals.bench.timing import Ratio, compare
from evals.compare_readers.asking import Measured, filled
from evals.compare_readers.candidates import Candidate
from evals.compare_readers.worlds import Merged

FROM = 64
"""Clips of the small memory, if one of that size is compared; else it is the smallest."""

REPEATS = 60
"""Pairs of reads."""


class Growth(Measured):
    """Seconds of a read of the large memory and of the small one, and their ratio."""

    took: Ratio | None = None


def ends(sizes: Sequence[int]) -> tuple[int, int] | None:
    """The sizes, in clips, of the memories that are read in turn, if there are two."""
    small, large = FROM if FROM in sizes else min(sizes), max(sizes)
    return (small, large) if small < large else None


def growth(candidate: Candidate, small: Merged, large: Merged, repeats: int = REPEATS) -> Growth:
    """The same questions to both; those of `small` are all asked of `large`, too."""
    questions = [draft.question.text for _, draft in small.asked]
    with filled(candidate, small.records) as (near, _), filled(candidate, large.records) as (far, _):
        took = compare(
            lambda run: far(questions[run % len(questions)]),
            lambda run: near(questions[run % len(questions)]),
            repeats,
        )
    return Growth(took=took)
