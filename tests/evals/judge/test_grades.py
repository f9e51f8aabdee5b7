"""Every row gets a grade; judging goes on where it stopped, and another judge or answer begins anew."""

from itertools import count
from pathlib import Path

import pytest

from evals.judge import judge
from evals.rows import RowFile
from linmem_langgraph.errors import ConfigError
from tests.evals.judge.judging import MODEL, PREDICTIONS, config, judging, labels, written
from tests.evals.support import prediction


def test_every_row_gets_a_grade_and_errors_are_errors(out: Path) -> None:
    grades = judge(config(), out)

    assert labels(grades) == {
        "right": "correct",
        "wrong": "incorrect",
        "empty": "incorrect",
        "failed": "error",
        "note": "unscored",
        "unknown": "correct",
    }
    assert [grade.key for grade in grades] == [row.key for row in PREDICTIONS]
    assert sorted(written(out), key=lambda row: row.key) == sorted(grades, key=lambda row: row.key)
    assert {grade.judge for grade in grades} == {"lexical"}
    assert {grade.question_id: grade.f1 for grade in grades}["right"] == pytest.approx(2 / 3)


def test_a_list_is_right_when_each_of_its_items_is_told_in_any_order(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "predictions.jsonl")
    answers = {
        "all": "The coins, then a red mug.",
        "other words": "A red cup, coins",
        "one": "the red mug",
        "none": "no",
    }
    for name, answer in answers.items():
        file.append(prediction(name, gold="red mug, coins", answer=answer))
    file.append(prediction("unknown", gold="not in memory", answerable=False, answer="I don't know."))

    grades = judge(config({"kind": "keywords"}), tmp_path)

    assert [name for name, label in labels(grades).items() if label == "correct"] == ["all", "unknown"]
    assert {grade.judge for grade in grades} == {"keywords"}


def test_a_judge_that_times_out_is_an_error_of_ours_and_loses_nothing(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = count()

    def say(text: str) -> str:
        if next(turns) == 1:
            raise TimeoutError("no reply")
        return "yes"

    judging(monkeypatch, say)
    with pytest.raises(ConfigError, match="no reply"):
        judge(config(MODEL), out)


def test_after_a_judge_that_failed_judging_goes_on(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = count()

    def say(text: str) -> str:
        if next(turns) == 2:
            raise TimeoutError("no reply")
        return "yes"

    model = judging(monkeypatch, say)
    with pytest.raises(Exception, match="no reply"):
        judge(config(MODEL), out)
    done = written(out)
    assert 0 < len(done) < len(PREDICTIONS)

    grades = judge(config(MODEL), out)

    assert len(model.sent) == 3 + 1  # three in the first run, the last of which failed
    assert set(labels(grades)) == {row.question_id for row in PREDICTIONS}
    assert all(grade in grades for grade in done)


def test_judging_again_asks_nothing_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = judging(monkeypatch, lambda text: "yes")
    first = judge(config(MODEL), out)
    asked = len(model.sent)

    again = judge(config(MODEL), out)

    assert again == first
    assert len(model.sent) == asked


def test_judging_goes_on_after_a_cut_off_grade(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = judging(monkeypatch, lambda text: "yes")
    first = judge(config(MODEL), out)
    file = out / "scores.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:20])
    model.sent.clear()

    again = judge(config(MODEL), out)

    assert again == first
    assert len(model.sent) == 2  # "right" was kept; "wrong" and "unknown" are the others that a model is asked about
    assert sorted(written(out), key=lambda row: row.key) == sorted(first, key=lambda row: row.key)


def test_another_judge_replaces_the_grades_and_leaves_the_predictions(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = (out / "predictions.jsonl").read_bytes()
    judge(config(), out)
    judging(monkeypatch, lambda text: "no")

    strict = judge(config(MODEL), out)
    assert written(out) == strict
    assert labels(strict)["right"] == "incorrect"

    judging(monkeypatch, lambda text: "yesterday")
    official = judge(config({**MODEL, "parse": "official"}), out)
    assert written(out) == official
    assert {grade.judge for grade in official} != {grade.judge for grade in strict}
    assert (out / "predictions.jsonl").read_bytes() == predictions


def test_another_answer_gets_another_grade(out: Path) -> None:
    judge(config(), out)
    (out / "predictions.jsonl").unlink()
    RowFile(out / "predictions.jsonl").append(PREDICTIONS[0].model_copy(update={"answer": "In the garden."}))

    assert labels(judge(config(), out)) == {"right": "incorrect"}


def test_another_server_is_another_judge(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = judging(monkeypatch, lambda text: "no")
    judge(config(MODEL), out)
    asked = len(model.sent)

    judge(
        config({"kind": "model", "model": {"model": "openai:judge", "options": {"base_url": "http://other/v1"}}}), out
    )

    assert len(model.sent) > asked


def test_grades_of_rows_that_are_gone_go_too(out: Path) -> None:
    judge(config(), out)
    lines = (out / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (out / "predictions.jsonl").write_bytes(b"".join(lines[:2]))

    assert len(judge(config(), out)) == 2
    assert len(written(out)) == 2


def test_progress_ends_at_all(out: Path) -> None:
    told: list[tuple[int, int]] = []

    judge(config(), out, lambda done, total: told.append((done, total)))

    assert told == [(done, len(PREDICTIONS)) for done in range(1, len(PREDICTIONS) + 1)]


@pytest.mark.parametrize("kind", ["model", "lexical"])
def test_without_predictions_there_is_nothing_to_judge(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigError, match="run predict first"):
        judge(config({"kind": kind}), tmp_path)


def test_damaged_predictions_are_an_error_and_the_grades_stay(out: Path) -> None:
    judge(config(), out)
    grades = (out / "scores.jsonl").read_bytes()
    file = out / "predictions.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"answer"', '"anwser"', 1), encoding="utf-8")

    with pytest.raises(ConfigError, match="line 1, field 'anwser'"):
        judge(config(), out)
    assert (out / "scores.jsonl").read_bytes() == grades


def test_damaged_grades_are_an_error(out: Path) -> None:
    judge(config(), out)
    file = out / "scores.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join([*lines, lines[0]]), encoding="utf-8")

    with pytest.raises(ConfigError, match="twice"):
        judge(config(), out)
