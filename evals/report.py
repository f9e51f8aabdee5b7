"""report: a run as `report.md`, `report.html` and a table in the terminal."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.table import Table

from evals.benchmarks import load_benchmark
from evals.config import RunConfig
from evals.cost import cost_row
from evals.labels import arm_label, controller_label, percent
from evals.markdown import markdown_table
from evals.predict import KEPT
from evals.report_html import render_html
from evals.rows import Grade, Prediction, RowFile
from evals.schedule import arms, asked
from evals.summary import ArmSummary, Summary, summarize_run
from linmem_langgraph.errors import ConfigError


def report(config: RunConfig, out: Path) -> Summary:
    """Write `out/report.md` and `out/report.html` from the rows in `out`.

    Raises:
        ConfigError: predictions are missing, or not all of them have been judged.
    """
    benchmark = load_benchmark(**config.benchmark.model_dump())
    wanted = asked(config, benchmark)
    rows = {(row.arm, row.question_id, row.seed): row for row in RowFile(out / "predictions.jsonl").read(Prediction)}
    predictions = [row for key, row in rows.items() if key in wanted]
    if not predictions:
        raise ConfigError(f"{out / 'predictions.jsonl'} has no rows: run predict first")
    known = {grade.key: grade for grade in RowFile(out / "scores.jsonl").read(Grade)}
    if left := [row for row in predictions if row.key not in known]:
        raise ConfigError(f"{len(left)} of {len(predictions)} predictions in {out} have no grade: run judge first")
    grades = [known[row.key] for row in predictions]
    if missing := len(wanted - rows.keys()):
        raise ConfigError(
            f"{out} holds {len(wanted) - missing} of {len(wanted)} answers: run predict again, it goes on where it "
            "stopped"
        )
    summary, quirks = summarize_run(predictions, grades, arms(config)), dict(benchmark.quirks)
    if (out / KEPT).exists():
        what = "answers of models that an earlier run had asked for: their tokens and money count, seconds do not tell"
        quirks[what] = int((out / KEPT).read_text())
    (out / "report.md").write_text(render_markdown(config, summary, quirks), encoding="utf-8")
    (out / "report.html").write_text(render_html(config, summary, quirks, predictions, grades), encoding="utf-8")
    return summary


def terminal_table(config: RunConfig, summary: Summary) -> Table:
    """The main table, for the end of a run."""
    size = f"{summary.questions} questions, {summary.memories} memories"
    table = Table(title=f"{config.name}: {config.benchmark.name}, {size}")
    for column in ("reader", "controller"):
        table.add_column(column)
    for column in ("accuracy % [95% CI]", "yes/no", "unanswerable", "errors", "rounds", "s/question"):
        table.add_column(column, justify="right")
    for arm in summary.arms:
        table.add_row(*_main_row(config, arm))
    table.caption = (
        f"judge: {summary.judge}; always giving the commonest answer of a question's type: {100 * summary.majority:.1f}"
    )
    return table


def _main_row(config: RunConfig, arm: ArmSummary) -> list[str]:
    return [
        arm_label(config, arm.arm),
        controller_label(config),
        str(arm.accuracy),
        percent(arm.yes_no),
        percent(arm.unanswerable),
        str(arm.errors),
        f"{arm.rounds:.2f}",
        f"{arm.p50:.3f}",
    ]


def render_markdown(config: RunConfig, summary: Summary, quirks: dict[str, int]) -> str:
    """The report as Markdown."""
    parts = [
        f"# {config.name}: {config.benchmark.name}\n",
        f"{summary.questions} questions about {summary.memories} memories; controller: {controller_label(config)}; "
        f"judge: {summary.judge}. Intervals: 95%, bootstrap over memories. "
        f"Always giving the commonest answer of a question's type would score {100 * summary.majority:.1f}.\n",
        "## Accuracy, %\n",
        _table_of([_names(config, arm) | _accuracy(arm) for arm in summary.arms]),
        "## Accuracy by question type, %\n",
        markdown_table(["type", "n", *(arm_label(config, arm.arm) for arm in summary.arms)], _type_rows(summary)),
        "## Retrieval, %\n",
        _retrieval(config, summary),
        "## Cost\n",
        _table_of([_names(config, arm) | cost_row(config, arm) for arm in summary.arms]),
    ]
    if judged := [_names(config, arm) | _parses(arm) for arm in summary.arms if arm.parses_differ is not None]:
        parts += ["## Judge\n", _table_of(judged)]
    if quirks:
        parts += ["## Quirks of the data\n", "".join(f"- {name}: {count}\n" for name, count in quirks.items())]
    resolved = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return "\n".join([*parts, "## Set-up\n", f"```yaml\n{resolved}```\n"])


def _names(config: RunConfig, arm: ArmSummary) -> dict[str, str]:
    return {"reader": arm_label(config, arm.arm), "controller": controller_label(config)}


def _accuracy(arm: ArmSummary) -> dict[str, str]:
    return {
        "all": str(arm.accuracy),
        "yes/no": percent(arm.yes_no),
        "other answerable": percent(arm.open),
        "unanswerable": percent(arm.unanswerable),
        "token F1": percent(arm.f1),
        "errors": str(arm.errors),
        "unscored": str(arm.unscored),
    }


def _parses(arm: ArmSummary) -> dict[str, str]:
    differ = f"{100 * (arm.parses_differ or 0):.1f}"
    return {"replies that could not be read": str(arm.flagged), "strict and official differ %": differ}


def _type_rows(summary: Summary) -> list[list[str]]:
    names = sorted({name for arm in summary.arms for name in arm.by_type})
    counts = {name: next(arm.by_type[name].n for arm in summary.arms if name in arm.by_type) for name in names}
    return [[name, str(counts[name]), *(str(arm.by_type.get(name, "-")) for arm in summary.arms)] for name in names]


def _retrieval(config: RunConfig, summary: Summary) -> str:
    measured = [arm for arm in summary.arms if arm.retrieval]
    if not measured:
        return "No gold evidence, no ranking was asked for, or every read failed.\n"
    rows = [
        [measure.name, str(measure.value), f"{100 * measure.chance:.1f}", str(measure.value.n)]
        for arm in measured
        for measure in arm.retrieval
    ]
    table = markdown_table(["measure", "value", "chance", "n"], rows)
    readers = ", ".join(arm_label(config, arm.arm) for arm in measured)
    return f"A direct read of {readers} with the question; a random ranking beside.\n\n{table}"


def _table_of(rows: Sequence[dict[str, str]]) -> str:
    return markdown_table(list(rows[0]), [list(row.values()) for row in rows])
