"""A run whose config leaves a model's name to its server goes on with that model only; failures can be asked again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.config import RunConfig
from evals.judge import judge
from evals.predict import predict
from evals.report import report
from evals.samples import Sample
from linmem_langgraph.errors import ConfigError
from tests import model_server
from tests.evals.support import run_config, write_household
from tests.model_server import ModelServer

SAMPLES = [Sample(id=f"q{n}", memory="house", question="Where is Anna?", answer="in the hall") for n in range(3)]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(says="Action: [Answer]\nContent: in the hall") as one:
        yield one


@pytest.fixture
def config(server: ModelServer, tmp_path: Path) -> RunConfig:
    data = write_household(tmp_path / "data", {"house": {0: ["Anna enters the hall."]}}, SAMPLES)
    at = {"base_url": server.base_url}
    return run_config(
        data,
        reader={"name": "linear", "options": at},
        controller={"model": "vllm:", "options": at},
        protocol="m3",
        controls=[],
        ranking=0,
        concurrency=1,
    )


def test_another_model_on_the_server_does_not_go_on_with_a_run(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(config.model_copy(update={"limit": 1}), tmp_path / "run")
    monkeypatch.setattr(model_server, "MODEL", "another")

    with pytest.raises(ConfigError, match=r"the controller's answers in .* are by 'tiny', .* has 'another' now"):
        predict(config, tmp_path / "run")

    monkeypatch.undo()
    assert len(predict(config, tmp_path / "run")) == 3


def test_what_failed_is_asked_again_when_that_is_wanted(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    predict(config.model_copy(update={"limit": 1}), tmp_path / "run")
    server.stop()
    assert [bool(row.error) for row in predict(config, tmp_path / "run")] == [False, True, True]
    judge(config, tmp_path / "run")
    server.start()
    assert [bool(row.error) for row in predict(config, tmp_path / "run")] == [False, True, True]

    rows = predict(config, tmp_path / "run", retry_errors=True)
    judge(config, tmp_path / "run")

    assert [row.error for row in rows] == ["", "", ""]
    assert report(config, tmp_path / "run").arms[0].accuracy.mean == 1


def test_a_report_is_of_one_seed_and_of_what_is_asked(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    for seed, says in ((0, "in the hall"), (1, "in the garden")):
        server.says = f"Action: [Answer]\nContent: {says}"
        one = config.model_copy(update={"seed": seed})
        predict(one, tmp_path / "run")
        judge(one, tmp_path / "run")

    found = {seed: report(config.model_copy(update={"seed": seed}), tmp_path / "run").arms[0] for seed in (0, 1)}

    assert {seed: (arm.accuracy.mean, arm.accuracy.n) for seed, arm in found.items()} == {0: (1, 3), 1: (0, 3)}
    few = report(config.model_copy(update={"limit": 1}), tmp_path / "run")
    assert few.arms[0].accuracy.n == 1
