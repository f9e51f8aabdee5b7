"""The search tool: what it tells and what it refuses, sync and async; and the public suites."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import MessagesState
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import (
    ChromaReader,
    ConfigError,
    Memory,
    Reading,
    create_manage_memory_tool,
    create_search_memory_tool,
)
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.base import Query
from tests.fakes import SwitchableEmbeddings
from tests.graphs.scripted import scripted, using
from tests.tools.calling import Suite, answer, node_graph

CLIPS = ["Anna puts the red mug on the shelf", "Bert takes the red mug", "Carl hangs a coat", "Bert washes the red mug"]


@pytest.fixture
def clips(memory: Memory, namespace: Namespace) -> list[str]:
    """The keys of four remembered clips."""
    return memory.write(namespace, CLIPS)


class _Search(Suite):
    create = staticmethod(create_search_memory_tool)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "who sleeps", "limit": 3, "offset": 0, "filter": {"kind": "episodic"}}


class TestSearchUnit(_Search, ToolsUnitTests):
    """langchain-tests."""


class TestSearchIntegration(_Search, ToolsIntegrationTests):
    """langchain-tests."""


def test_name_and_instructions_can_be_given(memory: Memory) -> None:
    tool = create_search_memory_tool(memory, namespace=("a",), name="recall", instructions="Look here first.")
    assert (tool.name, tool.description) == ("recall", "Look here first.")


def test_a_search_answers_with_the_readings_text_and_a_plain_artifact(
    memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    message = answer(create_search_memory_tool(memory, namespace=namespace, until=2), query="red mug", limit=2)
    assert message.status == "success"
    assert message.content == "[0] Anna puts the red mug on the shelf\n[1] Bert takes the red mug"
    assert json.loads(json.dumps(message.artifact)) == message.artifact
    assert {hit["record"]["key"] for hit in message.artifact["records"]} == set(clips[:2])
    assert message.artifact["namespace"] == list(namespace)
    assert message.artifact["until"] == 2
    assert message.artifact["reader"] == "chroma"
    assert set(message.artifact["usage"]) == {"prompt_tokens", "cached_tokens", "completion_tokens"}


def test_ids_are_shown_when_asked_for(memory: Memory, namespace: Namespace, clips: list[str]) -> None:
    shown = answer(create_search_memory_tool(memory, namespace=namespace, show_ids=True), query="coat", limit=1)
    assert clips[2] in str(shown.content)
    plain = answer(create_search_memory_tool(memory, namespace=namespace), query="coat", limit=1)
    assert clips[2] not in str(plain.content)
    nothing = create_search_memory_tool(memory, namespace=namespace, until=-1, show_ids=True)
    assert "ids" not in str(answer(nothing, query="coat").content)


@pytest.mark.parametrize("by", ["record", "position"])
def test_pages_follow_each_other(tmp_path: Path, namespace: Namespace, by: Any) -> None:
    reader = ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256), by=by)
    with Memory(reader, store=InMemoryStore()) as memory:
        memory.write(namespace, CLIPS)
        tool = create_search_memory_tool(memory, namespace=namespace)
        whole = [hit["record"]["key"] for hit in answer(tool, query="red mug", limit=4).artifact["records"]]
        pages = [
            [hit["record"]["key"] for hit in answer(tool, query="red mug", limit=2, offset=offset).artifact["records"]]
            for offset in (0, 2, 4)
        ]
        assert pages == [whole[:2], whole[2:], []]


class SeeingState(MessagesState):
    seen_keys: list[str]


@pytest.mark.usefixtures("clips")
def test_records_the_graph_has_seen_are_left_out(memory: Memory, namespace: Namespace) -> None:
    graph = node_graph(create_search_memory_tool(memory, namespace=namespace), state=SeeingState)
    seen = [record.key for record in memory.records(namespace) if record.position in (0, 3)]
    found = graph.invoke({"messages": [using(query="red mug", limit=4)], "seen_keys": seen})["messages"][-1]
    assert {hit["record"]["position"] for hit in found.artifact["records"]} == {1, 2}


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": ""}, "query"),
        ({"query": "x", "limit": 0}, "limit"),
        ({"query": "x", "limit": 1_000}, "limit"),
        ({"query": "x", "offset": -1}, "offset"),
        ({"query": "x", "filter": {"who": {"$nin": ["anna"]}}}, r"unknown operator '\$nin'.*choose"),
        ({"query": "x", "filter": {"kind": "\ud800"}}, "."),
        ({}, "query"),
    ],
)
def test_bad_arguments_are_a_tool_error_the_model_can_read(
    memory: Memory, namespace: Namespace, arguments: dict[str, Any], message: str
) -> None:
    told = answer(create_search_memory_tool(memory, namespace=namespace), **arguments)
    assert told.status == "error"
    assert re.search(message, str(told.content))


@pytest.mark.parametrize("use_async", [False, True])
async def test_a_reader_that_is_down_is_a_tool_error(tmp_path: Path, namespace: Namespace, use_async: bool) -> None:
    embeddings = SwitchableEmbeddings()
    with Memory(ChromaReader(tmp_path, embeddings=embeddings), store=InMemoryStore()) as memory:
        embeddings.fails = True
        manage = create_manage_memory_tool(memory, namespace=namespace)
        assert answer(manage, action="create", content="Anna sleeps").status == "success"
        graph = node_graph(create_search_memory_tool(memory, namespace=namespace))
        asked = {"messages": [using(query="Anna")]}
        told = (await graph.ainvoke(asked) if use_async else graph.invoke(asked))["messages"][-1]
        assert told.status == "error"
        assert told.content.startswith("memory is unavailable: ")
        assert "out of memory" in told.content
        embeddings.fails = False
        assert graph.invoke(asked)["messages"][-1].content == "[0] Anna sleeps"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"limit": 1},
        {"limit": 1, "offset": 1},
        {"offset": 2, "limit": 1},
        {"offset": 9},
        {"filter": {"position": {"$gte": 2}}},
        {"filter": {"who": {"$near": 1}}},
        {"query": " "},
    ],
)
@pytest.mark.parametrize("options", [{}, {"until": 1}, {"show_ids": True}])
async def test_an_async_search_says_what_a_sync_one_does(
    memory: Memory, namespace: Namespace, clips: list[str], arguments: dict[str, Any], options: dict[str, Any]
) -> None:
    graph = node_graph(create_search_memory_tool(memory, namespace=namespace, **options), state=SeeingState)
    asked = {"messages": [using(**{"query": "red mug", **arguments})], "seen_keys": clips[3:]}
    one = graph.invoke(asked)["messages"][-1]
    other = (await graph.ainvoke(asked))["messages"][-1]
    assert (one.content, one.status) == (other.content, other.status)
    if one.artifact is not None:
        assert {**one.artifact, "seconds": 0} == {**other.artifact, "seconds": 0}


async def test_an_async_search_runs_on_the_loop(
    memory: Memory, namespace: Namespace, clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = create_search_memory_tool(memory, namespace=namespace)
    assert await tool.ainvoke({"query": "coat", "limit": 1}) == tool.invoke({"query": "coat", "limit": 1})
    asked: list[asyncio.AbstractEventLoop] = []
    read = memory.reader.aread

    async def aread(log: Log, query: Query) -> Reading:
        asked.append(asyncio.get_running_loop())
        return await read(log, query)

    monkeypatch.setattr(memory.reader, "aread", aread)
    await tool.ainvoke({"query": "coat"})
    assert asked == [asyncio.get_running_loop()]


def test_a_store_that_is_missing_is_the_developers_error(namespace: Namespace, tmp_path: Path) -> None:
    with (
        Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256))) as memory,
        pytest.raises(ConfigError, match="store"),
    ):
        answer(create_search_memory_tool(memory, namespace=namespace), query="x")


@pytest.mark.usefixtures("clips")
def test_messages_survive_a_checkpointer(memory: Memory, namespace: Namespace) -> None:
    tool = create_search_memory_tool(memory, namespace=namespace)
    with SqliteSaver.from_conn_string(":memory:") as saver:
        graph = node_graph(tool, checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "1"}}
        said = graph.invoke({"messages": [using(query="red mug")]}, config)["messages"][-1]
        kept = graph.get_state(config).values["messages"][-1]
        assert kept.artifact == said.artifact
        assert type(kept.artifact["records"][0]["record"]) is dict
        assert kept.content == said.content


def test_an_agent_reads_what_was_wrong_and_goes_on(memory: Memory, namespace: Namespace) -> None:
    model = scripted(
        using("search_memory", query="x", filter={"who": {"$near": 1}}), using("search_memory", query="mug"), "Done."
    )
    agent = create_agent(model, [create_search_memory_tool(memory, namespace=namespace)])
    asked: Any = {"messages": [HumanMessage("Where is the mug?")]}
    told = [message for message in agent.invoke(asked)["messages"] if isinstance(message, ToolMessage)]
    assert [message.status for message in told] == ["error", "success"]
    assert "$near" in str(told[0].content)
