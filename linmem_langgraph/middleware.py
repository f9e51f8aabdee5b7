"""Memory for an agent of `langchain.agents.create_agent`, in one line.

    create_agent(model, tools, middleware=[MemoryMiddleware(memory, namespace=("users", "{user_id}"))])

It brings the tools. With `recall`, what memory holds about the user's message stands at the end of the system message,
the same for all model calls of a turn; with `capture`, what was said in a turn is remembered when it ends.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NotRequired, cast

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.runnables import run_in_executor
from langchain_core.tools import BaseTool
from langgraph.runtime import Runtime

from linmem_langgraph import turns
from linmem_langgraph.errors import ConfigError, ContextOverflow, ReaderUnavailable
from linmem_langgraph.memory import Memory
from linmem_langgraph.namespaces import Namespace, NamespaceTemplate
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.records import Reading
from linmem_langgraph.tools import ACTIONS, Action, create_manage_memory_tool, create_search_memory_tool

try:
    from langchain.agents import AgentState
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
    from langchain.agents.middleware.types import PrivateStateAttr
except ImportError as exc:
    raise ImportError("MemoryMiddleware needs langchain: pip install 'linmem-langgraph[langchain]'") from exc

logger = logging.getLogger(__name__)


def _together(old: dict[str, str] | None, new: dict[str, str] | None) -> dict[str, str]:
    return {**(old or {}), **(new or {})}


class MemoryState(AgentState[Any]):
    """The agent's state, and what each middleware has recalled for this turn."""

    recalled: NotRequired[Annotated[dict[str, str], PrivateStateAttr, _together]]


class MemoryMiddleware(AgentMiddleware[MemoryState, Any, Any]):
    """Tools, recall and capture over one memory; several of them, with other names, over several.

    Args:
        memory: what to read and write.
        namespace: whose memory, with `{fields}` filled at run time (see `NamespaceTemplate`).
        name: what tells several of them apart: the tools are `search_NAME` and `manage_NAME`.
        search: whether the model may search.
        actions: what the model may do by itself, of "create", "update", "delete"; none = it can only read.
        recall: read memory with the user's message before the model is called, once a turn. If memory cannot be read,
            the model is told so.
        recall_limit: at most so many records; None = the reader's own.
        recall_tokens: of what is recalled, at most, about.
        capture: write what the user and the assistant said, when the turn ends; no model is called, and a turn that
            is resumed or retried is written once.

    Raises:
        ConfigError: an argument is invalid.
        NamespaceError: the template is invalid; when the agent runs: a field has no value.
    """

    state_schema = MemoryState

    def __init__(
        self,
        memory: Memory,
        *,
        namespace: Namespace | str,
        name: str = "memory",
        search: bool = True,
        actions: Sequence[Action] = ACTIONS,
        recall: bool = False,
        recall_limit: int | None = None,
        recall_tokens: int = 1_000,
        capture: bool = False,
    ) -> None:
        if not name.isidentifier():
            raise ConfigError(f"name is {name!r}: it is part of the tools' names, so write letters, digits and _")
        if recall_tokens < 1:
            raise ConfigError(f"recall_tokens is {recall_tokens}: give 1 or more, or recall=False")
        self._memory, self._template, self._name = memory, NamespaceTemplate(namespace), name
        self._recalls, self._captures = recall, capture
        self._limit, self._budget = recall_limit, recall_tokens
        self.tools = self._tools(namespace, search, actions)

    @property
    def name(self) -> str:
        """Tells it from others in an agent."""
        return f"MemoryMiddleware.{self._name}"

    def before_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Recall, once a turn."""
        if not self._recalls:
            return None
        where, asked = self._where(runtime), turns.question(_messages(state))
        try:
            text = self._text(self._memory.read(where, asked, limit=self._limit)) if asked else ""
        except (ReaderUnavailable, ContextOverflow) as exc:
            text = _unavailable(exc)
        return {"recalled": {self._name: text}}

    async def abefore_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Recall, once a turn."""
        if not self._recalls:
            return None
        where, asked = self._where(runtime), turns.question(_messages(state))
        try:
            text = self._text(await self._memory.aread(where, asked, limit=self._limit)) if asked else ""
        except (ReaderUnavailable, ContextOverflow) as exc:
            text = _unavailable(exc)
        return {"recalled": {self._name: text}}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Put what was recalled at the end of the system message."""
        return handler(self._told(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """Put what was recalled at the end of the system message."""
        return await handler(self._told(request))

    def after_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Remember what was said."""
        if self._captures:
            turns.remember(self._memory, self._where(runtime), _messages(state), turns.thread())
        return None

    async def aafter_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Remember what was said."""
        if self._captures:
            said = self._where(runtime), _messages(state), turns.thread()
            await run_in_executor(None, turns.remember, self._memory, *said)
        return None

    def _tools(self, namespace: Namespace | str, search: bool, actions: Sequence[Action]) -> list[BaseTool]:
        made = list[BaseTool]()
        if search:
            name = f"search_{self._name}"
            made.append(create_search_memory_tool(self._memory, namespace=namespace, name=name, show_ids=bool(actions)))
        if actions:
            name = f"manage_{self._name}"
            made.append(create_manage_memory_tool(self._memory, namespace=namespace, name=name, actions=actions))
        return made

    def _where(self, runtime: Runtime[Any]) -> Namespace:
        return turns.namespace_of(self._template, runtime)

    def _text(self, reading: Reading) -> str:
        return "" if reading.text == NOTHING else turns.RECALLED.format(text=turns.within(reading, self._budget))

    def _told(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        text = cast("dict[str, Any]", request.state).get("recalled", {}).get(self._name)
        if not text:
            return request
        before = request.system_message.content_blocks if request.system_message else []
        blocks: list[Any] = [*before, {"type": "text", "text": f"\n\n{text}" if before else text}]
        return request.override(system_message=SystemMessage(content=blocks))


def _messages(state: MemoryState) -> Sequence[BaseMessage]:
    return state["messages"]


def _unavailable(exc: Exception) -> str:
    logger.warning("memory was not recalled: %s", exc)
    return turns.UNAVAILABLE
