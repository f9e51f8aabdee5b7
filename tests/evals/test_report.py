"""report: the same figures as the rows have, in Markdown and in the terminal, and clear errors without rows."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from evals.config import RunConfig
from evals.judge import judge
from evals.labels import arm_label, controller_label
from evals.predict import predict
from evals.report import render_markdown, report, terminal_table
from evals.rows import Grade, Prediction, RowFile
from evals.samples import Sample
from evals.summary import Summary, summarize_run
from linmem_langgraph.errors import ConfigError
from tests.evals.support import grade_of, prediction, run_config, write_household

ARMS = ("main", "blind", "oracle")
CLIPS = {"home": {clip: [f"Anna counts {clip} birds."] for clip in range(4)}, "other": {0: ["Bob sleeps."]}}
SAMPLES = [
    Sample(id="q1", memory="home", question="Who counts 2 birds?", answer="Anna", types=("who",), evidence=(2,)),
    Sample(id="q2", memory="other", question="Does Bob sleep?", answer="yes", types=("yes_no",), evidence=(0,)),
]


def rows_of(arms: Sequence[str] = ARMS, labels: Sequence[str] = ("correct", "incorrect", "error", "unscored")) -> Any:
    """Four questions an arm, one of each label."""
    rows = [
        prediction(
            f"q{number}",
            arm=arm,
            config=arm,
            memory=f"m{number % 2}",
            types=("a|b", "c") if number % 2 else ("c",),
            gold=None if label == "unscored" else "yes",
            error="TimeoutError" if label == "error" else "",
            evidence=(1,),
            ranking=(1, 0) if arm == "main" else (),
            candidates=4,
        )
        for arm in arms
        for number, label in enumerate(labels)
    ]
    return rows, [grade_of(row, labels[int(row.question_id[1:])]) for row in rows]


def markdown(rows: Sequence[Prediction], grades: Sequence[Grade]) -> str:
    return render_markdown(run_config(None), summarize_run(rows, grades), {})


def cells(text: str, heading: str) -> list[list[str]]:
    """The rows of the table below a heading, its head first."""
    section = text.split(f"## {heading}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert all(len(row) == len(table[0]) for row in table), table
    return [table[0], *table[2:]]


@pytest.mark.parametrize("arms", [("main",), ARMS])
def test_the_accuracies_are_those_of_the_rows(arms: Sequence[str]) -> None:
    head, *rows = cells(markdown(*rows_of(arms)), "Accuracy, %")

    assert head == [
        "reader",
        "controller",
        "all",
        "yes/no",
        "other answerable",
        "unanswerable",
        "token F1",
        "errors",
        "unscored",
    ]
    assert [row[0] for row in rows] == [arm_label(run_config(None), arm) for arm in arms]
    for row in rows:
        assert row[2].startswith("33.3 [")  # 1 of 3: the error counts, what cannot be scored does not
        assert row[3:] == ["33.3", "-", "-", "0.0", "1", "1"]


def test_the_types_add_up_and_a_bar_in_a_name_does_not_break_the_table() -> None:
    _, *rows = cells(markdown(*rows_of()), "Accuracy by question type, %")

    assert [row[:2] for row in rows] == [["a\\|b", "1"], ["c", "3"]]
    assert [row[2].split()[0] for row in rows] == ["0.0", "33.3"]


def test_retrieval_stands_beside_chance() -> None:
    _, *rows = cells(markdown(*rows_of()), "Retrieval, %")

    assert [(row[0], row[1].split()[0], row[2], row[3]) for row in rows] == [
        ("Hit@1", "100.0", "25.0", "4"),
        ("Near hit@1", "100.0", "75.0", "4"),
        ("Recall@1", "100.0", "25.0", "4"),
        ("MRR@2", "100.0", "37.5", "4"),
    ]


def test_without_a_ranking_the_report_says_so() -> None:
    rows, grades = rows_of()
    bare = [row.model_copy(update={"ranking": ()}) for row in rows]

    assert "No gold evidence, no ranking was asked for, or every read failed." in markdown(bare, grades)


@pytest.mark.parametrize("label", ["error", "unscored"])
def test_a_run_of_nothing_else_renders(label: str) -> None:
    text = markdown(*rows_of(labels=[label] * 4))

    _, *rows = cells(text, "Accuracy, %")
    assert [row[7 if label == "error" else 8] for row in rows] == ["4"] * 3
    assert not re.search(r"\bnan\b", text)


def test_one_memory_renders_though_it_has_no_interval() -> None:
    row = prediction()

    text = markdown([row], [grade_of(row, "correct")])

    assert cells(text, "Accuracy, %")[1][2].startswith("100.0")


def test_one_memory_shows_no_nan() -> None:
    row = prediction()

    assert not re.search(r"\bnan\b", markdown([row], [grade_of(row, "correct")]))


def test_flagged_replies_and_differing_parses_are_reported() -> None:
    rows, _ = rows_of(("main",))
    grades = [grade_of(row, "incorrect", flagged=index == 0, other="correct") for index, row in enumerate(rows)]

    head, row = cells(markdown(rows, grades), "Judge")

    assert head[2:] == ["replies that could not be read", "strict and official differ %"]
    assert row[2:] == ["1", "100.0"]


def test_quirks_and_set_up_are_told() -> None:
    quirks = {"evidence strings that resolve to no turn": 3}
    text = render_markdown(run_config(None), summarize_run(*rows_of()), quirks)

    assert "- evidence strings that resolve to no turn: 3\n" in text
    resolved = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert RunConfig.model_validate(resolved) == run_config(None)


def printed(config: RunConfig, summary: Summary) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(terminal_table(config, summary))
        return console.export_text()


def test_the_terminal_table_has_a_row_an_arm() -> None:
    text = printed(run_config(None), summarize_run(*rows_of()))

    for arm in ARMS:
        (line,) = [line for line in text.splitlines() if arm_label(run_config(None), arm) in line]
        assert "33.3 [" in line
    assert "judge: lexical" in text


def test_the_offline_controller_is_called_what_it_is_everywhere() -> None:
    label = "extractive baseline"
    rows, grades = rows_of()
    summary = summarize_run(rows, grades)

    assert label in controller_label(run_config(None))
    assert f"controller: {label}" in markdown(rows, grades)
    assert printed(run_config(None), summary).count(label) == 3
    assert controller_label(run_config(None, controller={"model": "openai:gpt-5-mini"})) == "openai:gpt-5-mini"


def test_every_table_names_the_offline_controller() -> None:
    for heading in ("Accuracy, %", "Cost"):
        assert "extractive baseline" in str(cells(markdown(*rows_of()), heading))


@pytest.mark.parametrize(
    ("options", "label"), [({}, "chroma"), ({"embeddings": "lexical"}, "chroma (lexical)"), ({"limit": 3}, "chroma")]
)
def test_the_reader_is_named_with_its_embeddings(options: dict[str, Any], label: str) -> None:
    assert arm_label(run_config(None, reader={"name": "chroma", "options": options}), "main") == label


@pytest.mark.parametrize(("model", "label"), [("vllm:", "linear"), ("tiny:hybrid", "linear (tiny:hybrid)")])
def test_a_reader_that_is_compared_is_named_with_its_model(model: str, label: str) -> None:
    compared = {"linear": {"name": "linear", "options": {"model": model}}}
    assert arm_label(run_config(None, compared=compared), "linear") == label


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunConfig, Path]:
    """A run that was predicted and judged."""
    config = run_config(write_household(tmp_path / "data", CLIPS, SAMPLES))
    predict(config, tmp_path / "out")
    judge(config, tmp_path / "out")
    return config, tmp_path / "out"


def test_both_reports_are_written(run: tuple[RunConfig, Path]) -> None:
    config, out = run

    summary = report(config, out)

    assert summary.questions == 2
    assert "2 questions about 2 memories" in (out / "report.md").read_text(encoding="utf-8")
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_reporting_again_writes_the_same(run: tuple[RunConfig, Path]) -> None:
    report(*run)
    first = {name: (run[1] / name).read_bytes() for name in ("report.md", "report.html")}

    report(*run)

    assert {name: (run[1] / name).read_bytes() for name in first} == first


def test_missing_predictions_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"predictions\.jsonl has no rows: run predict first"):
        report(run_config(None), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_grades_are_an_error(run: tuple[RunConfig, Path]) -> None:
    config, out = run
    (out / "scores.jsonl").unlink()

    with pytest.raises(ConfigError, match=r"6 of 6 predictions in .* have no grade: run judge first"):
        report(config, out)


def test_a_missing_grade_is_an_error(run: tuple[RunConfig, Path]) -> None:
    config, out = run
    lines = (out / "scores.jsonl").read_bytes().splitlines(keepends=True)
    (out / "scores.jsonl").write_bytes(b"".join(lines[:-1]))

    with pytest.raises(ConfigError, match=r"1 of 6 predictions .* have no grade"):
        report(config, out)


def test_damaged_rows_are_an_error(run: tuple[RunConfig, Path]) -> None:
    config, out = run
    with (out / "scores.jsonl").open("a") as file:
        file.write('{"arm": "ma')

    with pytest.raises(ConfigError, match=r"scores\.jsonl, line 7: not JSON, perhaps cut off"):
        report(config, out)


def test_an_unfinished_run_is_not_reported_as_if_it_were_whole(run: tuple[RunConfig, Path]) -> None:
    config, out = run
    for name in ("predictions.jsonl", "scores.jsonl"):
        rows = [line for line in (out / name).read_text(encoding="utf-8").splitlines(keepends=True) if '"q1"' in line]
        assert len(rows) == 3
        (out / name).write_text("".join(rows), encoding="utf-8")

    with pytest.raises(ConfigError, match="3 of 6"):
        report(config, out)


def test_an_arm_without_a_type_does_not_end_the_report_in_a_traceback(run: tuple[RunConfig, Path]) -> None:
    config, out = run
    rows = list(RowFile(out / "predictions.jsonl").read(Prediction))
    kept = [row for row in rows if row.arm == "main" or row.question_id == "q1"]
    (out / "predictions.jsonl").unlink()
    for row in kept:
        RowFile(out / "predictions.jsonl").append(row)
    judge(config, out)

    try:
        report(config, out)
    except ConfigError as exc:
        assert "predict" in str(exc)  # noqa: PT017 - a clear refusal is as good as a report


def test_the_page_of_a_large_run_stays_under_10_mb(big_run: Path) -> None:
    assert (big_run / "report.html").stat().st_size < 10_000_000
    assert (big_run / "predictions.jsonl").stat().st_size > 20_000_000
