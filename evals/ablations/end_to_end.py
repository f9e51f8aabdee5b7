"""Does an agent answer more, when a model reads its memory instead of retrieval?"""

from collections.abc import Callable, Mapping
from pathlib import Path

from evals.ablations.outcome import Outcome
from evals.config import ReaderConfig, RunConfig
from evals.judge import judge
from evals.labels import arm_label
from evals.predict import predict
from evals.report import report
from evals.sample.generate import generate, write
from linmem_langgraph.readers.linear import LinearReader

CLIPS, EACH = 60, 18
"""Clips and questions of a household, as the bundled benchmark has them."""

SEED = 1_000


def outcome(models: Mapping[str, str], questions: int, folder: Path, say: Callable[[str], object]) -> Outcome:
    """Accuracy of the loop, with retrieval as `make demo` has it, with models, without memory, with gold clips."""
    data = folder / "households"
    if not (data / "samples.jsonl").exists():
        made = generate(worlds=-(-questions // EACH), clips=CLIPS, questions=EACH, seed=SEED, prefix="ablation")
        write(data, *made)
    linear = {
        f"tiny-{number}": ReaderConfig(name=LinearReader.name, options={"model": f"tiny:{model}", "max_tokens": 128})
        for number, model in enumerate(models.values())
    }
    config = RunConfig.model_validate(
        {
            "name": "ablations",
            "benchmark": {"name": "household", "data": data},
            "reader": {"name": "chroma", "options": {"embeddings": "lexical", "by": "position", "limit": 3}},
            "compared": linear,
            "controls": ["blind", "oracle"],
        }
    )
    say(f"the loop over {-(-questions // EACH)} households")
    run = folder / "end_to_end"
    predict(config, run)
    judge(config, run)
    summary = report(config, run)
    names = {f"tiny-{number}": name for number, name in enumerate(models)}
    arms = {names.get(arm.arm) or arm_label(config, arm.arm): arm for arm in summary.arms}
    return Outcome(
        name="end_to_end",
        title="Right answers of the loop, %",
        rows="reader",
        cells={name: {"all": arm.accuracy, **arm.by_type} for name, arm in arms.items()},
        remarks=(
            f"{summary.questions} questions about {summary.memories} households of {CLIPS} clips, in no lesson.",
            "The controller is no model: it says the line that matches best, or the last sentence of what a model has "
            "read. So with retrieval nobody counts or joins; a controller that reasons would.",
            "The paper, with the same controller everywhere: embeddings 28.8 (robot) and 47.5 (web), Kimi-Linear 28.0 "
            "and 54.0.",
        ),
    )
