"""Thoughts are kept out of answers, however they are sent and however a stream is cut."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage

from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import QUESTION, URL, Server, merged, reply, stream, thought


@pytest.mark.parametrize(
    "message",
    [
        {"content": "On the table.", "reasoning": "A mug?"},
        {"content": "On the table.", "reasoning_content": "A mug?"},
        {"content": "On the table.", "reasoning": "A mug?", "reasoning_content": "A mug?"},
        {"content": "<think>A mug?</think>On the table."},
        {"content": "\n<think>\nA mug?\n</think>\n\nOn the table."},
        {"content": "A mug?\n</think>\n\nOn the table."},  # the template has opened it
    ],
)
async def test_a_thought_is_kept_out_of_the_answer(
    server: Server, make: Callable[..., ChatVLLM], message: dict[str, Any]
) -> None:
    server.reply = reply(**message)
    model = make(model="tiny")
    said = model.invoke(QUESTION)
    for answer in (said, await model.ainvoke(QUESTION)):
        assert (answer.text, answer.content, thought(answer)) == ("On the table.", "On the table.", "A mug?")
        assert answer.content_blocks == [
            {"type": "reasoning", "reasoning": "A mug?"},
            {"type": "text", "text": "On the table."},
        ]
    assert model.generate([[HumanMessage(QUESTION)]]).generations[0][0].text == "On the table."
    model.invoke([HumanMessage(QUESTION), said, HumanMessage("And now?")])
    assert server.bodies[-1]["messages"][1] == {"role": "assistant", "content": "On the table."}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_what_the_server_has_parted_is_not_parted_again(
    server: Server, make: Callable[..., ChatVLLM], field: str
) -> None:
    content = "Write </think> after <think>."
    server.reply = reply(content, **{field: "Tags?"})
    answer = make(model="tiny").invoke(QUESTION)
    assert (answer.text, thought(answer)) == (content, "Tags?")


@pytest.mark.parametrize("content", ["On the table.", "", "  two \n", "a <think> b", "<thinking> b", "<thin"])
def test_without_a_thought_an_answer_is_as_it_was_sent(
    server: Server, make: Callable[..., ChatVLLM], content: str
) -> None:
    server.reply = reply(content)
    answer = make(model="tiny").invoke(QUESTION)
    assert (answer.text, thought(answer)) == (content, None)
    server.reply = stream(*content)
    streamed = merged(list(make(model="tiny").stream(QUESTION)))
    assert (streamed.text, thought(streamed)) == (content, None)


@pytest.mark.parametrize("content", ["<think>A mug?", " <think>\nA mug? ", "<think>A mug?</think>"])
def test_a_thought_that_is_never_ended_is_no_answer(
    server: Server, make: Callable[..., ChatVLLM], content: str
) -> None:
    server.reply = reply(content)
    answer = make(model="tiny").invoke(QUESTION)
    assert (answer.text, thought(answer)) == ("", "A mug?")
    server.reply = stream(*content)
    streamed = merged(list(make(model="tiny").stream(QUESTION)))
    assert (streamed.text, thought(streamed)) == ("", "A mug?")


def test_parts_of_a_content_are_one_text(server: Server, make: Callable[..., ChatVLLM]) -> None:
    server.reply = reply([{"type": "text", "text": "<think>A mug?</think>"}, {"type": "text", "text": "On the table."}])
    answer = make(model="tiny").invoke(QUESTION)
    assert (answer.text, thought(answer)) == ("On the table.", "A mug?")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_a_thought_is_kept_out_of_a_stream(server: Server, make: Callable[..., ChatVLLM], field: str) -> None:
    server.reply = stream({field: "A "}, {field: "mug?"}, "On the ", "table.")
    model = make(model="tiny")
    for chunks in (list(model.stream(QUESTION)), [chunk async for chunk in model.astream(QUESTION)]):
        assert [chunk.text for chunk in chunks if chunk.text] == ["On the ", "table."]
        assert [thought(chunk) for chunk in chunks if thought(chunk)] == ["A ", "mug?"]
        assert merged(chunks).content_blocks == [
            {"type": "reasoning", "reasoning": "A mug?"},
            {"type": "text", "text": "On the table."},
        ]


async def test_an_inline_thought_is_kept_out_of_a_stream(server: Server, make: Callable[..., ChatVLLM]) -> None:
    server.reply = stream("\n<", "think>A", " mug?</th", "ink>", "\n", "\nOn the ", "table", " </think>.")
    model = make(model="tiny")
    for chunks in (list(model.stream(QUESTION)), [chunk async for chunk in model.astream(QUESTION)]):
        assert [chunk.text for chunk in chunks if chunk.text] == ["On the ", "table", " </think>."]
        assert [thought(chunk) for chunk in chunks if thought(chunk)] == ["A mug?"]
    tokens: list[str] = []

    class Listener(BaseCallbackHandler):
        def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            tokens.append(token)

    answer = make(model="tiny", streaming=True).invoke(QUESTION, {"callbacks": [Listener()]})
    assert answer.text == "".join(tokens) == "On the table </think>."


def test_an_answer_is_streamed_as_it_comes(server: Server, make: Callable[..., ChatVLLM]) -> None:
    server.reply = stream("On", " the", " table", ".")
    assert [chunk.text for chunk in make(model="tiny").stream(QUESTION) if chunk.text] == ["On", " the", " table", "."]


PIECES = st.lists(
    st.sampled_from(["<think>", "<th", "ink>", "<", "</", ">", " ", "\n", "a", "mug", "</thin"]), max_size=8
)


@given(
    before=st.sampled_from(["", " ", "\n\n"]),
    inner=PIECES.map("".join).filter(lambda text: "</think>" not in f"{text}</think>"[:-1]),
    answer=PIECES.map("".join).filter(lambda text: "</think>" not in text),
    thinks=st.booleans(),
    cuts=st.lists(st.integers(0, 60)),
)
def test_however_a_stream_is_cut_it_says_the_same(
    before: str, inner: str, answer: str, thinks: bool, cuts: list[int]
) -> None:
    text = f"{before}<think>{inner}</think>{answer}" if thinks else before + answer
    places = [0, *sorted({cut for cut in cuts if cut <= len(text)}), len(text)]
    server = Server()
    with httpx.Client(transport=server.transport) as client:
        model = ChatVLLM(base_url=URL, model="tiny", http_client=client)
        server.reply = reply(text)
        whole = model.invoke(QUESTION)
        server.reply = stream(*(text[start:end] for start, end in pairwise(places)))
        streamed = merged(list(model.stream(QUESTION)))
    assert (streamed.text, thought(streamed)) == (whole.text, thought(whole))
    if thinks:
        assert whole.text == answer.lstrip()
