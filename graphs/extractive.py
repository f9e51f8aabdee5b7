"""A controller without a model: it searches with the question and answers with the best-matching line of the result.

It is a baseline, and a stand-in on machines without a key: what it scores says how far words alone carry.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from graphs.protocol import TEXT
from linmem_langgraph.embeddings import content_words
from linmem_langgraph.readers.base import NOTHING

UNKNOWN = "Not in memory."

_QUESTION = re.compile(r"<question>(.*?)</question>", re.DOTALL)
_KNOWLEDGE = re.compile(r"\ASearched knowledge: (\{.*\})", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?!\[)")
_SAYS_YES_NO = re.compile(r"\A\s*(yes|no)\b", re.IGNORECASE)
_IDS = re.compile(r"\nids: .*\Z")
_PREFIX = re.compile(r"\A\[\d+[^\]]*\] ")
_YES_NO = re.compile(r"\A\s*(is|are|was|were|did|does|do|has|have|had|can|could|will|would)\b", re.IGNORECASE)


class ExtractiveChatModel(BaseChatModel):
    """Speaks both protocols of the M3-Agent loop; deterministic, knows no meaning.

    Bound to tools it calls the first one that takes a `query`; else it expects the m3 protocol. What a reader's model
    has written from memory, or a tool that shows no records, is an answer already: its last sentence is said, or all of
    it where a yes/no question is answered at its beginning. Of records it says the line that matches
    best. A yes/no question is answered yes if one line has all of its words. With nothing that shares half of the
    question's words it abstains.
    """

    @property
    def _llm_type(self) -> str:
        return "extractive-baseline"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="offline", ls_model_name="extractive", ls_model_type="chat")

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """A copy that calls tools."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        tools: Sequence[dict[str, Any]] = (),
        **kwargs: Any,
    ) -> ChatResult:
        messages = _since_question(messages)
        question = _question(messages)
        line = _written(question, messages) or best_line(question, _shown(messages))
        if tools:
            searched = any(isinstance(message, ToolMessage) for message in messages)
            search = next((name for name in map(_takes_query, tools) if name), None)
            reply = _call(search, question) if search and not searched else AIMessage(line)
        else:
            searched = any(isinstance(message, AIMessage) for message in messages)
            turn = f"Action: [Answer]\nContent: {line}" if searched else f"Action: [Search]\nContent: {question}"
            reply = AIMessage(turn)
        return ChatResult(generations=[ChatGeneration(message=reply)])


def conclusion(text: str) -> str:
    """The last sentence of what a model has written, with the positions behind it."""
    return _SENTENCE_END.split(text.strip())[-1]


def best_line(question: str, lines: Sequence[str]) -> str:
    """The line that shares most of the question's words, the last of several; yes or no; or that it is unknown."""
    wanted = content_words(question)
    ranked = [(len(wanted & content_words(line)), place, line) for place, line in enumerate(lines)]
    shared, _, line = max(ranked, default=(0, 0, ""))
    if not wanted or 2 * shared < len(wanted):
        return UNKNOWN
    if _YES_NO.match(question):
        return "Yes." if shared == len(wanted) else "No."
    return line


def _call(name: str, question: str) -> AIMessage:
    call = {"name": name, "args": {"query": question}, "id": f"call_{uuid4().hex}", "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


def _takes_query(tool: dict[str, Any]) -> str:
    function = tool["function"]
    return str(function["name"]) if "query" in function["parameters"]["properties"] else ""


def _since_question(messages: list[BaseMessage]) -> list[BaseMessage]:
    """Without what came before the last answer: in a thread of tool calls, a turn without a call was one."""
    answered = [
        place for place, message in enumerate(messages) if isinstance(message, AIMessage) and not _open(message)
    ]
    return messages[answered[-1] + 1 :] if answered else messages


def _open(message: AIMessage) -> bool:
    return bool(message.tool_calls) or message.text.startswith("Action: [Search]")


def _question(messages: Sequence[BaseMessage]) -> str:
    for message in messages:
        if isinstance(message, SystemMessage) and (marked := _QUESTION.search(message.text)):
            return marked[1]
    return next((message.text for message in messages if isinstance(message, HumanMessage)), "")


def _written(question: str, messages: Sequence[BaseMessage]) -> str:
    """What the latest text that a model wrote says; "" if none did."""
    texts = [text for message in messages for text in _by_a_model(message)]
    if not texts or texts[-1] == NOTHING:
        return UNKNOWN if texts else ""
    answered = _YES_NO.match(question) and _SAYS_YES_NO.match(texts[-1])
    return texts[-1].strip() if answered else conclusion(texts[-1])


def _by_a_model(message: BaseMessage) -> list[str]:
    if isinstance(message, ToolMessage):
        by_a_model = isinstance(message.artifact, dict) and message.artifact.get("model")
        return [_IDS.sub("", message.text)] if by_a_model else []
    return _knowledge(message).get(TEXT, [])


def _knowledge(message: BaseMessage) -> dict[str, list[str]]:
    """What a search of the m3 protocol has returned."""
    found = _KNOWLEDGE.search(message.text) if isinstance(message, HumanMessage) else None
    return json.loads(found[1]) if found else {}


def _shown(messages: Sequence[BaseMessage]) -> list[str]:
    """What searches have returned, a line a record, without the positions."""
    lines: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage) and message.status != "error":
            lines += message.text.splitlines()
        lines += [text for texts in _knowledge(message).values() for text in texts]
    return [_PREFIX.sub("", line).strip() for line in lines if line.strip()]
