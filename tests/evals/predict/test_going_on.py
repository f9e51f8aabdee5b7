"""What was written is not asked again, whether the run ended, was cut off, interrupted or killed."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.predict import predict
from evals.rows import Prediction
from tests.evals.predict.runs import content, finished, started, written
from tests.evals.support import Hook, run_config


def test_a_finished_run_asks_nothing(
    unbroken: tuple[Path, list[Prediction]], data: Path, controlled: Callable[[Hook], None]
) -> None:
    out, rows = unbroken
    before = (out / "predictions.jsonl").read_bytes()
    asked: list[str] = []
    controlled(lambda question, messages: asked.append(question))
    told: list[tuple[int, int]] = []

    again = predict(run_config(data), out, lambda done, total: told.append((done, total)))

    assert content(again) == content(rows)
    assert asked == []
    assert told == [(len(rows), len(rows))]
    assert (out / "predictions.jsonl").read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1, 17, 29])
def test_a_run_goes_on_where_it_was_cut_off(
    unbroken: tuple[Path, list[Prediction]], data: Path, tmp_path: Path, controlled: Callable[[Hook], None], kept: int
) -> None:
    lines = (unbroken[0] / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "predictions.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:40])
    asked: list[str] = []
    controlled(lambda question, messages: asked.append(question))

    rows = predict(run_config(data), tmp_path)

    assert content(rows) == content(unbroken[1]) == content(written(tmp_path))
    assert len(asked) == 2 * (30 - kept)  # a search and an answer each
    assert (tmp_path / "predictions.jsonl").read_bytes().startswith(b"".join(lines[:kept]))


def test_more_controls_and_more_questions_are_added_to_a_run(
    data: Path, tmp_path: Path, controlled: Callable[[Hook], None], unbroken: tuple[Path, list[Prediction]]
) -> None:
    predict(run_config(data, controls=[], limit=2), tmp_path)
    asked: list[str] = []
    controlled(lambda question, messages: asked.append(question))

    rows = predict(run_config(data), tmp_path)

    assert content(rows) == content(unbroken[1])
    assert len(asked) == 2 * (30 - 4)


def test_a_run_can_go_on_with_fewer_controls(data: Path, tmp_path: Path) -> None:
    predict(run_config(data, controls=["blind"], limit=1), tmp_path)

    predict(run_config(data, controls=[], limit=1), tmp_path)


def test_a_run_that_is_interrupted_stops_soon(data: Path, tmp_path: Path, controlled: Callable[[Hook], None]) -> None:
    controlled(lambda question, messages: time.sleep(0.02))

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(run_config(data, controls=["blind", "oracle"]), tmp_path, interrupt)

    assert len(written(tmp_path)) <= 4


def row_count(out: Path) -> int:
    file = out / "predictions.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments_it_ends_with_the_same_rows(
    config_file: Path, unbroken: tuple[Path, list[Prediction]], tmp_path: Path, seed: int
) -> None:
    rng, kills = random.Random(seed), list[int]()
    # Once before or around the first row, then between later ones.
    moments = [(0, rng.uniform(0.3, 1.5)), *((rng.randint(1, 20), rng.uniform(0, 0.03)) for _ in range(1))]
    for more, pause in moments:
        process, goal = started(config_file, tmp_path), row_count(tmp_path) + more
        while row_count(tmp_path) < goal and process.poll() is None:
            time.sleep(0.002)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        code, said = finished(process)
        assert code in (-signal.SIGKILL, 0), said
        kills.append(row_count(tmp_path))

    code, said = finished(started(config_file, tmp_path))

    assert (code, said) == (0, "")
    assert kills == sorted(kills)
    assert kills[0] < len(unbroken[1]), "nothing was interrupted"
    assert content(written(tmp_path)) == content(unbroken[1])
