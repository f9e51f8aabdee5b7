"""The conformance suite over a model that notes and quotes every record it is shown."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from linmem_langgraph import RollingReader
from linmem_langgraph.testing.readers import ReaderConformance, ReaderHarness
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer
from tests.readers.rolling.words import everything, notes

# One to three records fit into a segment.
SIZES: dict[str, Any] = {"segment_tokens": 60, "note_tokens": 10_000}


def harness_of(
    server: ModelServer, lose: Callable[[], None], model: Callable[[], Any] | None = None, **options: Any
) -> ReaderHarness:
    make = model or (lambda: ChatVLLM(base_url=server.base_url))
    return ReaderHarness(
        open=lambda: RollingReader(make(), **options), keys=lambda namespace: set(), lose=lose, counts="position"
    )


class TestRolling(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[ReaderHarness]:
        with ModelServer(everything) as server:
            yield harness_of(server, server.forget, **SIZES)
            assert notes(server)


class TestRollingInOneSegment(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[ReaderHarness]:
        with ModelServer(everything) as server:
            yield harness_of(server, server.forget)
            assert not notes(server)


class TestRollingOverAnyChatModel(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[ReaderHarness]:
        with ModelServer(everything) as server:

            def model() -> ChatOpenAI:
                return ChatOpenAI(base_url=server.base_url, model="tiny", api_key=lambda: "none")

            yield harness_of(server, server.forget, model, **{**SIZES, "segment_tokens": 20})
            assert notes(server)


class TestRollingWithAStandingNote(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderHarness]:
        folder: Path = tmp_path_factory.mktemp("rolling")

        def lose() -> None:
            shutil.rmtree(folder / "notes", ignore_errors=True)

        with ModelServer(everything) as server:
            yield harness_of(server, lose, standing=True, path=folder, **SIZES)
            assert notes(server)
            assert list((folder / "notes").glob("*.json"))
