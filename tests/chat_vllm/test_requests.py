"""What the chat model sends, byte for byte."""

from collections.abc import Callable

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import QUESTION, URL, Server, merged, stream


async def test_requests_are_exactly_these(server: Server, make: Callable[..., ChatVLLM]) -> None:
    model = make(model="tiny", temperature=0, max_tokens=24, extra_body={"cache_salt": "a", "add_generation_prompt": 1})
    messages = [SystemMessage("CLIP_0: ..."), HumanMessage(QUESTION)]
    assert model.invoke(messages, stop=["\n"]).text == "On the table."
    assert (await model.ainvoke(messages, stop=["\n"])).text == "On the table."
    server.reply = stream("On the ", "table.")
    assert merged(list(model.stream(messages, stop=["\n"]))).text == "On the table."
    assert merged([chunk async for chunk in model.astream(messages, stop=["\n"])]).text == "On the table."
    body = {
        "model": "tiny",
        "messages": [{"role": "system", "content": "CLIP_0: ..."}, {"role": "user", "content": QUESTION}],
        "temperature": 0.0,
        "max_tokens": 24,
        "stop": ["\n"],
        "cache_salt": "a",
        "add_generation_prompt": 1,
    }
    once, streamed = {**body, "stream": False}, {**body, "stream": True, "stream_options": {"include_usage": True}}
    assert server.bodies == [once, once, streamed, streamed]
    assert [str(request.url) for request in server.requests] == [f"{URL}/chat/completions"] * 4


def test_as_little_as_possible_is_sent(server: Server, make: Callable[..., ChatVLLM]) -> None:
    make(model="tiny").invoke(QUESTION)
    assert server.bodies == [{"model": "tiny", "messages": [{"role": "user", "content": QUESTION}], "stream": False}]


def test_a_call_has_its_own_extra_body(server: Server, make: Callable[..., ChatVLLM]) -> None:
    model = make(model="tiny", extra_body={"cache_salt": "a"})
    model.invoke(QUESTION, extra_body={"cache_salt": "b", "add_generation_prompt": False})
    model.bind(max_tokens=1).invoke(QUESTION)
    first, second = server.bodies
    assert (first["cache_salt"], first["add_generation_prompt"]) == ("b", False)
    assert (second["cache_salt"], second["max_tokens"]) == ("a", 1)


@pytest.mark.parametrize("name", ["o1-mini", "gpt-5", "gpt-5.2-codex", "gpt-6", "gpt-4o"])
def test_a_served_model_with_a_name_of_openai_is_treated_like_others(
    server: Server, make: Callable[..., ChatVLLM], name: str
) -> None:
    server.models = [name]
    make().invoke(QUESTION)
    assert server.paths == ["/models", "/chat/completions"]
    assert server.bodies == [{"model": name, "messages": [{"role": "user", "content": QUESTION}], "stream": False}]
