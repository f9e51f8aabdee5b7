"""`HybridReader` with a real server: what a read of chosen segments takes, and what of them is computed again."""

from collections.abc import Iterator

import pytest
from langgraph.store.memory import InMemoryStore

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph import HybridReader, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.testing.readers import ReaderConformance, ReaderHarness
from linmem_langgraph.vllm import ChatVLLM
from tests.proxy import Proxy
from tests.vllm.reading import MATCH_UNIT, asked, counting, in_front_of, of_kind

SEGMENT = 600
"""Tokens, which are bytes here."""

FRAME = 2_000
"""More than the tokens of instructions and question."""


def hybrid(proxy: Proxy, segments: int = 2) -> HybridReader:
    return HybridReader(
        ChatVLLM(base_url=proxy.base_url),
        embeddings=LexicalEmbeddings(),
        mode="routed",
        segment_tokens=SEGMENT,
        budget_tokens=segments * SEGMENT,
        max_tokens=16,
    )


@pytest.fixture
def memory(proxy: Proxy) -> Iterator[Memory]:
    with Memory(hybrid(proxy), store=InMemoryStore()) as memory:
        yield memory


def clips(count: int, start: int = 0) -> list[str]:
    return [f"Somebody lifts crate{start + at} off the cart and looks into it." for at in range(count)]


def test_the_state_of_a_segment_serves_whatever_is_asked_of_it(
    memory: Memory, proxy: Proxy, namespace: Namespace
) -> None:
    memory.write(namespace, clips(60))
    memory.flush()
    for question in ("Who lifts crate12?", "What is said of crate12 after that?", "And of crate48?"):
        with counting(proxy) as answers:
            reading = memory.read(namespace, question)
        reads = of_kind(answers, "read")
        assert len(reads) == 2
        for read in reads:
            assert read.prompt_tokens - read.cached_tokens < len(question) + 2 * MATCH_UNIT + 32
        assert f"crate{12 if '12' in question else 48}" in reading.text


def test_what_a_segment_was_is_kept_while_the_memory_grows(memory: Memory, proxy: Proxy, namespace: Namespace) -> None:
    memory.write(namespace, clips(30))
    memory.flush()
    memory.read(namespace, "crate3")
    taken = []
    for start in (30, 60, 120):
        memory.write(namespace, clips(start, start))
        memory.flush()
        with counting(proxy) as answers:
            assert "crate3 " in memory.read(namespace, "crate3").text
        taken.append(sum(read.prompt_tokens for read in of_kind(answers, "read")))
        assert all(read.prompt_tokens - read.cached_tokens < 80 for read in of_kind(answers, "read"))
    assert max(taken) < 2 * (SEGMENT + FRAME)


class TestHybrid(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, vllm_server: VllmServer) -> Iterator[ReaderHarness]:
        with in_front_of(vllm_server, complete=True) as proxy:
            yield ReaderHarness(
                open=lambda: hybrid(proxy, 3),
                keys=lambda namespace: set(),
                lose=lambda: None,
                complete=False,
                counts=None,
            )
            assert asked(proxy, "merge")
