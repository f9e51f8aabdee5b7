"""What does it cost to have no softmax attention, the more clips there are?"""

import json
from collections.abc import Mapping
from itertools import permutations

from evals.ablations.measured import Measured
from evals.ablations.outcome import Outcome, compared, share
from evals.tiny.chat import TinyChatModel

LENGTHS = (8, 16, 32, 64)


def outcome(measured: Measured, models: Mapping[str, TinyChatModel]) -> Outcome:
    """Accuracy of the models, which have about as many parameters."""
    softmax = {name: _softmax(model) for name, model in models.items()}
    remarks = [
        compared(
            f"More softmax attention ({name}: {softmax[name]} of 4 layers, {other}: {softmax[other]}) helps at "
            f"{LENGTHS[-1]} clips",
            *(measured[each][LENGTHS[-1]] for each in (name, other)),
        )
        for name, other in permutations(models, 2)
        if softmax[name] > softmax[other]
    ]
    return Outcome(
        name="architectures",
        title="Right answers, % by number of clips",
        rows="model",
        cells={name: {str(n): share(measured[name][n]) for n in LENGTHS} for name in models},
        drawn=tuple(models),
        remarks=tuple(remarks),
    )


def _softmax(model: TinyChatModel) -> int:
    config = json.loads((model.folder / "config.json").read_text("utf-8"))
    return sum(layer == "full_attention" for layer in config["layer_types"])
