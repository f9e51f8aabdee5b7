"""A controller that raises or misbehaves is a row, and the run goes on."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call

from evals.judge import judge
from evals.predict import predict
from evals.report import report
from tests.evals.predict.failing import always, later, on, raising
from tests.evals.predict.runs import ARMS, content, written
from tests.evals.support import Hook, run_config
from tests.graphs.scripted import using


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (raising(TimeoutError("no reply in 60 s")), "TimeoutError: no reply in 60 s"),
        (later(TimeoutError("no reply in 60 s")), "TimeoutError: no reply in 60 s"),
        (raising(RuntimeError("out of memory")), "RuntimeError: out of memory"),
        (raising(ValueError("bad \ud800 text")), "ValueError: bad"),
    ],
    ids=["times out", "times out later", "raises", "raises what is not text"],
)
def test_a_controller_that_raises_is_an_error_row_and_the_run_goes_on(
    secrets: Path, tmp_path: Path, controlled: Callable[[Hook], None], act: Any, error: str
) -> None:
    controlled(on(2, act))
    out = tmp_path / "out"

    rows = predict(run_config(secrets), out)

    assert len(rows) == len(written(out)) == 15
    assert {row.question_id: row.error.startswith(error) for row in rows if row.error} == {"2@None": True}
    assert sum(bool(row.error) for row in rows) == 3
    grades = judge(run_config(secrets), out)
    assert Counter(grade.label for grade in grades)["error"] == 3
    summary = report(run_config(secrets), out)
    assert [(arm.arm, arm.errors, arm.accuracy.n) for arm in summary.arms] == [(arm, 1, 5) for arm in ARMS]
    assert summary.arms[0].accuracy.mean == pytest.approx(4 / 5)


def test_an_error_row_keeps_the_rounds_before_it(
    secrets: Path, tmp_path: Path, controlled: Callable[[Hook], None]
) -> None:
    controlled(on(2, later(TimeoutError("no reply"))))

    rows = predict(run_config(secrets, controls=[]), tmp_path / "out")

    (row,) = [row for row in rows if row.error]
    assert [message["role"] for message in row.messages] == ["human", "ai", "tool"]


UNKNOWN_TOOL = using("delete_everything", query="x")
NO_JSON = AIMessage("", invalid_tool_calls=[invalid_tool_call(name="search_memory", args="{", id="1", error="cut off")])

NESTED: Any = "x"
for _ in range(300):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("message", "answer", "expected"),
    [
        (AIMessage(""), "", {"rounds": 5, "searches": 0, "unparsable": 5, "forced": True}),
        (AIMessage(" \n"), "", {"rounds": 5, "searches": 0, "unparsable": 5, "forced": True}),
        (AIMessage([]), "", {"rounds": 5, "searches": 0, "unparsable": 5, "forced": True}),
        (NO_JSON, "", {"rounds": 5, "searches": 0, "unparsable": 5, "forced": True}),
        (UNKNOWN_TOOL, "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (using("search_memory"), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (using("search_memory", query=""), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (
            using("search_memory", query="x", filter={"position": {"$like": 3}}),
            "",
            {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True},
        ),
        (using("search_memory", query=NESTED), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (
            using("search_memory", query="x", filter={"\ud800": NESTED}),
            "",
            {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True},
        ),
        (using("search_memory", query=float("nan")), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (using("search_memory", **{"\ud800": 1}), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (AIMessage("lone \ud800 end"), None, {"rounds": 1, "searches": 0, "unparsable": 0, "forced": False}),
        (AIMessage("long " * 200_000), None, {"rounds": 1, "searches": 0, "unparsable": 0, "forced": False}),
        (AIMessage([{"type": "text", "text": "w2q"}]), "w2q", {"rounds": 1, "forced": False}),
    ],
    ids=[
        *("empty", "blank", "no content", "arguments cut off", "unknown tool", "no query", "empty query"),
        *("bad filter", "deep query", "deep filter", "no number", "odd name"),
        *("lone surrogate", "1 MB", "content blocks"),
    ],
)
def test_a_controller_that_misbehaves_is_a_row_with_marks_and_the_run_goes_on(
    secrets: Path,
    tmp_path: Path,
    controlled: Callable[[Hook], None],
    message: AIMessage,
    answer: str | None,
    expected: dict[str, Any],
) -> None:
    controlled(on(2, always(message)))
    out = tmp_path / "out"

    rows = predict(run_config(secrets, controls=[]), out)

    assert len(rows) == 5
    assert content(written(out)) == content(rows)
    for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=pytest.fail)
    (row,) = [row for row in rows if row.question_id == "2@None"]
    assert row.error == ""
    assert {name: getattr(row, name) for name in expected} == expected
    if answer is not None:
        assert row.answer == answer
    others = [row for row in rows if row.question_id != "2@None"]
    assert all((row.rounds, row.error) == (2, "") for row in others)
    config = run_config(secrets, controls=[])
    labels = {grade.question_id: grade.label for grade in judge(config, out)}
    assert labels["2@None"] == ("correct" if answer == "w2q" else "incorrect")
    assert report(config, out).arms[0].accuracy.n == 5


def test_the_largest_number_of_rounds_can_be_spent(
    secrets: Path, tmp_path: Path, controlled: Callable[[Hook], None]
) -> None:
    controlled(on(2, always(using("search_memory", query="word"))))

    rows = predict(run_config(secrets, controls=[], max_rounds=50), tmp_path / "out")

    (row,) = [row for row in rows if row.question_id == "2@None"]
    assert (row.error, row.rounds, row.searches, row.forced) == ("", 50, 49, True)
