"""The conformance suite over a model that quotes every record it is shown."""

from collections.abc import Iterator
from typing import Any

import pytest

from linmem_langgraph import LinearReader
from linmem_langgraph.testing.readers import ReaderConformance, ReaderHarness
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer
from tests.readers.linear.words import everything


def harness_of(server: ModelServer, **options: Any) -> ReaderHarness:
    return ReaderHarness(
        open=lambda: LinearReader(ChatVLLM(base_url=server.base_url), **options),
        keys=lambda namespace: set(),
        lose=server.forget,
        counts="position",
    )


class TestLinear(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[ReaderHarness]:
        with ModelServer(everything) as server:
            yield harness_of(server)


class TestLinearInSegments(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[ReaderHarness]:
        # Four to six records fit into one segment. What the model says in this suite is longer than a model's answer.
        with ModelServer(everything, context=1_800) as server:
            server.refuses_long_prompts = False
            yield harness_of(server, max_tokens=10)
            assert server.asked("merge")
