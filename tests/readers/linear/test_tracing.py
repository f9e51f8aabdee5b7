"""What LangChain and LangGraph see of a read."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig, RunnableLambda

from linmem_langgraph import Memory, ReaderUnavailable, Reading, create_search_memory_tool
from linmem_langgraph.namespaces import Namespace
from tests.graphs.scripted import calling, scripted
from tests.model_server import ModelServer
from tests.readers.linear.conftest import Remember
from tests.readers.linear.words import everything

LONG = "Anna waters the plants in the kitchen. " * 40


class Runs(BaseCallbackHandler):
    """Every run, with the name of the run around it."""

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.parents: dict[str, str | None] = {}
        self.tags: dict[str, list[str]] = {}
        self.ended: list[str] = []
        self.failed: list[str] = []

    def _start(self, default: str, run_id: UUID, parent: UUID | None, name: Any, tags: list[str] | None) -> None:
        self.names[run_id] = name or default
        self.parents[self.names[run_id]] = self.names.get(parent) if parent else None
        self.tags[self.names[run_id]] = list(tags or [])

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._start("chain", run_id, kwargs.get("parent_run_id"), kwargs.get("name"), kwargs.get("tags"))

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._start("model", run_id, kwargs.get("parent_run_id"), kwargs.get("name"), kwargs.get("tags"))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended.append(self.names[run_id])

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.failed.append(self.names[run_id])


class AsyncRuns(AsyncCallbackHandler):
    """Counts the calls of models."""

    seen = 0

    async def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.seen += 1


@pytest.fixture
def full(server: ModelServer, memory: Memory, namespace: Namespace) -> Memory:
    memory.write(namespace, ["Anna sleeps", LONG])
    memory.flush()
    server.says = everything
    return memory


@pytest.mark.parametrize("use_async", [False, True])
async def test_a_read_is_a_run_within_the_run_around_it(full: Memory, namespace: Namespace, use_async: bool) -> None:
    def ask(question: str) -> str:
        return full.read(namespace, question).text

    async def aask(question: str) -> str:
        return (await full.aread(namespace, question)).text

    runs = Runs()
    config: Any = {"callbacks": [runs], "run_name": "around", "tags": ["theirs"]}
    runnable = RunnableLambda(ask, afunc=aask)
    text = await runnable.ainvoke("?", config) if use_async else runnable.invoke("?", config)
    assert text.startswith("Anna sleeps [0]")
    assert runs.parents == {"around": None, "linear_read": "around"}
    assert "nostream" in runs.tags["linear_read"]
    assert runs.ended == ["linear_read"]


@pytest.mark.parametrize("use_async", [False, True])
async def test_a_read_by_another_model_is_a_run_too(remember: Remember, namespace: Namespace, use_async: bool) -> None:
    memory = remember(model=scripted("Anna [0]"))
    memory.write(namespace, "Anna sleeps")

    def ask(question: str) -> str:
        return memory.read(namespace, question).text

    async def aask(question: str) -> str:
        return (await memory.aread(namespace, question)).text

    runs = Runs()
    runnable, config = RunnableLambda(ask, afunc=aask), RunnableConfig(callbacks=[runs], run_name="around")
    assert (await runnable.ainvoke("?", config) if use_async else runnable.invoke("?", config)) == "Anna [0]"
    assert runs.parents["linear_read"] == "around"


def test_reads_side_by_side_are_runs_of_those_who_asked(full: Memory, namespace: Namespace) -> None:
    def ask(number: int) -> str:
        return full.read(namespace, f"{number}?").text

    runs = [Runs() for _ in range(6)]
    config: Any = [{"callbacks": [each], "run_name": f"around {n}"} for n, each in enumerate(runs)]
    RunnableLambda(ask).batch(list(range(6)), config)
    assert [each.parents["linear_read"] for each in runs] == [f"around {n}" for n in range(6)]


def test_a_prime_is_no_run_of_anybody(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    def write_and_read(text: str) -> str:
        memory.write(namespace, text)
        memory.flush()
        return memory.read(namespace, "?", until=0).text

    runs = Runs()
    RunnableLambda(write_and_read).invoke(LONG, {"callbacks": [runs], "run_name": "around"})
    assert server.asked("prime")
    assert set(runs.parents) == {"around", "linear_read"}


def test_a_failed_read_is_a_failed_run(server: ModelServer, full: Memory, namespace: Namespace) -> None:
    runs = Runs()
    server.stop()
    asking = RunnableLambda[str, Reading](lambda text: full.read(namespace, text))
    with pytest.raises(ReaderUnavailable):
        asking.invoke("?", {"callbacks": [runs]})
    assert runs.failed == ["linear_read"]


async def test_an_async_handler_is_called(full: Memory, namespace: Namespace) -> None:
    async def ask(question: str) -> str:
        return (await full.aread(namespace, question)).text

    handler = AsyncRuns()
    await RunnableLambda(ask).ainvoke("?", {"callbacks": [handler]})
    assert handler.seen == 1


def agent(memory: Memory, namespace: Namespace) -> Any:
    search = create_search_memory_tool(memory, namespace=namespace)
    return create_agent(scripted(calling("who sleeps?"), AIMessage("It is Anna."), forever=True), tools=[search])


def said(chunks: list[Any]) -> dict[str, str]:
    """What the model's tokens say, by the node they come from."""
    words: dict[str, str] = {}
    for message, metadata in chunks:
        if isinstance(message, AIMessageChunk):
            node = metadata["langgraph_node"]
            words[node] = words.get(node, "") + message.text
    return words


@pytest.mark.parametrize("use_async", [False, True])
async def test_a_readers_tokens_are_not_the_agents(full: Memory, namespace: Namespace, use_async: bool) -> None:
    asked: Any = {"messages": [HumanMessage("Who sleeps?")]}
    graph = agent(full, namespace)
    if use_async:
        chunks = [chunk async for chunk in graph.astream(asked, stream_mode="messages")]
    else:
        chunks = list(graph.stream(asked, stream_mode="messages"))
    assert said(chunks) == {"model": "It is Anna."}
    tools: list[BaseMessage] = [message for message, metadata in chunks if metadata["langgraph_node"] == "tools"]
    assert [message.type for message in tools] == ["tool"]
    assert tools[0].text.startswith("Anna sleeps [0]")


async def test_events_tell_which_tool_read(full: Memory, namespace: Namespace) -> None:
    asked: Any = {"messages": [HumanMessage("Who sleeps?")]}
    events = [event async for event in agent(full, namespace).astream_events(asked, version="v2")]
    (start,) = [event for event in events if event["name"] == "linear_read" and event["event"] == "on_chat_model_start"]
    (tool,) = [event for event in events if event["event"] == "on_tool_start"]
    assert tool["run_id"] in start["parent_ids"]


def test_a_tool_that_is_called_alone_hands_its_callbacks_on(full: Memory, namespace: Namespace) -> None:
    search = create_search_memory_tool(full, namespace=namespace)
    runs = Runs()
    call = tool_call(name=search.name, args={"query": "who?"}, id="1")
    message = search.invoke({**call, "type": "tool_call"}, {"callbacks": [runs]})
    assert message.text.startswith("Anna sleeps [0]")
    assert runs.ended == ["linear_read"]
