"""Answers to be judged, and a judge whose words are fixed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.config import RunConfig
from evals.rows import Grade, RowFile
from tests.evals.support import SayingModel, prediction, run_config

MODEL = {"kind": "model", "model": {"model": "openai:judge"}}

PREDICTIONS = [
    prediction("right", answer="It is on the shelf."),
    prediction("wrong", answer="In the garden."),
    prediction("empty", answer=" \n"),
    prediction("failed", error="ReaderUnavailable: gone", answer="on the shelf"),
    prediction("note", gold=None, answer="on the shelf"),
    prediction("unknown", gold="not in memory", answerable=False, answer="I don't know."),
]


def judging(monkeypatch: pytest.MonkeyPatch, say: Callable[[str], str]) -> SayingModel:
    model = SayingModel(say)
    monkeypatch.setattr("evals.models.chat_model", lambda name, **options: model)
    return model


def config(judge: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    return run_config(None, judge=judge or {}, concurrency=1, **changes)


def labels(grades: Sequence[Grade]) -> dict[str, str]:
    return {grade.question_id: grade.label for grade in grades}


def written(out: Path) -> list[Grade]:
    return list(RowFile(out / "scores.jsonl").read(Grade))
