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
    linear = {name: linear_layers(model) for name, model in models.items()}
    remarks = [
        compared(
            f"Fewer linear layers ({name}: {linear[name]} of 4, the others softmax; {other}: {linear[other]}) help at "
            f"{LENGTHS[-1]} clips",
            *(measured[each][LENGTHS[-1]] for each in (name, other)),
        )
        for name, other in permutations(models, 2)
        if linear[name] < linear[other]
    ]
    return Outcome(
        name="architectures",
        title="Right answers, % by number of clips",
        rows="model",
        cells={name: {str(n): share(measured[name][n]) for n in LENGTHS} for name in models},
        drawn=tuple(models),
        remarks=tuple(remarks),
    )


def linear_layers(model: TinyChatModel) -> int:
    """How many layers have a state of one size."""
    config = json.loads((model.folder / "config.json").read_text("utf-8"))
    return sum(layer == "linear_attention" for layer in config["layer_types"])
