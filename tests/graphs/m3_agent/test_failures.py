"""A memory that is down is an error the model sees; a model that fails ends the run, which can go on."""

import asyncio
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from graphs.m3_agent import Protocol, create_m3_agent
from graphs.protocol import EMPTY_HINT
from linmem_langgraph import ChromaReader, Memory, ReaderUnavailable, Reading, create_search_memory_tool
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.readers.base import Query
from tests.graphs.conftest import NAMESPACE
from tests.graphs.m3_agent.running import Compile, ask, both, run, tool_messages
from tests.graphs.scripted import answering, scripted, searching


class Breaking(ChromaReader):
    """A reader that cannot be reached for its first read."""

    down = True

    def read(self, log: Log, query: Query) -> Reading:
        if self.down:
            self.down = False
            raise ReaderUnavailable("Chroma at 127.0.0.1:1 does not answer; start it with: chroma run")
        return super().read(log, query)


@both
def test_a_memory_that_is_down_is_an_error_the_model_sees(tmp_path: Path, protocol: Protocol) -> None:
    with Memory(Breaking(tmp_path, embeddings=LexicalEmbeddings()), store=InMemoryStore()) as memory:
        memory.write(NAMESPACE, "Lily puts the red mug on the table.")
        search = create_search_memory_tool(memory, namespace=NAMESPACE)
        model = scripted(*[searching(protocol, "red mug")] * 2, answering(protocol, "x"))
        state = run(create_m3_agent([search], model, protocol=protocol).compile())
    assert [message.status for message in tool_messages(state)] == ["error", "success"]
    said = model.calls[1].texts[-1]
    assert "memory is unavailable: Chroma at 127.0.0.1:1 does not answer" in said
    assert EMPTY_HINT not in said, "a failure is never an empty result"
    assert (state["answer"], state["seen"], state["rounds"]) == ("x", [0], 3)
    if protocol == "m3":
        assert said.startswith("Searched knowledge: {}\n(memory is unavailable: ")


@both
def test_a_model_that_times_out_fails_the_run(agent: Compile, protocol: Protocol) -> None:
    graph = agent(scripted(searching(protocol, "red mug"), TimeoutError("no answer in 60 s")), protocol)
    with pytest.raises(TimeoutError, match="no answer in 60 s"):
        run(graph)
    graph = agent(scripted(searching(protocol, "red mug"), TimeoutError("no answer in 60 s")), protocol)
    with pytest.raises(TimeoutError, match="no answer in 60 s"):
        asyncio.run(graph.ainvoke(ask()))


@both
def test_a_run_that_failed_goes_on_where_it_was(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug on the table"), TimeoutError(), answering(protocol, "x"))
    graph = agent(model, protocol, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    with pytest.raises(TimeoutError):
        graph.invoke(ask(), thread)
    state = graph.invoke(None, thread)
    assert (state["answer"], state["rounds"], state["seen"]) == ("x", 2, [0])
    assert model.calls[1].texts == model.calls[2].texts
