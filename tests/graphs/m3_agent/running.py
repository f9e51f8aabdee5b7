"""One question asked of the loop, and what its state and its nodes tell."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.graph.state import CompiledStateGraph

from graphs.m3_agent import M3Input, M3State

QUESTION = "Where is the red mug?"
Graph = CompiledStateGraph[M3State, None, M3Input, M3State]
Compile = Callable[..., Graph]

both = pytest.mark.parametrize("protocol", ["tool_calls", "m3"])


def ask(question: str = QUESTION) -> M3Input:
    return {"messages": [HumanMessage(question)]}


def run(graph: Graph, question: str = QUESTION) -> dict[str, Any]:
    return dict(graph.invoke(ask(question)))


def nodes(graph: Graph) -> list[str]:
    return [node for update in graph.stream(ask(), stream_mode="updates") for node in update]


def tool_messages(state: Mapping[str, Any]) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


def shown(message: ToolMessage) -> list[int]:
    """The positions a search has returned, as its artifact tells."""
    return sorted({hit["record"]["position"] for hit in message.artifact["records"]})
