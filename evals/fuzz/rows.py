"""The files of a run, `predictions.jsonl` and `scores.jsonl`: rows, or refused with `ConfigError`."""

import json
from collections.abc import Sequence
from pathlib import Path

from evals.fuzz.documents import damaged_jsonl
from evals.fuzz.files import json_target
from evals.fuzz.run import Target
from evals.rows import Grade, Prediction, Row, RowFile, Tokens

_KEY = {"config": "c0ffee", "seed": 0}

PREDICTIONS = (
    Prediction(
        **_KEY,
        arm="main",
        question_id="q1",
        memory="home",
        question="Who took the mug?",
        gold="Anna",
        types=("who",),
        until=7,
        evidence=(0, 5),
        answerable=True,
        answer="Anna. 中文 🦊",
        rounds=2,
        searches=1,
        seconds=0.125,
        controller=Tokens(prompt=5, cached=3, completion=1),
        messages=(
            {"role": "human", "text": "Who took the mug?"},
            {"role": "ai", "text": "", "calls": [{"name": "search_memory", "args": {"query": "mug", "seen": [1]}}]},
            {"role": "tool", "text": "[0] Anna takes it.", "positions": [0]},
        ),
        shown=(0,),
        ranking=(0, 5),
        candidates=2,
    ),
    Prediction(
        **_KEY,
        arm="blind",
        question_id="q2",
        memory="home",
        question="Where?",
        gold=None,
        types=(),
        until=None,
        evidence=(),
        answerable=False,
        error="TimeoutError: late",
    ),
)
GRADES = (
    Grade(**_KEY, arm="main", question_id="q1", label="correct", f1=0.5, judge="lexical", answer="9f86", raw="yes"),
    Grade(**_KEY, arm="blind", question_id="q2", label="unscored", f1=0.0, judge="lexical", other="correct"),
)


def targets(folder: Path) -> dict[str, Target]:
    """The kinds of files, by name; each has a folder of its own below `folder`."""
    return {
        "predictions": _target(folder / "predictions", Prediction, PREDICTIONS),
        "scores": _target(folder / "scores", Grade, GRADES),
    }


def _target(folder: Path, model: type[Row], rows: Sequence[Row]) -> Target:
    folder.mkdir()
    name = f"{folder.name}.jsonl"
    file = RowFile(folder / name)
    for row in rows:
        file.append(row)
    whole = file.path.read_bytes()
    return json_target(folder, name, whole, damaged_jsonl, lambda: list(file.read(model)), check)


def check(rows: Sequence[Row]) -> None:
    """Raises AssertionError unless rows can be written again as they were, and stand there once."""
    assert len({row.key for row in rows}) == len(rows), "a row stands there twice"
    for row in rows:
        written = json.dumps(row.model_dump())
        assert json.dumps(type(row).model_validate(json.loads(written)).model_dump()) == written, f"{row!r:.500}"
