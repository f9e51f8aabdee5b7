"""The memory as LangChain tools, for any agent that calls tools."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.config import get_config
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import get_runtime
from pydantic import Field

from linmem_langgraph.errors import ConfigError, ContextOverflow, ReaderUnavailable, RecordError
from linmem_langgraph.memory import Memory, as_query
from linmem_langgraph.namespaces import Namespace, NamespaceTemplate
from linmem_langgraph.records import MemoryRecord, Reading, as_record

SEARCH_INSTRUCTIONS = (
    "Search long-term memory. Ask one specific question, or name the people, things and places it is about. The result "
    "tells what was remembered, each with its position in time in brackets: a higher position is later, and a later "
    "record overrules an earlier one. If the result does not answer the question, search again in other words."
)

MANAGE_INSTRUCTIONS = (
    "Change long-term memory: create a memory, update one, or delete one. Remember what will matter later: facts about "
    "the user, preferences, decisions, corrections. Write each as one self-contained sentence."
)

Action = Literal["create", "update", "delete"]
ACTIONS: tuple[Action, ...] = ("create", "update", "delete")


def create_search_memory_tool(
    memory: Memory,
    *,
    namespace: Namespace | str,
    until: int | None = None,
    name: str = "search_memory",
    instructions: str = SEARCH_INSTRUCTIONS,
    show_ids: bool = False,
) -> BaseTool:
    """A tool that reads memory.

    What the model can mend (an empty query, a bad filter) and a reader that is down are errors it reads; what only the
    developer can mend is raised.

    The model sees the reading's text; the message's artifact is the reading as plain dicts and lists, with its
    namespace and `until`. Records whose keys the state of the running graph lists in `seen_keys` are left out.

    Args:
        memory: what to read.
        namespace: whose memory, with `{fields}` filled at run time (see `NamespaceTemplate`).
        until: the as-of bound of every read, a position, inclusive.
        name: the tool's name.
        instructions: the tool's description, a prompt for the model.
        show_ids: end the text with the ids of its records, which the manage tool takes.

    Raises:
        NamespaceError: the template is invalid; when the tool runs: a field has no value.
    """
    template = NamespaceTemplate(namespace)

    def asked(query: Any, limit: Any, filter: Any, runtime: Any) -> tuple[Namespace, frozenset[str]]:
        where = _namespace(template, runtime)
        try:
            as_query(query, limit, filter=filter)
        except ConfigError as exc:
            raise ToolException(str(exc)) from exc
        return where, _seen(runtime)

    def shown(reading: Reading, where: Namespace) -> tuple[str, dict[str, Any]]:
        ids = ", ".join(f"[{hit.record.position}] {hit.record.key}" for hit in reading.records)
        text = f"{reading.text}\nids: {ids}" if show_ids and ids else reading.text
        return text, _artifact(reading, where, until)

    def search(
        query: Annotated[str, Field(description="What to look for: a question, or words that memory would contain.")],
        limit: Annotated[int | None, Field(ge=1, le=100, description="At most this many results.")] = None,
        offset: Annotated[int, Field(ge=0, le=1000, description="Skip this many of the best results.")] = 0,
        filter: Annotated[
            dict[str, Any] | None,
            Field(description='Conditions on the records, such as {"kind": "semantic", "position": {"$gte": 3}}.'),
        ] = None,
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
    ) -> tuple[str, dict[str, Any]]:
        where, seen = asked(query, limit, filter, runtime)
        read = partial(memory.read, where, query, until=until, filter=filter)
        with _told_if_unavailable():
            skipped = read(limit=offset, exclude=seen).records if offset else ()
            return shown(read(limit=limit, exclude=seen | {str(hit.record.key) for hit in skipped}), where)

    async def asearch(
        query: str,
        limit: int | None = None,
        offset: int = 0,
        filter: dict[str, Any] | None = None,
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
    ) -> tuple[str, dict[str, Any]]:
        where, seen = asked(query, limit, filter, runtime)
        read = partial(memory.aread, where, query, until=until, filter=filter)
        with _told_if_unavailable():
            skipped = (await read(limit=offset, exclude=seen)).records if offset else ()
            return shown(await read(limit=limit, exclude=seen | {str(hit.record.key) for hit in skipped}), where)

    return StructuredTool.from_function(
        search,
        coroutine=asearch,
        name=name,
        description=instructions,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


def create_manage_memory_tool(
    memory: Memory,
    *,
    namespace: Namespace | str,
    actions: Sequence[Action] = ACTIONS,
    name: str = "manage_memory",
    instructions: str = MANAGE_INSTRUCTIONS,
) -> BaseTool:
    """A tool that creates, updates and deletes memories.

    The model learns the ids of older memories from a search tool made with `show_ids=True`.

    Args:
        memory: what to change.
        namespace: whose memory, with `{fields}` filled at run time (see `NamespaceTemplate`).
        actions: which of "create", "update", "delete" the model may do.
        name: the tool's name.
        instructions: the tool's description, a prompt for the model.

    Raises:
        ConfigError: an action is unknown, or there is none.
        NamespaceError: the template is invalid; when the tool runs: a field has no value.
    """
    template = NamespaceTemplate(namespace)
    allowed = tuple(dict.fromkeys(actions))
    if unknown := [action for action in allowed if action not in ACTIONS]:
        raise ConfigError(f"unknown action {unknown[0]!r}; choose among {', '.join(ACTIONS)}")
    if not allowed:
        raise ConfigError(f"actions is empty: choose among {', '.join(ACTIONS)}")

    def manage(
        content: Annotated[str | None, Field(description="The memory's text, for create and update.")] = None,
        action: Annotated[Literal[allowed], Field(description="What to do.")] = allowed[0],  # type: ignore[valid-type]
        id: Annotated[str | None, Field(description="Which memory to update or delete.")] = None,
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
    ) -> tuple[str, dict[str, Any]]:
        where = _namespace(template, runtime)
        with _told_if_unavailable():
            done = _manage(memory, where, content, action, id)
        return f"{done['action']} memory {done['id']}", {**done, "namespace": list(where)}

    return StructuredTool.from_function(
        manage,
        name=name,
        description=instructions,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


@contextmanager
def _told_if_unavailable() -> Iterator[None]:
    """An agent goes on without its memory; it is told that it has to."""
    try:
        yield
    except (ReaderUnavailable, ContextOverflow) as exc:
        raise ToolException(f"memory is unavailable: {exc}") from exc


def _manage(memory: Memory, where: Namespace, content: str | None, action: str, id: str | None) -> dict[str, Any]:
    if action == "create":
        if id is not None:
            raise ToolException("create takes no id: leave it out, or update the memory with that id")
        return {"action": "created", "id": memory.write(where, _content(content, action))[0]}
    if not id:
        raise ToolException(f"{action} needs the id of a memory")
    if action == "delete":
        if not memory.forget(where, [id]).forgotten:
            raise ToolException(f"there is no memory with the id {id!r}")
        return {"action": "deleted", "id": id}
    known = memory.get(where, [id])
    if not known:
        raise ToolException(f"there is no memory with the id {id!r}: create one instead")
    memory.write(where, known[0].model_copy(update={"text": _content(content, action).text}))
    return {"action": "updated", "id": id}


def _content(content: str | None, action: str) -> MemoryRecord:
    if not content or not content.strip():
        raise ToolException(f"{action} needs content: the text to remember")
    try:
        return as_record(content)
    except RecordError as exc:
        raise ToolException(str(exc)) from exc


def _seen(runtime: ToolRuntime[Any, Any] | None) -> frozenset[str]:
    """What the loop of `graphs.m3_agent` says it has shown; another graph's field of that name is not touched."""
    state = getattr(runtime, "state", None)
    found = state.get("seen_keys") if isinstance(state, Mapping) else None
    return frozenset(key for key in found if isinstance(key, str)) if isinstance(found, list) else frozenset()


def _namespace(template: NamespaceTemplate, runtime: ToolRuntime[Any, Any] | None) -> Namespace:
    running = runtime or _running()
    return template.fill(
        context=getattr(running, "context", None),
        configurable=(runtime.config if runtime else _config()).get("configurable"),
        user=getattr(getattr(running, "server_info", None), "user", None),
    )


def _running() -> Any:
    """The runtime of the graph that a tool is called in by hand, where no `ToolNode` gives it."""
    try:
        return get_runtime()
    except (RuntimeError, KeyError):
        return None


def _config() -> RunnableConfig:
    """The configuration that a tool is called with by hand."""
    try:
        return get_config()
    except RuntimeError:
        return {}


def _artifact(reading: Reading, where: Namespace, until: int | None) -> dict[str, Any]:
    return {**reading.model_dump(mode="json", exclude={"text"}), "namespace": list(where), "until": until}
