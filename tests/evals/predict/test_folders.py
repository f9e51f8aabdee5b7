"""Folders that are in use, of another run or damaged are refused."""

from pathlib import Path
from typing import Any

import pytest

from evals.predict import predict
from evals.rows import Prediction
from linmem_langgraph.errors import ConfigError
from tests.evals.predict.runs import SECRETS, content, finished, secret, started, written
from tests.evals.support import run_config, write_household


def test_a_second_process_on_the_same_folder_is_refused(data: Path, config_file: Path, tmp_path: Path) -> None:
    refusals: list[tuple[int, str]] = []

    def intrude(done: int, total: int) -> None:
        if not refusals:
            refusals.append(finished(started(config_file, tmp_path)))

    rows = predict(run_config(data, controls=[]), tmp_path, intrude)

    ((code, said),) = refusals
    assert code == 2
    assert "another process is writing" in said
    assert "Traceback" not in said
    assert content(written(tmp_path)) == content(rows)


@pytest.mark.parametrize(
    "change",
    [
        {"max_rounds": 3},
        {"protocol": "m3"},
        {"reader": {"options": {"embeddings": "lexical", "limit": 1}}},
        {"controller": {"model": "openai:gpt-5-mini", "options": {"base_url": "http://127.0.0.1:1/v1"}}},
    ],
    ids=str,
)
def test_a_folder_of_another_set_up_is_refused_and_left_as_it_is(
    unbroken: tuple[Path, list[Prediction]], data: Path, change: dict[str, Any]
) -> None:
    out = unbroken[0]
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}

    with pytest.raises(ConfigError, match="rows of another set-up") as caught:
        predict(run_config(data, **change), out)

    assert str(out / "predictions.jsonl") in str(caught.value)
    assert {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()} == before


def test_a_folder_of_other_data_is_refused(unbroken: tuple[Path, list[Prediction]], tmp_path: Path) -> None:
    data = write_household(tmp_path, SECRETS, [secret(3, None, (3,))])

    with pytest.raises(ConfigError, match="rows of another set-up"):
        predict(run_config(data), unbroken[0])


def test_damaged_rows_stop_the_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text("{}\n")

    with pytest.raises(ConfigError, match=r"predictions\.jsonl, line 1, field 'arm'"):
        predict(run_config(data), tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()

    with pytest.raises(ConfigError, match="out"):
        predict(run_config(data), tmp_path / "out")
