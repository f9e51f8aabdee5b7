"""A chat model whose words are fixed, behind the real interface, and the two protocols it can be made to speak."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from graphs.m3_agent import Protocol

Reply = AIMessage | str | Exception


@dataclass(frozen=True)
class Call:
    """What the model was given once: the messages, as they were then, and the names of its tools."""

    messages: list[BaseMessage]
    tools: list[str]

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    @property
    def types(self) -> list[str]:
        return [message.type for message in self.messages]


class ScriptedChatModel(BaseChatModel):
    """Says `replies` one after the other, raising those that are exceptions; with `forever`, the last again."""

    replies: list[Any]
    forever: bool = False
    _calls: list[Call] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def calls(self) -> list[Call]:
        return self._calls

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _next(self, messages: list[BaseMessage], tools: Sequence[dict[str, Any]]) -> AIMessage:
        place = len(self._calls)
        copies = [message.model_copy(deep=True) for message in messages]
        self._calls.append(Call(copies, [tool["function"]["name"] for tool in tools]))
        if place >= len(self.replies) and not self.forever:
            raise AssertionError(f"call {place + 1}, but only {len(self.replies)} replies are scripted: {copies[-1]!r}")
        reply: Reply = self.replies[min(place, len(self.replies) - 1)]
        if isinstance(reply, Exception):
            raise reply
        return AIMessage(reply) if isinstance(reply, str) else reply.model_copy(deep=True)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        tools: Sequence[dict[str, Any]] = (),
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages, tools))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        tools: Sequence[dict[str, Any]] = (),
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for message in _pieces(self._next(messages, tools)):
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk


def _pieces(message: AIMessage) -> Iterator[AIMessageChunk]:
    """The message as a server would stream it: word by word, then its tool calls, then the end."""
    if isinstance(message.content, str):
        yield from (AIMessageChunk(content=word) for word in re.findall(r"\S+\s*|\s+", message.content))
    else:
        yield AIMessageChunk(content=message.content)
    for place, call in enumerate(message.tool_calls):
        name, args = call["name"], json.dumps(call["args"])
        yield AIMessageChunk(
            content="", tool_call_chunks=[tool_call_chunk(name=name, args=args, id=call["id"], index=place)]
        )
    yield AIMessageChunk(content="", chunk_position="last")


def scripted(*replies: Reply, forever: bool = False) -> ScriptedChatModel:
    """A model that says `replies`."""
    return ScriptedChatModel(replies=list(replies), forever=forever)


def calling(*queries: str, name: str = "search_memory", text: str = "") -> AIMessage:
    """A turn that calls a tool once for each query."""
    calls = [
        tool_call(name=name, args={"query": query}, id=f"call_{query}_{place}") for place, query in enumerate(queries)
    ]
    return AIMessage(text, tool_calls=calls)


def using(name: str = "search_memory", **arguments: Any) -> AIMessage:
    """A turn that calls a tool with these arguments."""
    return AIMessage("", tool_calls=[tool_call(name=name, args=arguments, id=f"{name}-1")])


def searching(protocol: Protocol, query: str) -> AIMessage:
    """A turn that searches for `query`."""
    return (
        calling(query)
        if protocol == "tool_calls"
        else AIMessage(f"I look.</think>\n\nAction: [Search]\nContent: {query}")
    )


def answering(protocol: Protocol, answer: str) -> AIMessage:
    """A turn that answers."""
    return AIMessage(answer if protocol == "tool_calls" else f"I know.</think>\n\nAction: [Answer]\nContent: {answer}")
