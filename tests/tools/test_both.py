"""Both tools: what a model sees of them, whose memory they work on, and in an agent."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import (
    ChromaReader,
    Memory,
    MemoryRecord,
    NamespaceError,
    create_manage_memory_tool,
    create_search_memory_tool,
)
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.tools import ACTIONS
from tests.graphs.scripted import scripted, using
from tests.tools.calling import answer


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


# Whose memory


USERS = ["anna", "anna@example.org", "a.b", "a b", " a", "7", 7_000_000_000, "{user_id}", "a/b%", "用户", "A"]


class User:
    """What a LangGraph server puts into `configurable`."""

    def __init__(self, identity: str) -> None:
        self.identity = identity


@dataclass
class Context:
    user_id: Any = None


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


# In an agent


@pytest.mark.parametrize("use_async", [False, True])
async def test_in_an_agent(memory: Memory, use_async: bool) -> None:
    namespace = ("users", "{user_id}")
    model = scripted(
        using("manage_memory", action="create", content="Anna's favourite colour is teal"),
        using("search_memory", query="favourite colour"),
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


@pytest.mark.parametrize("use_async", [False, True])
async def test_the_store_of_the_agent_is_used(tmp_path: Path, namespace: Namespace, use_async: bool) -> None:
    store = InMemoryStore()
    with Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256))) as memory:
        tools = [
            create_manage_memory_tool(memory, namespace=namespace),
            create_search_memory_tool(memory, namespace=namespace),
        ]
        model = scripted(using("manage_memory", content="Anna sleeps"), using("search_memory", query="Anna"), "Done.")
        agent = create_agent(model, tools, store=store)
        asked: Any = {"messages": [HumanMessage("Remember.")]}
        state = await agent.ainvoke(asked) if use_async else agent.invoke(asked)
        assert state["messages"][-2].content == "[0] Anna sleeps"
        assert len(store.search(namespace)) == 1
