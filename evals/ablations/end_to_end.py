"""Does an agent answer more, when a model reads its memory instead of retrieval?"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from evals.ablations.outcome import Outcome
from evals.config import ReaderConfig, RunConfig
from evals.judge import judge
from evals.labels import arm_label
from evals.predict import predict
from evals.report import report
from evals.sample.generate import generate, write
from evals.tiny.chat import ANSWER, TinyChatModel
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers.linear import LinearReader

CLIPS, EACH = 60, 18
"""Clips and questions of a household, as the bundled benchmark has them."""

SEED = 1_000


def outcome(models: Mapping[str, TinyChatModel], questions: int, folder: Path, say: Callable[[str], object]) -> Outcome:
    """Accuracy of the loop: with retrieval as `make demo` has it, with models, without memory, with gold clips.

    Raises:
        ConfigError: some question failed; its error is in the run's rows.
    """
    worlds = -(-questions // EACH)
    arms = {f"tiny-{model.fingerprint[:8]}": (name, model) for name, model in models.items()}
    run = folder / f"end_to_end_{worlds}_{sha256(' '.join(arms).encode()).hexdigest()[:8]}"
    write(run / "households", *generate(worlds=worlds, clips=CLIPS, questions=EACH, seed=SEED, prefix="ablation"))
    linear = {
        arm: ReaderConfig(
            name=LinearReader.name, options={"model": f"tiny:{model.folder.resolve()}", "max_tokens": ANSWER}
        )
        for arm, (_, model) in arms.items()
    }
    config = RunConfig.model_validate(
        {
            "name": "ablations",
            "benchmark": {"name": "household", "data": run / "households"},
            "reader": {"name": "chroma", "options": {"embeddings": "lexical", "by": "position", "limit": 3}},
            "compared": linear,
            "controls": ["blind", "oracle"],
        }
    )
    say(f"the loop over {worlds} households")
    predict(config, run)
    judge(config, run)
    summary = report(config, run)
    if errors := sum(arm.errors for arm in summary.arms):
        raise ConfigError(f"{errors} questions failed, see {run / 'report.html'}: mend it and delete {run}")
    cells = {
        arms[arm.arm][0] if arm.arm in arms else arm_label(config, arm.arm): {"all": arm.accuracy, **arm.by_type}
        for arm in summary.arms
    }
    return Outcome(
        name="end_to_end",
        title="Right answers of the loop, %",
        rows="reader",
        cells=cells,
        remarks=(
            f"{summary.questions} questions about {summary.memories} households of {CLIPS} clips, in no lesson.",
            f"Figures and every dialogue: [report.html]({run.name}/report.html).",
            "The controller is no model: it says the line that matches best, or the last sentence of what a model has "
            "read. So with retrieval nobody counts or joins; a controller that reasons would.",
            "The paper, with the same controller everywhere: embeddings 28.8 (robot) and 47.5 (web), Kimi-Linear 28.0 "
            "and 54.0.",
        ),
    )
