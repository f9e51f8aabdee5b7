"""`python -m evals ablations --suite tiny`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from evals.ablations import architectures, cost, end_to_end, retrieval
from evals.ablations.measured import measured
from evals.ablations.outcome import Outcome
from evals.ablations.report import write_report
from evals.config import only_writer
from evals.tiny.chat import shipped


def models_of(names: list[str]) -> dict[str, str]:
    """The models that are compared, by what they are called: those that are named, else all that are shipped."""
    return {f"linmem-tiny {Path(name).name}": name for name in names or shipped()}


def run(models: Mapping[str, str], questions: int, out: Path, say: Callable[[str], object]) -> list[Outcome]:
    """Measure what is not measured yet, and write the report.

    Raises:
        ConfigError: a model is unknown, or `out` is in use.
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
