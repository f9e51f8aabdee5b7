"""An agent of `langchain.agents.create_agent`, as there are many, with memory dropped in."""

from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langgraph.graph.state import CompiledStateGraph

from linmem_langgraph.memory import Memory
from linmem_langgraph.middleware import MemoryMiddleware
from linmem_langgraph.namespaces import Namespace

SYSTEM = "You are a helpful assistant with a long-term memory. Search it before you say that you do not know."


def create_drop_in(
    memory: Memory, model: BaseChatModel, *, namespace: Namespace | str, context_schema: type[Any] | None = None
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The agent: it recalls before it answers, searches and manages memory by itself, and remembers what was said.

    Args:
        memory: what it reads and writes.
        model: one that calls tools.
        namespace: whose memory, with `{fields}` filled at run time.
        context_schema: of the run-time context, as in `create_agent`.

    Raises:
        NamespaceError: the template is invalid; when it runs: a field has no value.
    """
    remembering = MemoryMiddleware(memory, namespace=namespace, recall=True, capture=True)
    return create_agent(model, system_prompt=SYSTEM, middleware=[remembering], context_schema=context_schema)
