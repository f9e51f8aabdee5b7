"""What does it cost to have no softmax attention, the more clips there are?"""

from collections.abc import Mapping

from evals.ablations.measured import Measured
from evals.ablations.outcome import Outcome, compared, share

LENGTHS = (8, 16, 32, 64)


def outcome(measured: Measured, models: Mapping[str, str]) -> Outcome:
    """Accuracy of the models, which have about as many parameters."""
    kinds = {kind: name for name in models for kind in ("hybrid", "linear", "softmax") if kind in name}
    remarks = []
    for kind, other in (("hybrid", "linear"), ("softmax", "hybrid")):
        if kind in kinds and other in kinds:
            one, two = (measured[kinds[each]][LENGTHS[-1]] for each in (kind, other))
            claim = (
                f"Softmax attention in {'one layer of four' if kind == 'hybrid' else 'all layers'} helps at 64 clips"
            )
            remarks.append(compared(claim, one, two, "is_right"))
    return Outcome(
        name="architectures",
        title="Right answers, % by number of clips",
        rows="model",
        cells={name: {str(n): share(measured[name][n], "is_right") for n in LENGTHS} for name in models},
        drawn=tuple(models),
        remarks=tuple(remarks),
    )
