"""Does a reader tell all that belongs in a list?"""

from evals.ablations.measured import Measured
from evals.ablations.outcome import Outcome, compared, share
from evals.tiny.measure import Result

LENGTHS = (8, 16, 32)

RETRIEVAL, SHOWN = "chroma (lexical), 5 clips", 5
"""What the agent is shown in the paper."""


def outcome(measured: Measured) -> Outcome:
    """How often every item of the list is in what was read."""
    return Outcome(
        name="summaries",
        title="Lists of which every item is in what was read, % by number of clips",
        rows="reader",
        cells={reader: {str(n): share(by_clips[n], _told) for n in LENGTHS} for reader, by_clips in measured.items()},
        drawn=tuple(measured),
        remarks=(
            "What did somebody take, do, like; what was put somewhere; where was somebody or something: two to six "
            "sentences tell it. An item counts wherever it stands in what was read.",
            *(
                compared(
                    f"At {n} clips a linear model tells more of a summary's keywords than retrieval of {SHOWN} clips "
                    f"shows (the paper, 20 questions: 95 to 25; here {reader})",
                    *(measured[each][n] for each in (reader, RETRIEVAL)),
                    value=_told,
                )
                for n in LENGTHS
                for reader in measured
                if reader != RETRIEVAL
            ),
        ),
    )


def _told(result: Result) -> float:
    return float(result.is_told)
