"""`python -m evals ablations --suite tiny`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evals.ablations import architectures, cost, end_to_end, retrieval
from evals.ablations.measured import measured
from evals.ablations.outcome import Outcome
from evals.ablations.report import write_report
from evals.config import only_writer
from evals.tiny.chat import TinyChatModel, shipped, tiny_model
from linmem_langgraph.errors import ConfigError


def models_of(names: Sequence[str]) -> dict[str, TinyChatModel]:
    """The models that are compared, by what they are called: those that are named, else all that are shipped.

    Raises:
        ConfigError: one is unknown, two have the same name, or there is none.
    """
    models = [tiny_model(name) for name in names or shipped()]
    found = {f"linmem-tiny {model.folder.name}": model for model in models}
    if len(found) < len(models) or not models:
        raise ConfigError(f"{len(models)} models of {len(found)} names: name models in folders of different names")
    return found


def run(models: Mapping[str, TinyChatModel], questions: int, out: Path, say: Callable[[str], object]) -> list[Outcome]:
    """Measure what is not measured yet, and write the report.

    Raises:
        ConfigError: `out` is in use, or some question of the loop failed.
    """
    with only_writer(out):
        lengths = sorted({*retrieval.CANDIDATES, *architectures.LENGTHS})
        found = measured(models, lengths, questions, out / "measured", say)
        outcomes = [
            end_to_end.outcome(models, questions, out, say),
            retrieval.outcome(found),
            architectures.outcome(found, models),
            cost.outcome(found, models),
        ]
        write_report(outcomes, out)
    return outcomes
