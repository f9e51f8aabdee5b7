"""The rows of a run: what is appended is read back, a cut-off end is dropped, any other damage is an error."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.rows import Grade, Prediction, RowFile, Tokens, added
from linmem_langgraph.errors import ConfigError
from tests.evals.support import grade_of, prediction

HOSTILE = '</script>\n\r\n\x00\x1f\x85\u2028\u2029\ufeff"\'\\ 中文 🦊 {"a": [1]}'

ROWS = [
    prediction("q1", answer=HOSTILE, error=HOSTILE, messages=({"role": "human", "text": HOSTILE},)),
    prediction("q1", seed=1, ranking=(3, 1, 2), controller=Tokens(prompt=5, cached=3, completion=1)),
    prediction("q1", config="bead", arm="blind", gold=None, until=4, evidence=(1, 4), answerable=False),
    prediction("q2", seconds=0.1234567890123, forced=True),
]


@pytest.fixture
def file(tmp_path: Path) -> RowFile:
    file = RowFile(tmp_path / "rows.jsonl")
    for row in ROWS:
        file.append(row)
    return file


def test_rows_are_read_as_they_were_appended(file: RowFile) -> None:
    assert list(file.read(Prediction)) == ROWS
    assert len(file.path.read_bytes().split(b"\n")) == len(ROWS) + 1


@given(answer=st.text(), number=st.floats(0, 1e9))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives(tmp_path: Path, answer: str, number: float) -> None:
    file = RowFile(tmp_path / "rows.jsonl")
    file.path.unlink(missing_ok=True)
    rows = [
        prediction("q1", answer=answer, seconds=number, messages=({"role": "ai", "text": answer},)),
        prediction("q2"),
    ]
    for row in rows:
        file.append(row)

    assert list(file.read(Prediction)) == rows


@pytest.mark.parametrize(
    "fields",
    [
        {"answer": "lone \ud800 end", "error": "lone \ud800 end"},
        {"messages": ({"role": "ai", "text": "lone \ud800 end"},)},
    ],
    ids=["answer", "messages"],
)
def test_what_is_not_text_does_not_stop_a_run(tmp_path: Path, fields: dict[str, Any]) -> None:
    """It may come back spelled out, but the row comes back, and so does the next."""
    file = RowFile(tmp_path / "rows.jsonl")

    file.append(prediction("q1", **fields))
    file.append(prediction("q2"))

    assert [row.question_id for row in file.read(Prediction)] == ["q1", "q2"]


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.jsonl")
    file.mend()

    assert list(file.read(Prediction)) == []
    assert not file.path.exists()


def test_a_row_that_was_cut_off_anywhere_is_dropped_and_the_others_stay(file: RowFile) -> None:
    whole = file.path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last + 1, len(whole), 7):
        file.path.write_bytes(whole[:end])

        file.mend()

        assert list(file.read(Prediction)) == ROWS[:-1]
    file.append(ROWS[-1])
    assert file.path.read_bytes() == whole


def test_mending_leaves_a_whole_file_as_it_is(file: RowFile) -> None:
    whole = file.path.read_bytes()

    file.mend()

    assert file.path.read_bytes() == whole


def test_mending_a_file_of_one_cut_off_row_leaves_none(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.jsonl")
    file.path.write_text('{"arm": "main", "conf')

    file.mend()

    assert list(file.read(Prediction)) == []


def test_without_mending_a_cut_off_row_is_an_error(file: RowFile) -> None:
    file.path.write_bytes(file.path.read_bytes()[:-9])

    with pytest.raises(ConfigError, match=rf"rows\.jsonl, line {len(ROWS)}: not JSON, perhaps cut off"):
        list(file.read(Prediction))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"arm": "main", "conf', "not JSON"),
        ("[]", "expected an object"),
        ("{}", "field 'arm'"),
        ('{"arm": 3}', "field 'arm'"),
        ("\x00\x00\x00", "not JSON"),
    ],
)
def test_damage_in_the_middle_is_an_error_that_names_the_line(file: RowFile, line: str, said: str) -> None:
    first, _, *others = file.path.read_text(encoding="utf-8").split("\n")
    damaged = "\n".join([first, line, *others])
    file.path.write_text(damaged, encoding="utf-8")

    file.mend()

    with pytest.raises(ConfigError) as caught:
        list(file.read(Prediction))
    assert f"{file.path}, line 2" in str(caught.value)
    assert said in str(caught.value)
    assert file.path.read_text(encoding="utf-8") == damaged


def test_an_unknown_column_is_an_error(file: RowFile) -> None:
    file.path.write_text(file.path.read_text(encoding="utf-8").replace('"rounds"', '"round"', 1), encoding="utf-8")

    with pytest.raises(ConfigError, match="line 1, field 'round'"):
        list(file.read(Prediction))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"text": "Hello."}, "field 'messages.0.role': Field required"),
        ({"role": "ai", "text": 5}, "field 'messages.0.text'"),
        ({"role": "ai", "text": "", "calls": [{"name": "search"}]}, "field 'messages.0.calls.0.args'"),
        ({"role": "ai", "text": "", "call": []}, "field 'messages.0.call': unknown; choose role, text, calls, "),
        (
            {"role": "ai", "text": "", "calls": [{"name": "a", "args": {}, "id": 1}]},
            "field 'messages.0.calls.0.id': unknown; choose name, args",
        ),
    ],
)
def test_a_dialogue_that_no_report_could_show_is_an_error(file: RowFile, message: dict[str, Any], said: str) -> None:
    row = {**ROWS[3].model_dump(mode="json"), "question_id": "q9", "messages": [message]}
    file.path.write_text(json.dumps(row))

    with pytest.raises(ConfigError) as caught:
        list(file.read(Prediction))
    assert f"{file.path}, line 1, {said}" in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_figure_that_is_no_number_is_an_error(tmp_path: Path, number: str) -> None:
    """It would make every mean it goes into no number either."""
    file = RowFile(tmp_path / "scores.jsonl")
    file.append(grade_of(ROWS[0], "correct", f1=0.5))
    file.path.write_text(file.path.read_text().replace('"f1": 0.5', f'"f1": {number}'))

    with pytest.raises(ConfigError, match=r"scores\.jsonl, line 1, field 'f1': Input should be a finite number"):
        list(file.read(Grade))


@pytest.mark.parametrize("arguments", [{"\ud800": {"\udfff": "\ud800"}}, {"limit": float("nan")}, {"a": [[[]]] * 3}])
def test_whatever_a_model_calls_a_tool_with_is_kept(tmp_path: Path, arguments: dict[str, Any]) -> None:
    file = RowFile(tmp_path / "rows.jsonl")
    said = {"role": "ai", "text": "", "calls": [{"name": "search_memory", "args": arguments}]}

    file.append(prediction("q1", messages=(said,)))

    [row] = file.read(Prediction)
    assert repr(row.messages) == repr((said,))


def test_a_row_that_stands_there_twice_is_an_error(file: RowFile) -> None:
    file.append(ROWS[0].model_copy(update={"answer": "another"}))

    with pytest.raises(ConfigError, match=rf"line {len(ROWS) + 1}: question 'q1' of arm 'main' stands there twice"):
        list(file.read(Prediction))


def test_a_long_name_does_not_make_a_long_message(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.jsonl")
    for _ in range(2):
        file.append(prediction("q" * 100_000, arm="a" * 100_000))

    with pytest.raises(ConfigError, match=r"line 2: question 'qqq.* stands there twice") as caught:
        list(file.read(Prediction))
    assert len(str(caught.value)) < 1_000


def test_many_threads_may_append(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.jsonl")
    rows = [prediction(f"q{number}", answer=HOSTILE * number) for number in range(60)]

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(file.append, rows))

    assert sorted(file.read(Prediction), key=lambda row: row.key) == sorted(rows, key=lambda row: row.key)


@pytest.mark.parametrize(("label", "score"), [("correct", 1.0), ("incorrect", 0.0), ("error", 0.0), ("unscored", 0.0)])
def test_only_what_is_correct_scores(label: str, score: float) -> None:
    assert grade_of(ROWS[0], label).score == score


def test_a_row_is_on_the_disk_when_append_returns(file: RowFile, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("evals.rows.os.fsync", lambda number: synced.append(os.fstat(number).st_size))

    file.append(prediction("q9"))

    assert synced == [file.path.stat().st_size]


def test_tokens_add_up() -> None:
    total = added([Tokens(prompt=1, cached=2, completion=3), Tokens(prompt=10, cached=20, completion=30)])

    assert total == Tokens(prompt=11, cached=22, completion=33)
    assert added([]) == Tokens()
