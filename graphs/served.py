"""The graphs of `langgraph.json`, bare: a server brings its own checkpointer and store.

Settings are read and files opened by the first call, in a thread, since a server calls these on its event loop.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import cache, wraps
from typing import Any

from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, create_model

from graphs.drop_in import create_drop_in
from graphs.inspector import create_inspector
from graphs.m3_agent import create_m3_agent
from graphs.settings import shared
from linmem_langgraph.tools import create_search_memory_tool

Graph = CompiledStateGraph[Any, Any, Any, Any]


def _in_a_thread(make: Callable[[], Graph]) -> Callable[[], Coroutine[Any, Any, Graph]]:
    made = cache(make)

    @wraps(make)
    async def served() -> Graph:
        return await asyncio.to_thread(made)

    return served


@_in_a_thread
def m3_agent() -> Graph:
    """The M3-Agent loop over the memory."""
    common = shared()
    search = create_search_memory_tool(common.memory, namespace=common.template.labels)
    graph = create_m3_agent([search], common.model, protocol=common.protocol, context_schema=_context())
    return graph.compile(name="m3_agent")


@_in_a_thread
def drop_in() -> Graph:
    """An agent of `create_agent` with the memory."""
    common = shared()
    return create_drop_in(common.memory, common.model, namespace=common.template.labels, context_schema=_context())


@_in_a_thread
def memory() -> Graph:
    """The inspector of the memory."""
    common = shared()
    graph = create_inspector(common.memory, namespace=common.template.labels, context_schema=_context())
    return graph.compile(name="memory")


@cache
def _context() -> type[BaseModel]:
    """What a run says of whose memory it works with: the fields of the namespace, a form in Studio."""
    fields: dict[str, Any] = dict.fromkeys(shared().template.fields, (str | int | None, None))
    return create_model("Whose", **fields)
