"""Is a memory read better as it happened, or told by subjects?"""

from evals.ablations.measured import Measured
from evals.ablations.outcome import Outcome, compared, share

LENGTHS = (8, 16, 32)

RAW, BY_SUBJECT = "raw captions", "by subject"


def outcome(raw: Measured, by_subject: Measured) -> Outcome:
    """Right answers of each model with either transcript of the same clips."""
    cells = {
        f"{model}: {name}": {str(n): share(found[model][n]) for n in LENGTHS}
        for model in by_subject
        for name, found in ((RAW, raw), (BY_SUBJECT, by_subject))
    }
    return Outcome(
        name="transcripts",
        title="Right answers from two transcripts of one memory, % by number of clips",
        rows="model and transcript",
        cells=cells,
        drawn=tuple(cells),
        remarks=(
            "By subject: all captions about one person or thing in order of time, then all about the next; one about "
            "two stands at both, so the transcript is longer. A tenth of the lessons are told so, the others as they "
            "happened.",
            *(
                compared(
                    f"At {n} clips raw captions serve better than structured memory (the paper: 31.4 to 27.1; here "
                    f"{model})",
                    raw[model][n],
                    by_subject[model][n],
                )
                for n in LENGTHS
                for model in by_subject
            ),
        ),
    )
