"""The trace of a three-round answer, whole, as a local LangSmith received it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph.store.memory import InMemoryStore

from graphs.m3_agent import Protocol, create_m3_agent
from linmem_langgraph import LinearReader, Memory, create_search_memory_tool
from linmem_langgraph.testing import LangSmithServer, langsmith_server
from linmem_langgraph.vllm import ChatVLLM
from tests.graphs.conftest import NAMESPACE
from tests.graphs.m3_agent.running import Compile, ask, both, run
from tests.graphs.scripted import answering, scripted, searching
from tests.model_server import ModelServer

__all__ = ["langsmith_server"]

TREE = (Path(__file__).parent / "trace.txt").read_text(encoding="utf-8")
SHOWN = ("round", "reader", "namespace", "ls_provider")


@pytest.fixture
def linear(memory: Memory) -> Iterator[Memory]:
    """The clips, read by a model on a server."""
    with (
        ModelServer("Jack washes the red mug in the sink [4].") as server,
        Memory(LinearReader(ChatVLLM(base_url=server.base_url)), store=InMemoryStore()) as linear,
    ):
        linear.write(NAMESPACE, memory.records(NAMESPACE))
        linear.flush()
        yield linear


@pytest.mark.parametrize("use_async", [False, True])
@both
async def test_a_three_round_answer(
    linear: Memory, langsmith_server: LangSmithServer, protocol: Protocol, use_async: bool
) -> None:
    turns = searching(protocol, "red mug"), searching(protocol, "Jack"), answering(protocol, "In the sink.")
    search = create_search_memory_tool(linear, namespace=NAMESPACE)
    graph = create_m3_agent([search], scripted(*turns), protocol=protocol).compile(name="m3_agent")
    state = await graph.ainvoke(ask()) if use_async else run(graph)
    assert (state["answer"], state["rounds"]) == ("In the sink.", 3)
    assert langsmith_server.text(SHOWN) == TREE


def test_an_answer_that_is_forced_is_a_node_of_its_own(agent: Compile, langsmith_server: LangSmithServer) -> None:
    run(agent(scripted(searching("m3", "red mug"), answering("m3", "x")), "m3", max_rounds=2))
    (root,) = langsmith_server.roots()
    assert [child.name for child in root.children] == ["__start__", "reason", "memory", "answer"]
    assert [child.metadata.get("round") for child in root.children] == [None, 1, None, 2]
