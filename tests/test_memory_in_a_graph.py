"""Without a store of its own, a memory uses that of the running graph."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import AsyncSqliteStore

from linmem_langgraph import ChromaReader, ConfigError, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace


class State(TypedDict):
    text: str


def graph_with(memory: Memory, namespace: Namespace, *, use_async: bool) -> StateGraph[State]:
    def node(state: State) -> State:
        memory.write(namespace, state["text"])
        return {"text": memory.read(namespace, state["text"]).text}

    async def anode(state: State) -> State:
        await memory.awrite(namespace, state["text"])
        return {"text": (await memory.aread(namespace, state["text"])).text}

    graph = StateGraph(State)
    graph.add_node("node", anode if use_async else node)
    graph.add_edge(START, "node")
    return graph


@pytest.fixture
def graph_memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256))) as memory:
        yield memory


def test_without_a_store_the_graphs_own_is_used(graph_memory: Memory, namespace: Namespace) -> None:
    store = InMemoryStore()
    graph = graph_with(graph_memory, namespace, use_async=False).compile(store=store)
    assert graph.invoke({"text": "Anna sleeps"}) == {"text": "[0] Anna sleeps"}
    assert len(store.search(namespace)) == 1


@pytest.mark.parametrize("use_async", [True, False])
async def test_without_a_store_the_graphs_own_is_used_async(
    graph_memory: Memory, namespace: Namespace, use_async: bool
) -> None:
    async with AsyncSqliteStore.from_conn_string(":memory:") as store:
        await store.setup()
        graph = graph_with(graph_memory, namespace, use_async=use_async).compile(store=store)
        assert await graph.ainvoke({"text": "Anna sleeps"}) == {"text": "[0] Anna sleeps"}
        assert len(await store.asearch(namespace)) == 1
        await graph_memory.aflush()


def test_no_store_anywhere_is_an_error_with_the_ways_out(graph_memory: Memory, namespace: Namespace) -> None:
    for act in (lambda: graph_memory.write(namespace, "x"), lambda: graph_memory.read(namespace, "x")):
        with pytest.raises(ConfigError, match=r"store=.*Memory\.open"):
            act()
    with pytest.raises(ConfigError, match="compile the graph with store"):
        graph_with(graph_memory, namespace, use_async=False).compile().invoke({"text": "x"})
