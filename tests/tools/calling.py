"""How a tool is called in a graph, and what the public suites are to know of it."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode

from linmem_langgraph import Memory, MemoryRecord
from tests.graphs.scripted import using


def node_graph(tool: BaseTool, *, state: Any = MessagesState, context: Any = None, checkpointer: Any = None) -> Any:
    graph = StateGraph(state, context_schema=context)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    return graph.compile(checkpointer=checkpointer)


def answer(tool: BaseTool, *, context: Any = None, config: Any = None, **arguments: Any) -> ToolMessage:
    """What the model is told when it calls `tool` in a graph."""
    graph: CompiledStateGraph[Any, Any] = node_graph(tool, context=type(context) if context is not None else None)
    message = graph.invoke({"messages": [using(tool.name, **arguments)]}, config, context=context)["messages"][-1]
    assert isinstance(message, ToolMessage)
    return message


class Suite:
    """What langchain-tests is to know: a tool over a memory of one record."""

    create: Callable[..., BaseTool]

    @pytest.fixture(autouse=True)
    def _make_tool(self, memory: Memory) -> None:
        memory.write(("suite",), MemoryRecord(text="Anna sleeps", key="known"))
        self.tool_under_test = type(self).create(memory, namespace=("suite",))

    @property
    def tool_constructor(self) -> BaseTool:
        return self.tool_under_test
