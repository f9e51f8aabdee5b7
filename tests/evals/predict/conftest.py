"""Households and secret words to be asked about, a run in one go, and a controller with a hook."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from evals.benchmarks import load_benchmark
from evals.config import RunConfig
from evals.predict import predict
from evals.rows import Prediction
from evals.sample.generate import generate, write
from evals.samples import Benchmark, Sample
from tests.evals.support import Hook, HookedController, run_config, write_household

pytest.register_assert_rewrite("tests.evals.predict.runs")

from tests.evals.predict.runs import SECRETS, secret  # noqa: E402


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two households; their questions stand in the file in no order of time."""
    folder = tmp_path_factory.mktemp("household")
    memories, samples = generate(worlds=2, clips=15, questions=5, seed=3)
    write(folder, memories, random.Random(1).sample(samples, len(samples)))
    return folder


@pytest.fixture(scope="session")
def households(data: Path) -> Benchmark:
    return load_benchmark("household", data)


@pytest.fixture(scope="session")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Prediction]]:
    """A run in one go."""
    out = tmp_path_factory.mktemp("unbroken")
    return out, predict(run_config(data), out)


@pytest.fixture
def controlled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hook], None]:
    """Make the controller one with a hook."""

    def put(hook: Hook) -> None:
        monkeypatch.setattr("evals.models.chat_model", lambda name, **options: HookedController(hook))

    return put


@pytest.fixture(scope="session")
def config_file(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    file.write_text(yaml.safe_dump(run_config(data).model_dump(mode="json")))
    return file


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    samples = [secret(asked, None, (asked,)) for asked in range(5)]
    return write_household(tmp_path / "data", SECRETS, samples)


@pytest.fixture
def two(tmp_path: Path) -> tuple[RunConfig, Path]:
    """A set-up over two memories, with a question that cannot be answered in each, and its folder."""
    clips = dict.fromkeys(("broken", "sound"), SECRETS["home"])
    samples = [
        Sample(id=f"{name}_{kind}", memory=name, question=question, answer=gold, answerable=known, evidence=evidence)
        for name in clips
        for kind, question, gold, known, evidence in [
            ("known", "What is the secret word of clip 3?", "w3q", True, (3,)),
            ("unknown", "Why do whales sing?", "not in memory", False, ()),
        ]
    ]
    return run_config(write_household(tmp_path / "data", clips, samples)), tmp_path / "out"
