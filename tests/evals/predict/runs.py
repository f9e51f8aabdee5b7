"""Runs of predict: their rows, their processes, and secret words to ask about."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.rows import Prediction, RowFile
from evals.samples import Sample
from tests.evals.support import ROOT

ARMS = ("main", "blind", "oracle")


def written(out: Path) -> list[Prediction]:
    return list(RowFile(out / "predictions.jsonl").read(Prediction))


def content(rows: Sequence[Prediction]) -> dict[Any, Mapping[str, Any]]:
    """Rows by key, without the seconds they took; a key that stands there twice is an error."""
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: row.model_dump(exclude={"seconds"}) for row in rows}


SECRETS = {"home": {clip: [f"The secret word of clip {clip} is w{clip}q."] for clip in range(10)}}


def secret(question: int, until: int | None, evidence: tuple[int, ...]) -> Sample:
    text = f"What is the secret word of clip {question}?"
    return Sample(
        id=f"{question}@{until}", memory="home", question=text, answer=f"w{question}q", until=until, evidence=evidence
    )


def started(config: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "evals", "predict", "--config", str(config), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said.decode()
