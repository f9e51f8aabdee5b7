"""The chat model of the examples: a real one if you have one, else a few rules that call tools like a model.

python examples/three_lines.py                      # the rules; OpenAI's, if OPENAI_API_KEY is set
python examples/three_lines.py anthropic:MODEL      # any model that LangChain knows by name
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from langchain.chat_models import init_chat_model
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from linmem_langgraph.embeddings import content_words

OPENAI = "openai:gpt-5-mini"

UNKNOWN = "I do not know."

_REMEMBER = re.compile(r"remember( for the (?P<whose>\w+))?: (?P<what>.*)", re.IGNORECASE | re.DOTALL)
_POSITION = re.compile(r"\A\[\d+[^\]]*\] ")


def chosen_model() -> BaseChatModel:
    """The model named on the command line, else OpenAI's if there is a key, else the rules."""
    name = sys.argv[1] if len(sys.argv) > 1 else OPENAI if os.environ.get("OPENAI_API_KEY") else None
    print(f"The model: {name or 'offline rules, no language model'}.\n")
    model: BaseChatModel = init_chat_model(name) if name else OfflineModel()
    return model


class OfflineModel(BaseChatModel):
    """No language model, four rules behind the interface of one, so that the examples run without a key.

    "Remember: ..." calls the tool that changes memory, "Remember for the team: ..." the one called `manage_team`. A
    question calls every tool that takes a `query`, then says the line of their results that shares most words with it,
    the latest of several.
    To anything else it says that it has heard it.
    """

    @property
    def _llm_type(self) -> str:
        return "offline-rules"

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
        asked = max(place for place, message in enumerate(messages) if isinstance(message, HumanMessage))
        results = [message.text for message in messages[asked:] if isinstance(message, ToolMessage)]
        reply = _reply(messages[asked].text, results, tools)
        return ChatResult(generations=[ChatGeneration(message=reply)])


def _reply(said: str, results: Sequence[str], tools: Sequence[dict[str, Any]]) -> AIMessage:
    to_remember = _REMEMBER.match(said)
    if results:
        return AIMessage("Noted." if to_remember else _best_line(said, results))
    if to_remember:
        name = f"manage_{to_remember['whose'] or 'memory'}"
        return AIMessage("", tool_calls=[_call(name, content=to_remember["what"])])
    searches = [_name(tool) for tool in tools if "query" in tool["function"]["parameters"]["properties"]]
    if said.endswith("?") and searches:
        return AIMessage("", tool_calls=[_call(name, query=said) for name in searches])
    return AIMessage("I see.")


def _best_line(question: str, results: Sequence[str]) -> str:
    lines = [_POSITION.sub("", line) for text in results for line in text.splitlines() if not line.startswith("ids: ")]
    ranked = [(len(content_words(question) & content_words(line)), place) for place, line in enumerate(lines)]
    shared, place = max(ranked, default=(0, 0))
    return lines[place] if shared else UNKNOWN


def _name(tool: dict[str, Any]) -> str:
    return str(tool["function"]["name"])


def _call(name: str, **arguments: str) -> Any:
    return {"name": name, "args": arguments, "id": f"call_{uuid4().hex}", "type": "tool_call"}
