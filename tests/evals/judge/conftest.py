"""A run that has been answered."""

from pathlib import Path

import pytest

from evals.rows import RowFile
from tests.evals.judge.judging import PREDICTIONS


@pytest.fixture
def out(tmp_path: Path) -> Path:
    file = RowFile(tmp_path / "predictions.jsonl")
    for row in PREDICTIONS:
        file.append(row)
    return tmp_path
