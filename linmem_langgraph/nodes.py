"""Memory as nodes of a hand-made graph whose state has `messages`.

    graph.add_node("recall", recall_node(memory, namespace=("users", "{user_id}")))
    graph.add_node("remember", remember_node(memory, namespace=("users", "{user_id}")))

What `recall` finds is in the state's `recalled`, for the prompt. Both are synchronous: LangGraph runs such nodes beside
its event loop.
"""

from typing import Any, Protocol

from langgraph.runtime import Runtime

from linmem_langgraph import turns
from linmem_langgraph.memory import Memory
from linmem_langgraph.namespaces import Namespace, NamespaceTemplate


class Node(Protocol):
    """What `StateGraph.add_node` takes."""

    def __call__(self, state: Any, *, runtime: Runtime[Any]) -> dict[str, Any]:
        """What of the state changes."""


def recall_node(
    memory: Memory,
    *,
    namespace: Namespace | str,
    key: str = "recalled",
    limit: int | None = None,
    tokens: int = 1_000,
) -> Node:
    """A node that reads memory with the user's last message.

    Args:
        memory: what to read.
        namespace: whose memory, with `{fields}` filled at run time (see `NamespaceTemplate`).
        key: of the state: gets the text; "" where the user's message is none.
        limit: at most so many records; None = the reader's own.
        tokens: of the text, at most, about.

    Raises:
        NamespaceError: the template is invalid; when it runs: a field has no value.
        ReaderUnavailable: when it runs: the reader cannot be reached.
    """
    template = NamespaceTemplate(namespace)

    def recall(state: Any, *, runtime: Runtime[Any]) -> dict[str, Any]:
        where, asked = turns.namespace_of(template, runtime), turns.question(state["messages"])
        return {key: turns.within(memory.read(where, asked, limit=limit), tokens) if asked else ""}

    return recall


def remember_node(memory: Memory, *, namespace: Namespace | str) -> Node:
    """A node that writes what the user and the assistant said in the last turn; tools' messages are left out.

    It calls no model. It may run several times in a turn: what is there already is not written again.

    Args:
        memory: what to write to.
        namespace: whose memory, with `{fields}` filled at run time (see `NamespaceTemplate`).

    Raises:
        NamespaceError: the template is invalid; when it runs: a field has no value.
    """
    template = NamespaceTemplate(namespace)

    def remember(state: Any, *, runtime: Runtime[Any]) -> dict[str, Any]:
        turns.remember(memory, turns.namespace_of(template, runtime), state["messages"], turns.thread())
        return {}

    return remember
