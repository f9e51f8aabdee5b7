"""langmem's two tools over this package's memory: moving over is one changed import line.

    from langmem import create_manage_memory_tool, create_search_memory_tool  # before
    from linmem_langgraph.langmem import create_manage_memory_tool, create_search_memory_tool  # after

They take the arguments of langmem 0.0.30. What langmem has stored is taken over by `linmem import-langmem`.

What differs. A memory is a text: content of another `schema` is kept as its JSON. A search shows the records as a text
with their ids, not as JSON of the store's items. A mistake of the model (an unknown id, no content) is an error message
that it reads, where langmem raises. Any label of a namespace may have a field, as in `("user-{user_id}",)`; a field's
value comes from the run's context, too, and may be an integer, a UUID or an e-mail address; a missing one is a
`NamespaceError`. Without a store it is a `ConfigError` that says so. What other programs keep in the same namespaces,
langmem among them, is no memory until it has been imported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from functools import cache, wraps
from typing import Annotated, Any, Literal, cast
from weakref import WeakValueDictionary

from langchain_core.tools import BaseTool, StructuredTool
from langgraph.prebuilt import ToolRuntime
from langgraph.store.base import BaseStore, Item
from pydantic import BaseModel, Field, ValidationError

from linmem_langgraph import tools
from linmem_langgraph.errors import ConfigError, RecordError
from linmem_langgraph.memory import Memory
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.by_store import StoreReader
from linmem_langgraph.records import MemoryRecord
from linmem_langgraph.tools import ACTIONS, Action

WHEN = "Use it when the user asks you to remember something, states a preference, or corrects what you know."

_FORMATS = ("content", "content_and_artifact")


def create_manage_memory_tool(
    namespace: Namespace | str,
    *,
    instructions: str = WHEN,
    schema: Any = str,
    actions_permitted: Sequence[Action] | None = ACTIONS,
    store: BaseStore | None = None,
    name: str = "manage_memory",
    memory: Memory | None = None,
) -> BaseTool:
    """langmem's tool that creates, updates and deletes memories.

    Args:
        namespace: whose memory, with `{fields}` filled at run time, such as `("memories", "{langgraph_user_id}")`.
        instructions: when to use it; follows what the tool's description says anyway.
        schema: what the model writes: a string, or a Pydantic model or another type, which is kept as JSON.
        actions_permitted: which of "create", "update", "delete" the model may do.
        store: the store that keeps the log; None = the running graph's own.
        name: the tool's name.
        memory: a memory of your own instead, with its reader. Without one, Chroma reads the store, with the embeddings
            that the store was given (`index=...`), else with lexical ones; its index is temporary and is made anew by
            each process.

    Raises:
        ConfigError: an action is unknown, there is none, or both `store` and `memory` are given.
        NamespaceError: the template is invalid; when the tool runs: a field has no value.
    """
    # langmem's default action is to create wherever that is permitted; ours is the first.
    actions = sorted(actions_permitted or (), key=lambda action: action != "create")
    made = tools.create_manage_memory_tool(
        _memory(store, memory),
        namespace=namespace,
        actions=actions,
        name=name,
        instructions=_described(tools.MANAGE_INSTRUCTIONS, instructions),
    )
    tool = cast("StructuredTool", made)
    return tool if schema is str else _structured(tool, schema, tuple(actions))


def create_search_memory_tool(
    namespace: Namespace | str,
    *,
    instructions: str = "",
    store: BaseStore | None = None,
    response_format: Literal["content", "content_and_artifact"] = "content",
    name: str = "search_memory",
    memory: Memory | None = None,
) -> BaseTool:
    """langmem's tool that searches memories.

    The model sees the reading's text and the records' ids. Filters are on the records' fields and metadata.

    Args:
        namespace: whose memory, with `{fields}` filled at run time, such as `("memories", "{langgraph_user_id}")`.
        instructions: when to use it; follows what the tool's description says anyway.
        store: the store that keeps the log; None = the running graph's own.
        response_format: "content_and_artifact" gives the message an artifact: the reading as plain dicts and lists,
            with `records`, where langmem gives the store's items.
        name: the tool's name.
        memory: a memory of your own instead (see `create_manage_memory_tool`).

    Raises:
        ConfigError: `response_format` is unknown, or both `store` and `memory` are given.
        NamespaceError: the template is invalid; when the tool runs: a field has no value.
    """
    if response_format not in _FORMATS:
        raise ConfigError(f"response_format is {response_format!r}: choose {' or '.join(_FORMATS)}")
    made = tools.create_search_memory_tool(
        _memory(store, memory),
        namespace=namespace,
        name=name,
        instructions=_described(tools.SEARCH_INSTRUCTIONS, instructions),
        show_ids=True,
    )
    tool = cast("StructuredTool", made)
    return tool if response_format == "content_and_artifact" else _without_artifact(tool)


def as_text(content: Any) -> str:
    """langmem's content as a record's text: a string as it is, the text of its `Memory`, else JSON."""
    if isinstance(content, BaseModel):
        content = content.model_dump(mode="json")
    if isinstance(content, Mapping) and content.keys() == {"content"}:
        content = content["content"]
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def as_record(item: Item) -> MemoryRecord | None:
    """A store's item as a record with its key; None if it is none of langmem's.

    langmem's tools keep `{"content": ...}`, its memory managers `{"kind": ..., "content": ...}`. A record's kind is
    that one, or else "episodic".

    Raises:
        RecordError: it is langmem's, but its content cannot be remembered.
    """
    if item.value.keys() not in ({"content"}, {"kind", "content"}):
        return None
    if item.value["content"] is None:
        raise RecordError("it has no content")
    kind = {"kind": item.value["kind"]} if "kind" in item.value else {}
    created = item.created_at if item.created_at.tzinfo else item.created_at.replace(tzinfo=UTC)
    try:
        return MemoryRecord(text=as_text(item.value["content"]), key=item.key, created_at=created, **kind)
    except ValidationError as exc:
        problem = exc.errors()[0]
        raise RecordError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from exc


_store_reader = cache(StoreReader)

_memories: WeakValueDictionary[int, Memory] = WeakValueDictionary()
"""The tools over one store share a memory; it holds the store, whose id is no other's as long as it lives."""


def _memory(store: BaseStore | None, given: Memory | None) -> Memory:
    if given is not None and store is not None:
        raise ConfigError("give the tool a store or a memory, not both: a memory has its own store")
    if given is not None:
        return given
    return _memories.setdefault(id(store), Memory(_store_reader(), store=store))


def _described(what: str, when: str) -> str:
    return f"{what}\n{when}" if when else what


def _structured(tool: StructuredTool, schema: Any, actions: tuple[Action, ...]) -> BaseTool:
    """The tool for content of another type than text."""

    def manage(
        content: Annotated[schema | None, Field(description="The memory, for create and update.")] = None,
        action: Annotated[Literal[actions], Field(description="What to do.")] = actions[0],  # type: ignore[valid-type]
        id: Annotated[str | None, Field(description="Which memory to update or delete.")] = None,
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
    ) -> Any:
        text = None if content is None else as_text(content)
        return _of(tool.func)(content=text, action=action, id=id, runtime=runtime)

    return StructuredTool.from_function(
        manage,
        name=tool.name,
        description=tool.description,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


def _without_artifact(tool: StructuredTool) -> BaseTool:
    @wraps(_of(tool.func))
    def search(*args: Any, **kwargs: Any) -> str:
        return str(_of(tool.func)(*args, **kwargs)[0])

    @wraps(_of(tool.coroutine))
    async def asearch(*args: Any, **kwargs: Any) -> str:
        return str((await _of(tool.coroutine)(*args, **kwargs))[0])

    return tool.model_copy(update={"func": search, "coroutine": asearch, "response_format": "content"})


def _of(function: Callable[..., Any] | None) -> Callable[..., Any]:
    assert function is not None
    return function
