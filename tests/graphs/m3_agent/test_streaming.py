"""Every way to run the loop: at once, under asyncio, streamed, and as events."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, ToolMessage

from graphs.m3_agent import Protocol
from tests.graphs.m3_agent.running import Compile, Graph, ask, both, tool_messages
from tests.graphs.scripted import answering, scripted, searching


def _invoke(graph: Graph) -> dict[str, Any]:
    return dict(graph.invoke(ask()))


def _ainvoke(graph: Graph) -> dict[str, Any]:
    return dict(asyncio.run(graph.ainvoke(ask())))


def _stream(graph: Graph) -> dict[str, Any]:
    return dict(list(graph.stream(ask(), stream_mode="values"))[-1])


def _astream(graph: Graph) -> dict[str, Any]:
    async def last() -> dict[str, Any]:
        return dict([state async for state in graph.astream(ask(), stream_mode="values")][-1])

    return asyncio.run(last())


@both
@pytest.mark.parametrize("way", [_invoke, _ainvoke, _stream, _astream])
def test_every_way_to_run_it_ends_the_same(
    agent: Compile, protocol: Protocol, way: Callable[[Graph], dict[str, Any]]
) -> None:
    model = scripted(
        *[searching(protocol, "red mug")] * 2, "", searching(protocol, "blue coat"), answering(protocol, "x y")
    )
    state = way(agent(model, protocol))
    assert (state["answer"], state["rounds"], state["unparsable"], state["forced"]) == ("x y", 5, 1, True)
    assert [message.type for message in state["messages"]] == ["human", *["ai", "tool"] * 2, "ai", "ai", "tool", "ai"]
    assert len(tool_messages(state)) == 3


@both
def test_tokens_stream_with_the_node_they_come_from(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug"), answering(protocol, "It is on the table."))
    streamed: list[Any] = list(agent(model, protocol, max_rounds=2).stream(ask(), stream_mode="messages"))
    pieces = [(message, meta["langgraph_node"]) for message, meta in streamed]
    forced = [message.text for message, node in pieces if node == "answer" and isinstance(message, AIMessageChunk)]
    assert len(forced) > 5
    assert "".join(forced).endswith("It is on the table.")
    assert [node for message, node in pieces if isinstance(message, ToolMessage)] == ["memory"]


@both
async def test_tokens_stream_without_blocking(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug"), answering(protocol, "It is on the table."))
    graph = agent(model, protocol)
    pieces: list[Any] = [piece async for piece, _ in graph.astream(ask(), stream_mode="messages")]
    said = [piece.text for piece in pieces if isinstance(piece, AIMessageChunk)]
    assert "".join(said).endswith("It is on the table.")
    assert len(said) > 5


@both
async def test_events_tell_an_ordinary_tool_run(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug on the table"), answering(protocol, "On the table."))
    events = [event async for event in agent(model, protocol).astream_events(ask(), version="v2")]
    named = [(event["event"], event["name"]) for event in events]
    assert named.count(("on_tool_start", "search_memory")) == named.count(("on_tool_end", "search_memory")) == 1
    assert named.count(("on_chat_model_end", "ScriptedChatModel")) == 2
    assert ("on_chat_model_stream", "ScriptedChatModel") in named
    assert {"reason", "memory"} <= {name for kind, name in named if kind == "on_chain_start"}
    [end] = [event for event in events if event["event"] == "on_tool_end"]
    assert end["metadata"]["langgraph_node"] == "memory"
    assert end["data"]["output"].artifact["records"]
    assert end["data"]["input"] == {"query": "red mug on the table"}
