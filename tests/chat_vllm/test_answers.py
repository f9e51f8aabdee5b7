"""Usage and role of an answer, whatever the server leaves out or names."""

from collections.abc import Callable
from typing import Any

import pytest

from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import QUESTION, Server, merged, reply, stream


@pytest.mark.parametrize(
    ("details", "cached"),
    [({"prompt_tokens_details": {"cached_tokens": 48}}, 48), ({"prompt_tokens_details": None}, None), ({}, None)],
)
async def test_cached_tokens_are_in_the_usage(
    server: Server, make: Callable[..., ChatVLLM], details: dict[str, Any], cached: int | None
) -> None:
    usage = {"prompt_tokens": 70, "completion_tokens": 3, "total_tokens": 73, **details}
    model = make(model="tiny")
    server.reply = reply("On the table.", usage=usage)
    messages: list[Any] = [model.invoke(QUESTION), await model.ainvoke(QUESTION)]
    server.reply = stream("On the table.", usage=usage)
    messages += [merged(list(model.stream(QUESTION))), merged([chunk async for chunk in model.astream(QUESTION)])]
    messages += [make(model="tiny", streaming=True).invoke(QUESTION)]
    for message in messages:
        told = message.usage_metadata
        assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (70, 3, 73)
        assert told.get("input_token_details", {}).get("cache_read") == cached


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
async def test_an_answer_is_the_assistants_whatever_role_the_server_names(
    server: Server, make: Callable[..., ChatVLLM], role: str
) -> None:
    model = make(model="tiny", extra_body={"add_generation_prompt": False})
    server.reply = reply("On the table.", role=role)
    messages: list[Any] = [model.invoke(QUESTION), await model.ainvoke(QUESTION)]
    server.reply = stream({"role": role}, "On the ", "table.")
    del server.reply[0]
    messages += [merged(list(model.stream(QUESTION))), merged([chunk async for chunk in model.astream(QUESTION)])]
    for message in messages:
        assert (message.type, message.text) in {("ai", "On the table."), ("AIMessageChunk", "On the table.")}
        assert message.usage_metadata["input_tokens"] == 7
