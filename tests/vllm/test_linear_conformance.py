"""The conformance suite over a model on a real server, whose words are replaced by all records that it was sent."""

from collections.abc import Iterator
from itertools import cycle

import pytest

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph.testing.readers import ReaderConformance, ReaderHarness
from tests.proxy import Proxy
from tests.vllm.reading import SMALL, Servers, asked, context_of, in_front_of, linear_reader


def harness_of(proxy: Proxy, *servers: VllmServer, context_tokens: int | None = None) -> ReaderHarness:
    """All derived state is lost when the next of the servers is put in the place of the one before."""
    targets = cycle([server.base_url for server in servers])
    proxy.target = next(targets)

    def lose() -> None:
        proxy.target = next(targets)

    return ReaderHarness(
        open=lambda: linear_reader(proxy.base_url, context_tokens=context_tokens),
        keys=lambda namespace: set(),
        lose=lose,
        counts="position",
    )


class TestLinear(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(
        cls, vllm_server: VllmServer, vllm_server_without_reuse: VllmServer, vllm_servers: Servers
    ) -> Iterator[ReaderHarness]:
        small = vllm_servers(max_model_len=SMALL)
        with in_front_of(vllm_server, complete=True) as proxy:
            yield harness_of(proxy, vllm_server, small, vllm_server_without_reuse)


class TestLinearInSegments(ReaderConformance):
    """The same in segments of a few records."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, vllm_server: VllmServer, vllm_server_without_reuse: VllmServer) -> Iterator[ReaderHarness]:
        with in_front_of(vllm_server, complete=True) as proxy:
            yield harness_of(proxy, vllm_server, vllm_server_without_reuse, context_tokens=context_of(300))
            assert asked(proxy, "merge")
