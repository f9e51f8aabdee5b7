"""`python -m evals ablations --suite tiny`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from evals.ablations import architectures, cost, end_to_end, retrieval, summaries, transcripts
from evals.ablations.measured import as_told, chroma, linear, measured
from evals.ablations.outcome import Outcome
from evals.ablations.report import write_report
from evals.config import only_writer
from evals.sample.questions import SUMMARIES
from evals.tiny.chat import TinyChatModel, shipped, tiny_model
from evals.tiny.lessons import by_subject
from evals.tiny.measure import homes
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
    """Measure what is not measured yet, and write the report. What is asked about linear models is asked of no other.

    Raises:
        ConfigError: `out` is in use, some question of the loop failed, or no model has a linear layer.
    """
    with_state = {name: model for name, model in models.items() if architectures.linear_layers(model)}
    if not with_state:
        raise ConfigError(
            f"{', '.join(models)}: no layer is linear; name a model that has some as well, such as hybrid"
        )
    with only_writer(out):
        readers = {name: linear(model) for name, model in with_state.items()}
        softmax = {name: linear(model) for name, model in models.items() if name not in with_state}
        ask = partial(measured, folder=out / "measured", say=say)
        lengths = sorted({*retrieval.CANDIDATES, *architectures.LENGTHS})
        found = ask(
            {retrieval.RETRIEVAL: chroma(retrieval.RANKING), **readers}, {n: homes(n, questions) for n in lengths}
        )
        full = ask(softmax, {n: homes(n, questions) for n in architectures.LENGTHS})
        lists = ask(
            {summaries.RETRIEVAL: chroma(summaries.SHOWN), **readers},
            {n: homes(n, questions, seed="summaries", writers=SUMMARIES) for n in summaries.LENGTHS},
        )
        sorted_by_subject = ask(
            {name: as_told(model) for name, model in with_state.items()},
            {n: homes(n, questions, told=by_subject) for n in transcripts.LENGTHS},
        )
        outcomes = [
            end_to_end.outcome(models, questions, out, say),
            retrieval.outcome(found),
            summaries.outcome(lists),
            transcripts.outcome(found, sorted_by_subject),
            architectures.outcome({**found, **full}, models),
            cost.outcome({**found, **full}, models),
        ]
        write_report(outcomes, out)
    return outcomes
