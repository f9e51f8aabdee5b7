"""How a controller is spoken to: the dialogue it is shown in each protocol, and what its turn means."""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from graphs.prompts import Prompts
from graphs.protocol import EMPTY_HINT, parse_turn, render_knowledge, render_text
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers.base import NOTHING

Turn = Callable[[Sequence[BaseMessage], bool], tuple[AIMessage, str]]
"""Given the messages and whether this is the last round: the controller's message, and its answer, "" without one."""


def tool_calls_turn(tools: Sequence[BaseTool], model: BaseChatModel, prompts: Prompts) -> Turn:
    """For a controller that calls tools: a turn without calls is its answer.

    Raises:
        ConfigError: the model cannot call tools.
    """
    try:
        controller: Runnable[Any, AIMessage] = model.bind_tools(tools)
    except NotImplementedError as exc:
        raise ConfigError(
            f"{type(model).__name__} does not call tools: choose a model that does, or protocol='m3'"
        ) from exc

    def turn(messages: Sequence[BaseMessage], last: bool) -> tuple[AIMessage, str]:
        empty = prompts.empty if _is_empty(messages[-1]) else ""
        notes = [prompts.final] if last else [empty, prompts.instruction]
        system = SystemMessage(prompts.system.replace("{question}", question_of(messages)))
        # Servers refuse an assistant's message without content and calls.
        said = [message for message in messages if not _is_empty(message)]
        message = controller.invoke([system, *_with_note(said, "\n".join(filter(None, notes)))])
        garbled = bool(message.invalid_tool_calls)
        # A call that cannot be parsed is never answered, and servers refuse a dialogue with an unanswered call.
        message = message.model_copy(update={"invalid_tool_calls": []})
        text = message.text.rpartition("</think>")[2].strip()
        return message, text if last or not (message.tool_calls or garbled) else ""

    return turn


def m3_turn(tools: Sequence[BaseTool], model: BaseChatModel, prompts: Prompts) -> Turn:
    """For M3-Agent's controller: searches and answers are text, see `graphs.protocol`.

    Raises:
        ConfigError: no tool takes a `query`, or the wording leaves out the question.
    """
    search = next((tool.name for tool in tools if "query" in tool.args), None)
    if search is None:
        raise ConfigError("the m3 protocol needs a tool that takes a 'query': pass create_search_memory_tool(...)")
    if "{question}" not in prompts.system:
        raise ConfigError(
            "the system prompt of the m3 protocol must contain {question}: nothing else says what is asked"
        )

    def turn(messages: Sequence[BaseMessage], last: bool) -> tuple[AIMessage, str]:
        *before, latest = _as_m3(messages, prompts.system.replace("{question}", question_of(messages)))
        instruction = prompts.final if last else prompts.instruction
        message = model.invoke([*before, HumanMessage(f"{latest.text}{instruction}")])
        parsed = parse_turn(message.text)
        if parsed and parsed.action == "answer":
            return message, parsed.content
        if parsed and not last:
            call = {"name": search, "args": {"query": parsed.content}, "id": f"call_{uuid4().hex}", "type": "tool_call"}
            return message.model_copy(update={"tool_calls": [call]}), ""
        return message, ""

    return turn


TURNS = {"tool_calls": tool_calls_turn, "m3": m3_turn}


def question_of(messages: Sequence[BaseMessage]) -> str:
    """The question: the last human message."""
    return messages[_asked(messages)].text


def shown_records(messages: Sequence[BaseMessage]) -> list[Mapping[str, Any]]:
    """The records that the latest searches have shown."""
    latest = takewhile(lambda message: isinstance(message, ToolMessage), reversed(messages))
    return [record for message in latest if isinstance(message, ToolMessage) for record in _records(message) or ()]


def _asked(messages: Sequence[BaseMessage]) -> int:
    return max(place for place, message in enumerate(messages) if isinstance(message, HumanMessage))


def _is_empty(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage) and not message.text.strip() and not message.tool_calls


def _with_note(messages: list[BaseMessage], note: str) -> list[BaseMessage]:
    """Some servers want user and assistant to take turns: a note after a user's message becomes part of it."""
    if not note:
        return messages
    *before, last = messages
    if isinstance(last, HumanMessage):
        return [*before, HumanMessage(f"{last.text}\n\n{note}")]
    return [*messages, HumanMessage(note)]


def _as_m3(messages: Sequence[BaseMessage], system: str) -> list[BaseMessage]:
    """The dialogue since the question: results are user messages, and an unreadable turn was an empty search."""
    dialogue: list[BaseMessage] = [SystemMessage(system), HumanMessage("Searched knowledge: {}")]
    for message in messages[_asked(messages) :]:
        if isinstance(message, AIMessage):
            dialogue.append(AIMessage(message.text if message.text.strip() else "(nothing)"))
            if not message.tool_calls:
                dialogue.append(HumanMessage(render_knowledge([])))
        elif isinstance(message, ToolMessage):
            dialogue.append(HumanMessage(_knowledge(message)))
    return dialogue


def _knowledge(message: ToolMessage) -> str:
    if message.status == "error":
        return render_knowledge([]).replace(EMPTY_HINT, f"({message.text})")
    records = _records(message)
    # What a model wrote from memory says more than the records it rests on.
    written = records is None or (message.artifact.get("model") and message.text != NOTHING)
    return render_text(message.text) if written else render_knowledge(records or [])


def _records(message: ToolMessage) -> list[Mapping[str, Any]] | None:
    """The records of a reading, None if the message is another tool's."""
    artifact = message.artifact
    if not isinstance(artifact, Mapping) or "records" not in artifact:
        return None
    return [hit["record"] for hit in artifact["records"]]
