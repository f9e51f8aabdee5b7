"""A run as LangSmith's experiments, on a local server of its API."""

import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from evals.cli import main
from evals.config import RunConfig, load_config
from evals.judge import judge
from evals.langsmith import connected
from evals.predict import predict
from evals.rows import Grade, Prediction, RowFile
from evals.sample.generate import generate, write
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.testing import LangSmithServer, TracedRun, langsmith_server
from linmem_langgraph.testing._langsmith_api import Api, Refusal
from tests.evals.support import run_config

__all__ = ["langsmith_server"]

NARROW, WIDE = (
    {"name": "chroma", "options": {"embeddings": "lexical", "by": "position", "limit": limit}} for limit in (1, 3)
)


@pytest.fixture
def server(langsmith_server: LangSmithServer, monkeypatch: pytest.MonkeyPatch) -> LangSmithServer:
    """What is sent to it is what is sent by hand: tracing is off."""
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    return langsmith_server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two households, four questions of each."""
    folder = tmp_path_factory.mktemp("households")
    write(folder, *generate(worlds=2, clips=12, questions=4, seed=7))
    return folder


def configured(data: Path, **changes: Any) -> RunConfig:
    fields = {"name": "both", "reader": NARROW, "compared": {"wide": WIDE}, "controls": [], "ranking": 0}
    return run_config(data, **{**fields, **changes})


def send(config: RunConfig, out: Path) -> str:
    with connected() as sender:
        return sender.send(config, out)


def predicted(out: Path) -> list[Prediction]:
    return list(RowFile(out / "predictions.jsonl").read(Prediction))


def graded(out: Path) -> list[Grade]:
    return list(RowFile(out / "scores.jsonl").read(Grade))


def scores(server: LangSmithServer, key: str) -> dict[tuple[str, str], float]:
    """The feedback of that name, by arm and question."""
    arms = {id: project["extra"]["metadata"]["arm"] for id, project in server.projects.items()}
    runs = {run.id: (arms[run.fields["session_id"]], run.metadata["question_id"]) for run in server.roots()}
    given = [each for each in server.feedback.values() if each["key"] == key]
    found = {runs[each["run_id"]]: each["score"] for each in given}
    assert len(found) == len(given)
    return found


def judged(out: Path, field: str) -> dict[tuple[str, str], float]:
    return {(grade.arm, grade.question_id): getattr(grade, field) for grade in graded(out)}


def test_two_readers_are_two_experiments_over_one_dataset(server: LangSmithServer, data: Path, tmp_path: Path) -> None:
    config = configured(data)
    rows = predict(config, tmp_path)
    judge(config, tmp_path)
    url = send(config, tmp_path)

    (dataset,) = server.datasets.values()
    assert {example["dataset_id"] for example in server.examples.values()} == {dataset["id"]}
    assert len(server.examples) == 8
    assert {project["reference_dataset_id"] for project in server.projects.values()} == {dataset["id"]}
    told = {project["extra"]["metadata"]["reader"] for project in server.projects.values()}
    assert (len(server.projects), told) == (2, {"chroma (lexical)"})
    assert all(f"{id}" in url for id in server.projects)
    answered: dict[str, dict[str | None, TracedRun]] = {}
    for run in server.roots():
        answered.setdefault(run.project, {})[run.example] = run
    assert [set(runs) for runs in answered.values()] == [set(server.examples)] * 2
    by_question = {(row.arm, row.question_id): row for row in rows}
    for project in server.projects.values():
        for example, run in answered[project["name"]].items():
            row = by_question[project["extra"]["metadata"]["arm"], run.metadata["question_id"]]
            assert run.outputs == {"answer": row.answer}
            assert run.inputs["question"] == row.question == server.examples[str(example)]["inputs"]["question"]
            assert server.examples[str(example)]["outputs"] == {"answer": row.gold}


def test_feedback_is_what_the_judge_gave(server: LangSmithServer, data: Path, tmp_path: Path) -> None:
    config = configured(data)
    predict(config, tmp_path)
    judge(config, tmp_path)
    send(config, tmp_path)
    assert scores(server, "correct") == judged(tmp_path, "score")
    assert scores(server, "f1") == pytest.approx(judged(tmp_path, "f1"), abs=1e-4)  # as the client rounds it
    assert len({*scores(server, "correct").values()}) == 2


def test_another_run_is_an_experiment_over_the_same_examples(
    server: LangSmithServer, data: Path, tmp_path: Path
) -> None:
    for name, reader in {"one": NARROW, "other": WIDE}.items():
        config = configured(data, name=name, reader=reader, compared={})
        predict(config, tmp_path / name)
        send(config, tmp_path / name)
    assert (len(server.datasets), len(server.examples), len(server.projects)) == (1, 8, 2)
    assert sorted(run.project.rpartition("-")[0] for run in server.roots()) == ["one-chroma"] * 8 + ["other-chroma"] * 8
    assert len({run.example for run in server.roots()}) == 8


def test_a_run_that_goes_on_sends_what_is_new(server: LangSmithServer, data: Path, tmp_path: Path) -> None:
    few, all = configured(data, limit=1), configured(data)
    predict(few, tmp_path)
    send(few, tmp_path)
    assert len(server.roots()) == 4
    predict(all, tmp_path)
    judge(all, tmp_path)
    for _ in range(2):
        send(all, tmp_path)
    assert (len(server.roots()), len(server.projects), len(server.datasets)) == (16, 2, 1)
    assert scores(server, "correct") == judged(tmp_path, "score")
    posted = b"".join(server.received).count(b'name="post.')
    assert posted == 16 * 4  # the run, its inputs, its outputs, its metadata


def test_an_answer_that_was_asked_again_takes_the_place_of_the_first(
    server: LangSmithServer, data: Path, tmp_path: Path
) -> None:
    config = configured(data, compared={})
    rows = predict(config, tmp_path)
    broken = [row.model_copy(update={"answer": "", "error": "memory is unavailable"}) for row in rows]
    file = RowFile(tmp_path / "predictions.jsonl")
    for kept in (broken, rows):
        file.replace(kept)
        judge(config, tmp_path)
        send(config, tmp_path)
        assert len(server.roots()) == 8
        assert {run.error or "" for run in server.roots()} == {row.error for row in kept}
        assert scores(server, "correct") == judged(tmp_path, "score")
    assert {(run.metadata["question_id"], (run.outputs or {})["answer"]) for run in server.roots()} == {
        (row.question_id, row.answer) for row in rows
    }


def test_a_grade_of_another_answer_is_not_sent(server: LangSmithServer, data: Path, tmp_path: Path) -> None:
    config = configured(data, compared={})
    rows = predict(config, tmp_path)
    judge(config, tmp_path)
    RowFile(tmp_path / "predictions.jsonl").replace([row.model_copy(update={"answer": "else"}) for row in rows])
    send(config, tmp_path)
    assert (len(server.roots()), server.feedback) == (8, {})


def test_what_could_not_be_sent_is_an_error_and_is_sent_again(
    server: LangSmithServer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(data, compared={})
    predict(config, tmp_path)

    def refuse(self: Api, name: str, value: bytes) -> NoReturn:
        raise Refusal(403, "over the quota")

    with monkeypatch.context() as broken:
        broken.setattr(Api, "_take_part", refuse)
        with pytest.raises(ConfigError, match="did not take it all"):
            send(config, tmp_path)
    send(config, tmp_path)
    assert (len(server.roots()), len(server.projects)) == (8, 1)


# --- the command


@pytest.fixture
def config_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(configured(data).model_dump(mode="json")))
    return file


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["python -m evals", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_run_sends_answers_and_grades(
    server: LangSmithServer,
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(monkeypatch, "run", "-c", str(config_file), "--out", "out", "--langsmith") == 0
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("experiments: http://")]
    assert all(id in said for id in server.projects)
    assert scores(server, "correct") == judged(tmp_path / "out", "score")


def test_predict_sends_answers_and_judge_sends_grades(
    server: LangSmithServer, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(monkeypatch, "predict", "-c", str(config_file), "--out", "out", "--langsmith") == 0
    assert (len(server.roots()), server.feedback) == (16, {})
    assert command(monkeypatch, "judge", "--out", "out", "--langsmith") == 0
    assert (len(server.roots()), len(server.projects)) == (16, 2)
    assert scores(server, "correct") == judged(tmp_path / "out", "score")
    assert load_config(tmp_path / "out" / "config.yaml") == load_config(config_file)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LANGSMITH_API_KEY": ""}, "--langsmith needs a key: set LANGSMITH_API_KEY"),
        ({"LANGSMITH_API_KEY": "wrong"}, "LangSmithAuthError"),
        ({"LANGSMITH_ENDPOINT": "http://127.0.0.1:9"}, "LangSmith at http://127.0.0.1:9 cannot be used"),
    ],
)
@pytest.mark.parametrize("name", ["predict", "run"])
def test_without_langsmith_nothing_is_asked(
    server: LangSmithServer,
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    environment: dict[str, str],
    said: str,
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert command(monkeypatch, name, "-c", str(config_file), "--out", "out", "--langsmith") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
