"""What arms, readers and controllers are called wherever a person reads of them."""

from evals.config import RunConfig
from evals.statistics import Estimate
from graphs.models import EXTRACTIVE

CONTROLS = {"blind": "blind: no memory", "oracle": "oracle: gold positions given"}


def arm_label(config: RunConfig, arm: str) -> str:
    """What a row is called in tables: the reader, with what it names of format, embedding and model, or the control."""
    if arm in CONTROLS:
        return CONTROLS[arm]
    reader = config.compared.get(arm, config.reader)
    what = str(reader.options.get("embeddings") or reader.options.get("model", ""))
    told = [str(reader.options.get("format", "")), "" if what.endswith(":") else what]
    named = ", ".join(filter(None, told))
    return f"{reader.name} ({named})" if named else reader.name


def controller_label(config: RunConfig) -> str:
    """The controller's name; the offline one is called what it is."""
    return "extractive baseline (no model)" if config.controller.model == EXTRACTIVE else config.controller.model


def percent(estimate: Estimate | None) -> str:
    """A mean in percent, "-" where there is none."""
    return "-" if estimate is None or not estimate.n else f"{100 * estimate.mean:.1f}"
