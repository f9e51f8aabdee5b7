"""What does a read take, and what is kept for it, the more clips there are?"""

import statistics
from collections.abc import Mapping
from random import Random

from evals.ablations.architectures import LENGTHS
from evals.ablations.measured import Measured
from evals.ablations.outcome import Outcome
from evals.sample.world import PEOPLE
from evals.tiny.chat import TinyChatModel, runtime
from evals.tiny.lessons import household, rendered


def outcome(measured: Measured, models: Mapping[str, TinyChatModel]) -> Outcome:
    """Milliseconds of a read (median), and kilobytes of one household's transcript and of the state after it."""
    cells = {
        f"{reader}: ms": {str(n): 1_000 * statistics.median(each.seconds for each in by_clips[n]) for n in LENGTHS}
        for reader, by_clips in measured.items()
    }
    texts = {n: rendered(household(Random(0), n, PEOPLE)[0]) for n in LENGTHS}
    cells["transcript: kB"] = {str(n): len(text.encode()) / 1_000 for n, text in texts.items()}
    for name, model in models.items():
        one = runtime(model.folder)
        cells[f"{name}: kB of state"] = {
            str(n): one.read(one.empty(), one.tokenizer.encode(text).ids).bytes / 1_000 for n, text in texts.items()
        }
    return Outcome(
        name="cost",
        title="Cost of a read, by number of clips",
        rows="what",
        cells=cells,
        percent=False,
        drawn=tuple(row for row in cells if row.endswith("ms")),
        remarks=(
            "Without writing, indexing and priming, which come before. A read goes on from the state after the memory, "
            "so it takes the question and the answer, which tells its evidence; the state of linear layers has one "
            "size, that of softmax attention grows with each token.",
        ),
    )
