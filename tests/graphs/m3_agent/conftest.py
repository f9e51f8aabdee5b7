"""The loop over the small memory."""

from typing import Any

import pytest
from langchain_core.tools import BaseTool

from graphs.m3_agent import Protocol, create_m3_agent
from tests.graphs.m3_agent.running import Compile, Graph


@pytest.fixture
def agent(search: BaseTool) -> Compile:
    """Compiles the loop over the search tool."""

    def compile(model: Any, protocol: Protocol = "tool_calls", *, checkpointer: Any = None, **options: Any) -> Graph:
        return create_m3_agent([search], model, protocol=protocol, **options).compile(checkpointer=checkpointer)

    return compile
