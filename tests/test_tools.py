"""The tools: alone, in a ToolNode, in an agent, through a checkpointer, and against the public suites."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import (
    ChromaReader,
    ConfigError,
    ContextOverflow,
    Memory,
    MemoryRecord,
    NamespaceError,
    Reading,
    create_manage_memory_tool,
    create_search_memory_tool,
)
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.base import Query
from linmem_langgraph.tools import ACTIONS
from tests.fakes import SwitchableEmbeddings
from tests.graphs.scripted import scripted

CLIPS = ["Anna puts the red mug on the shelf", "Bert takes the red mug", "Carl hangs a coat", "Bert washes the red mug"]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    reader = ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256))
    with Memory(reader, store=InMemoryStore()) as memory:
        yield memory


@pytest.fixture
def clips(memory: Memory, namespace: Namespace) -> list[str]:
    """The keys of four remembered clips."""
    return memory.write(namespace, CLIPS)


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class SeeingState(State):
    seen_keys: list[str]


@dataclass
class Context:
    user_id: Any = None


def call(name: str = "search_memory", **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name=name, args=arguments, id="call-1")])


def node_graph(tool: BaseTool, *, state: Any = State, context: Any = None, checkpointer: Any = None) -> Any:
    graph = StateGraph(state, context_schema=context)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    return graph.compile(checkpointer=checkpointer)


def answer(tool: BaseTool, *, context: Any = None, config: Any = None, **arguments: Any) -> ToolMessage:
    """What the model is told when it calls `tool` in a graph."""
    graph: CompiledStateGraph[Any, Any] = node_graph(tool, context=type(context) if context is not None else None)
    message = graph.invoke({"messages": [call(tool.name, **arguments)]}, config, context=context)["messages"][-1]
    assert isinstance(message, ToolMessage)
    return message


# The public suites


def tool_of(path: Path, create: Callable[..., BaseTool]) -> Iterator[BaseTool]:
    with Memory(ChromaReader(path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        memory.write(("suite",), MemoryRecord(text="Anna sleeps", key="known"))
        yield create(memory, namespace=("suite",))


class _Suite:
    tool_under_test: BaseTool
    create: Callable[..., BaseTool]

    @pytest.fixture(autouse=True)
    def _make_tool(self, tmp_path: Path) -> Iterator[None]:
        for tool in tool_of(tmp_path / "suite", type(self).create):
            self.tool_under_test = tool
            yield

    @property
    def tool_constructor(self) -> BaseTool:
        return self.tool_under_test


class _Search(_Suite):
    create = staticmethod(create_search_memory_tool)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "who sleeps", "limit": 3, "offset": 0, "filter": {"kind": "episodic"}}


class _Manage(_Suite):
    create = staticmethod(create_manage_memory_tool)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"action": "update", "content": "Anna is awake", "id": "known"}


class TestSearchUnit(_Search, ToolsUnitTests):
    """langchain-tests."""


class TestSearchIntegration(_Search, ToolsIntegrationTests):
    """langchain-tests."""


class TestManageUnit(_Manage, ToolsUnitTests):
    """langchain-tests."""


class TestManageIntegration(_Manage, ToolsIntegrationTests):
    """langchain-tests."""


# What the model sees


def test_the_model_sees_four_and_three_arguments(memory: Memory) -> None:
    search = convert_to_openai_tool(create_search_memory_tool(memory, namespace=("a",)))["function"]
    manage = convert_to_openai_tool(create_manage_memory_tool(memory, namespace=("a",)))["function"]
    assert (search["name"], manage["name"]) == ("search_memory", "manage_memory")
    assert list(search["parameters"]["properties"]) == ["query", "limit", "offset", "filter"]
    assert search["parameters"]["required"] == ["query"]
    assert list(manage["parameters"]["properties"]) == ["content", "action", "id"]
    assert manage["parameters"]["properties"]["action"]["enum"] == list(ACTIONS)
    for function in (search, manage):
        assert function["description"]
        assert all(argument["description"] for argument in function["parameters"]["properties"].values())


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


@pytest.mark.usefixtures("clips")
def test_records_the_graph_has_seen_are_left_out(memory: Memory, namespace: Namespace) -> None:
    graph = node_graph(create_search_memory_tool(memory, namespace=namespace), state=SeeingState)
    seen = [record.key for record in memory.records(namespace) if record.position in (0, 3)]
    found = graph.invoke({"messages": [call(query="red mug", limit=4)], "seen_keys": seen})["messages"][-1]
    assert {hit["record"]["position"] for hit in found.artifact["records"]} == {1, 2}


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": ""}, "query"),
        ({"query": "x", "limit": 0}, "limit"),
        ({"query": "x", "limit": 1_000}, "limit"),
        ({"query": "x", "offset": -1}, "offset"),
        ({"query": "x", "filter": {"who": {"$in": ["anna"]}}}, r"unknown operator '\$in'.*choose"),
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
        asked = {"messages": [call(query="Anna")]}
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
    asked = {"messages": [call(**{"query": "red mug", **arguments})], "seen_keys": clips[3:]}
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


async def test_a_record_too_large_for_the_reader_is_a_tool_error(
    memory: Memory, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise ContextOverflow("the record has 9 tokens")

    monkeypatch.setattr(memory.reader, "check", refuse)
    told = answer(create_manage_memory_tool(memory, namespace=namespace), action="create", content="Anna sleeps")
    assert told.status == "error"
    assert "the record has 9 tokens" in told.content
    assert memory.records(namespace) == []


def test_a_store_that_is_missing_is_the_developers_error(namespace: Namespace, tmp_path: Path) -> None:
    with (
        Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256))) as memory,
        pytest.raises(ConfigError, match="store"),
    ):
        answer(create_search_memory_tool(memory, namespace=namespace), query="x")


# Managing


def test_create_update_and_delete(memory: Memory, namespace: Namespace) -> None:
    tool = create_manage_memory_tool(memory, namespace=namespace)
    created = answer(tool, content="Anna lives in Oslo")
    key = created.artifact["id"]
    assert created.content == f"created memory {key}"
    assert created.artifact == {"action": "created", "id": key, "namespace": list(namespace)}
    assert answer(tool, action="update", id=key, content="Anna lives in Rome").content == f"updated memory {key}"
    assert memory.read(namespace, "Anna").text == "[0] Anna lives in Rome"
    assert answer(tool, action="delete", id=key).content == f"deleted memory {key}"
    assert memory.records(namespace) == []


def test_an_update_keeps_everything_but_the_text(memory: Memory, namespace: Namespace) -> None:
    record = MemoryRecord(text="old", position=4, key="k", kind="semantic", metadata={"who": "anna"})
    memory.write(namespace, [record, MemoryRecord(text="other", position=9)])
    answer(create_manage_memory_tool(memory, namespace=namespace), action="update", id="k", content="new")
    assert memory.records(namespace)[0] == record.model_copy(update={"text": "new"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "create"}, "create needs content"),
        ({"action": "create", "content": "  "}, "create needs content"),
        ({"action": "create", "content": "x", "id": "k"}, "no id"),
        ({"action": "create", "content": "a\x00"}, "NUL"),
        ({"action": "create", "content": "\ud800"}, "surrogate"),
        ({"action": "create", "content": "x" * 1_000_000}, "split"),
        ({"action": "update", "content": "x"}, "update needs the id"),
        ({"action": "update", "content": "x", "id": "absent"}, "no memory with the id 'absent'"),
        ({"action": "update", "id": "known"}, "update needs content"),
        ({"action": "delete"}, "delete needs the id"),
        ({"action": "delete", "id": "absent"}, "no memory with the id 'absent'"),
        ({"action": "delete", "id": "\ud800"}, "no memory"),
        ({"action": "drop"}, "action"),
    ],
)
def test_a_bad_change_is_a_tool_error_and_changes_nothing(
    open_memory: Callable[..., Memory], namespace: Namespace, arguments: dict[str, Any], message: str
) -> None:
    memory = open_memory()
    memory.write(namespace, MemoryRecord(text="Anna sleeps", key="known"))
    before = memory.records(namespace)
    told = answer(create_manage_memory_tool(memory, namespace=namespace), **arguments)
    assert told.status == "error"
    assert message in str(told.content)
    assert len(str(told.content)) < 2_000
    assert memory.records(namespace) == before


def test_only_permitted_actions_are_there(memory: Memory, namespace: Namespace, clips: list[str]) -> None:
    tool = create_manage_memory_tool(memory, namespace=namespace, actions=("create", "update"))
    assert "delete" not in json.dumps(convert_to_openai_tool(tool)["function"]["parameters"]["properties"]["action"])
    assert answer(tool, action="delete", id=clips[0]).status == "error"
    assert len(memory.records(namespace)) == 4
    only = create_manage_memory_tool(memory, namespace=namespace, actions=("delete",))
    assert answer(only, id=clips[0]).content == f"deleted memory {clips[0]}"


@pytest.mark.parametrize(("actions", "message"), [((), "empty"), (("drop",), "'drop'.*create, update, delete")])
def test_bad_actions_are_refused(memory: Memory, actions: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_manage_memory_tool(memory, namespace=("a",), actions=actions)


# Whose memory


USERS = ["anna", "anna@example.org", "a.b", "a b", " a", "7", 7_000_000_000, "{user_id}", "a/b%", "用户", "A"]


class User:
    """What a LangGraph server puts into `configurable`."""

    def __init__(self, identity: str) -> None:
        self.identity = identity


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("given", ["context dict", "context dataclass", "configurable", "server user"])
def test_the_namespace_is_the_runs(memory: Memory, user: Any, given: str) -> None:
    tool = create_search_memory_tool(memory, namespace=("users", "user-{user_id}"))
    for other in USERS:
        memory.write(("users", f"user-{other}"), MemoryRecord(text=f"I am {other}", position=0))
    context: Any = {"context dict": {"user_id": user}, "context dataclass": Context(user)}.get(given)
    config: Any = {
        "configurable": {"configurable": {"user_id": user}},
        "server user": {"configurable": {"langgraph_auth_user": User(str(user))}},
    }.get(given)
    message = answer(tool, query="who am I", limit=50, context=context, config=config)
    assert message.artifact["namespace"] == ["users", f"user-{user}"]
    assert message.content == f"[0] I am {user}"


@pytest.mark.parametrize("create", [create_search_memory_tool, create_manage_memory_tool])
@pytest.mark.parametrize("context", [None, Context(None), Context(""), {"team": "x"}])
def test_a_missing_field_is_the_developers_error_and_nobodys_memory(
    memory: Memory, create: Callable[..., BaseTool], context: Any
) -> None:
    tool = create(memory, namespace=("users", "{user_id}"))
    with pytest.raises(NamespaceError, match="user_id"):
        answer(tool, query="x", content="x", context=context)
    arguments = {"query": "x"} if "query" in tool.args else {"content": "x"}
    with pytest.raises(NamespaceError, match="user_id"):
        tool.invoke(arguments)


def test_a_broken_template_is_refused_at_once(memory: Memory) -> None:
    for create in (create_search_memory_tool, create_manage_memory_tool):
        with pytest.raises(NamespaceError, match="brace"):
            create(memory, namespace="user-{user_id")


# In real graphs


@pytest.mark.usefixtures("clips")
def test_messages_survive_a_checkpointer(memory: Memory, namespace: Namespace) -> None:
    tool = create_search_memory_tool(memory, namespace=namespace)
    with SqliteSaver.from_conn_string(":memory:") as saver:
        graph = node_graph(tool, checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "1"}}
        said = graph.invoke({"messages": [call(query="red mug")]}, config)["messages"][-1]
        kept = graph.get_state(config).values["messages"][-1]
        assert kept.artifact == said.artifact
        assert type(kept.artifact["records"][0]["record"]) is dict
        assert kept.content == said.content


@pytest.mark.parametrize("use_async", [False, True])
async def test_in_an_agent(memory: Memory, use_async: bool) -> None:
    namespace = ("users", "{user_id}")
    model = scripted(
        call("manage_memory", action="create", content="Anna's favourite colour is teal"),
        call("search_memory", query="favourite colour"),
        "It is teal.",
    )
    tools = [
        create_search_memory_tool(memory, namespace=namespace),
        create_manage_memory_tool(memory, namespace=namespace),
    ]
    agent = create_agent(model, tools, context_schema=Context)
    asked: Any = {"messages": [HumanMessage("What is my favourite colour?")]}
    context = Context("anna@example.org")
    state = await agent.ainvoke(asked, context=context) if use_async else agent.invoke(asked, context=context)
    told = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    assert [message.status for message in told] == ["success", "success"]
    assert told[1].content == "[0] Anna's favourite colour is teal"
    assert state["messages"][-1].content == "It is teal."
    assert len(memory.records(("users", "anna@example.org"))) == 1
    assert model.calls[0].tools == ["search_memory", "manage_memory"]


def test_an_agent_reads_what_was_wrong_and_goes_on(memory: Memory, namespace: Namespace) -> None:
    model = scripted(
        call("search_memory", query="x", filter={"who": {"$near": 1}}), call("search_memory", query="mug"), "Done."
    )
    agent = create_agent(model, [create_search_memory_tool(memory, namespace=namespace)])
    asked: Any = {"messages": [HumanMessage("Where is the mug?")]}
    told = [message for message in agent.invoke(asked)["messages"] if isinstance(message, ToolMessage)]
    assert [message.status for message in told] == ["error", "success"]
    assert "$near" in str(told[0].content)


@pytest.mark.parametrize("use_async", [False, True])
async def test_the_store_of_the_agent_is_used(tmp_path: Path, namespace: Namespace, use_async: bool) -> None:
    store = InMemoryStore()
    with Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256))) as memory:
        tools = [
            create_manage_memory_tool(memory, namespace=namespace),
            create_search_memory_tool(memory, namespace=namespace),
        ]
        model = scripted(call("manage_memory", content="Anna sleeps"), call("search_memory", query="Anna"), "Done.")
        agent = create_agent(model, tools, store=store)
        asked: Any = {"messages": [HumanMessage("Remember.")]}
        state = await agent.ainvoke(asked) if use_async else agent.invoke(asked)
        assert state["messages"][-2].content == "[0] Anna sleeps"
        assert len(store.search(namespace)) == 1
