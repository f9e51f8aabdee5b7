"""A folder to run a page in, and what it finds there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.stand_in import StandIn
from tests.model_server import ModelServer

SAYS = "Anna is allergic to nuts [0]."


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page writes goes into a folder of its own, and no server is named by the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("VLLM_BASE_URL", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a model server that always says the same."""
    with ModelServer(says=SAYS) as server:
        yield server.base_url.removesuffix("/v1")


@pytest.fixture
def probed() -> Iterator[str]:
    """The address of a server that a doctor finds well."""
    with StandIn() as server:
        yield server.url
