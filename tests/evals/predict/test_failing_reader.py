"""A reader that fails gives error rows, never wrong answers, and the run goes on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from evals.config import RunConfig
from evals.judge import judge
from evals.predict import predict
from evals.report import report
from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from tests.evals.predict.failing import Failing
from tests.evals.predict.runs import written


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(error: Exception, **where: Sequence[str]) -> None:
        monkeypatch.setattr(
            "evals.predict.configured_reader", lambda config, path, *_: Failing(path / "c", error, **where)
        )

    return put


def labels_of(config: RunConfig, out: Path) -> dict[tuple[str, str], str]:
    predict(config, out)
    return {(grade.arm, grade.question_id): grade.label for grade in judge(config, out)}


def test_a_reader_that_is_down_gives_error_rows_not_wrong_answers(
    two: tuple[RunConfig, Path], failing: Callable[..., None]
) -> None:
    failing(ReaderUnavailable("Chroma at nowhere does not answer"), reads=["broken"])

    labels = labels_of(*two)

    assert len(labels) == 12
    assert {key[1] for key, label in labels.items() if label == "error"} == {"broken_known", "broken_unknown"}
    assert {key[0] for key, label in labels.items() if label == "error"} == {"main"}
    assert labels["main", "sound_known"] == labels["main", "sound_unknown"] == "correct"
    errors = [row.error for row in written(two[1]) if row.error]
    assert all("Chroma at nowhere does not answer" in error for error in errors)
    assert report(*two).arms[0].errors == 2


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ConnectionError("refused"), id="what is not ours"),
        pytest.param(
            ConfigError("the index was built with another embedding: rebuild it"),
            id="an index of another set-up",
        ),
    ],
)
def test_a_reader_that_fails_otherwise_gives_error_rows_too(
    two: tuple[RunConfig, Path], failing: Callable[..., None], error: Exception
) -> None:
    failing(error, reads=["broken"])

    labels = labels_of(*two)

    assert {key for key, label in labels.items() if label == "error"} == {
        ("main", "broken_known"),
        ("main", "broken_unknown"),
    }


@pytest.mark.parametrize("error", [ReaderUnavailable("server is down"), ConnectionError("refused")], ids=repr)
def test_an_update_that_fails_is_made_up_for_by_the_read(
    two: tuple[RunConfig, Path], failing: Callable[..., None], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failing(error, updates=["broken"])

    labels = labels_of(*two)

    assert {label for (arm, _), label in labels.items() if arm == "main"} == {"correct"}
    assert str(error) in caplog.text


def test_a_memory_that_cannot_be_indexed_does_not_end_the_run(
    two: tuple[RunConfig, Path], failing: Callable[..., None]
) -> None:
    failing(ReaderUnavailable("server is down"), reads=["broken"], updates=["broken"])

    labels = labels_of(*two)

    assert labels["main", "sound_known"] == "correct"
    assert labels["main", "broken_known"] == labels["main", "broken_unknown"] == "error"
