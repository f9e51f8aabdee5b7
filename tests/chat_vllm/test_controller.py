"""The chat model as the controller of the loop."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage

from graphs.m3_agent import Protocol, create_m3_agent
from linmem_langgraph import Memory, create_search_memory_tool
from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import QUESTION, URL, Server, calls, reply


@pytest.fixture
def memory(memory: Memory) -> Memory:
    memory.write(("kitchen",), ["Lily puts the red mug on the table."])
    return memory


@pytest.mark.parametrize("protocol", ["tool_calls", "m3"])
def test_it_is_a_controller(server: Server, make: Callable[..., ChatVLLM], memory: Memory, protocol: Protocol) -> None:
    search = create_search_memory_tool(memory, namespace=("kitchen",))
    if protocol == "tool_calls":
        replies = [
            reply("<think>Search.</think>", tool_calls=calls('{"query": "red mug"}')),
            reply("<think>Seen.</think>On the table."),
        ]
    else:
        replies = [
            reply("<think>Search.</think>Action: [Search]\nContent: red mug"),
            reply("Action: [Answer]\nContent: On the table.", reasoning="Seen."),
        ]

    class Model(ChatVLLM):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            server.reply = replies.pop(0)
            return super()._generate(*args, **kwargs)

    made = make()
    model: BaseChatModel = Model(base_url=URL, http_client=made.http_client)
    state = create_m3_agent([search], model, protocol=protocol).compile().invoke({"messages": [HumanMessage(QUESTION)]})
    assert (state["answer"], state["seen"], state["unparsable"]) == ("On the table.", [0], 0)
    assert server.paths == ["/models", "/chat/completions", "/chat/completions"]
    assert not [body for body in server.bodies if "think>" in json.dumps(body["messages"][1:])]
    turns = [message for message in state["messages"] if isinstance(message, AIMessage)]
    assert not [turn for turn in turns if "think>" in turn.text]
