"""The chat model without a server: what it sends, byte for byte, and what it makes of the answers."""

import json
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_tests.unit_tests import ChatModelUnitTests
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel

from graphs.m3_agent import Protocol, create_m3_agent
from linmem_langgraph import ChromaReader, ConfigError, Memory, ReaderUnavailable, create_search_memory_tool
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.vllm import ChatVLLM
from tests.servers import free_port

URL = "http://server.test/v1"
QUESTION = "Where is the red mug?"
OPENAI = {
    "OPENAI_API_KEY": "sk-of-openai",
    "OPENAI_ADMIN_KEY": "sk-of-the-admin",
    "OPENAI_BASE_URL": "http://base.openai.test/v1",
    "OPENAI_API_BASE": "http://api.openai.test/v1",
    "OPENAI_ORG_ID": "org-of-openai",
    "OPENAI_ORGANIZATION": "organization-of-openai",
    "OPENAI_PROJECT_ID": "project-of-openai",
    "OPENAI_CUSTOM_HEADERS": "X-Custom: custom-of-openai\nAuthorization: Bearer custom-key-of-openai",
    "OPENAI_PROXY": "http://proxy.openai.test:1",
    "LANGSMITH_GATEWAY": "http://gateway.test",
    "LANGSMITH_GATEWAY_API_KEY": "lsv2_gateway",
}


class Server:
    """Answers in the place of a server; keeps the requests, and which thread made each."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.threads: list[int] = []
        self.models: Any = ["tiny"]  # names, or a whole response, or an error
        self.reply: Any = reply("On the table.")  # a body, chunks of a stream, a whole response, or an error
        self.transport = httpx.MockTransport(self._respond)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.threads.append(threading.get_ident())
        asked = request.url.path.endswith("/models")
        answer = self.models if asked else self.reply
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if asked:
            data = [{"id": name, "object": "model", "created": 1, "owned_by": "vllm"} for name in answer]
            return httpx.Response(200, json={"object": "list", "data": data})
        if isinstance(answer, list):
            events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in answer)
            return httpx.Response(200, text=f"{events}data: [DONE]\n\n", headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json=answer)

    @property
    def paths(self) -> list[str]:
        return [request.url.path.removeprefix("/v1") for request in self.requests]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests if request.content]


class Report(BaseModel):
    """What was seen."""

    thing: str
    clip: int


@tool
def search_memory(query: str) -> str:
    """Search the memory."""
    return query


def reply(content: Any = None, *, usage: Any = None, **message: Any) -> dict[str, Any]:
    """A completion."""
    said = {"role": "assistant", "content": content, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
        "usage": usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def stream(*deltas: str | dict[str, Any], usage: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The chunks of a stream, as vLLM sends them: the role, the deltas, of which the last ends it, the usage."""
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    parts: list[Any] = [{"role": "assistant", "content": ""}, *deltas]
    chunks: list[dict[str, Any]] = [
        {**common, "choices": [{"index": 0, "delta": {"content": part} if isinstance(part, str) else part}]}
        for part in parts
    ]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    usage = usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return [*chunks, {**common, "choices": [], "usage": usage}]


def calls(*arguments: str) -> list[dict[str, Any]]:
    return [
        {"index": n, "id": f"call-{n}", "type": "function", "function": {"name": "search_memory", "arguments": given}}
        for n, given in enumerate(arguments)
    ]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLLM_BASE_URL", "VLLM_API_KEY", *OPENAI):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def make(server: Server) -> AsyncIterator[Callable[..., ChatVLLM]]:
    """A model whose requests the server answers, sync and async."""
    async with httpx.AsyncClient(transport=server.transport) as asynchronous:
        with httpx.Client(transport=server.transport) as synchronous:

            def make(**options: Any) -> ChatVLLM:
                clients = {"http_client": synchronous, "http_async_client": asynchronous}
                return ChatVLLM(**{"base_url": URL, "max_retries": 0, **clients, **options})

            yield make


def merged(chunks: Iterator[BaseMessage] | list[Any]) -> Any:
    first, *rest = chunks
    return sum(rest, start=first)


def thought(message: BaseMessage) -> str | None:
    return message.additional_kwargs.get("reasoning_content")


# What is sent


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


# Where it is sent


def test_it_is_made_without_the_network() -> None:
    model = ChatVLLM()
    assert (model.openai_api_base, model.model_name) == ("http://127.0.0.1:8000/v1", "")


@pytest.mark.parametrize(
    ("given", "url", "key"),
    [
        ({}, "http://env.test/v1", "key-of-env"),
        ({"base_url": None, "api_key": None, "model": None}, "http://env.test/v1", "key-of-env"),
        ({"base_url": URL}, URL, "key-of-env"),
        ({"openai_api_base": URL, "openai_api_key": "given"}, URL, "given"),
        ({"api_key": "given"}, "http://env.test/v1", "given"),
    ],
)
def test_arguments_come_before_settings(
    server: Server,
    make: Callable[..., ChatVLLM],
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    url: str,
    key: str,
) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "http://env.test/v1")
    monkeypatch.setenv("VLLM_API_KEY", "key-of-env")
    make(**{"base_url": None, **given}).invoke(QUESTION)
    assert [str(request.url) for request in server.requests] == [f"{url}/models", f"{url}/chat/completions"]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {key}"}


def test_empty_settings_are_none(
    server: Server, make: Callable[..., ChatVLLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "")
    monkeypatch.setenv("VLLM_API_KEY", "")
    make(base_url=None, model="tiny").invoke(QUESTION)
    [request] = server.requests
    assert str(request.url) == "http://127.0.0.1:8000/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer none"


async def test_nothing_that_is_meant_for_openai_is_sent(
    server: Server, make: Callable[..., ChatVLLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OPENAI.items():
        monkeypatch.setenv(name, value)
    model = make(base_url=None)
    model.invoke(QUESTION)
    await model.ainvoke(QUESTION)
    server.reply = stream("On the table.")
    list(model.stream(QUESTION))
    _ = [chunk async for chunk in model.astream(QUESTION)]
    assert server.paths == ["/models"] + ["/chat/completions"] * 4
    for request in server.requests:
        sent = f"{request.url}\n{request.headers!r}\n{request.content!r}".lower()
        assert request.headers["authorization"] == "Bearer none"
        assert not [word for word in ("of-openai", "openai.test", "gateway", "lsv2", "sk-") if word in sent]
        assert not [name for name in request.headers if name.startswith(("openai-", "x-custom"))]
    assert (model.openai_organization, model.openai_proxy) == (None, None)


def test_headers_that_are_given_are_sent(
    server: Server, make: Callable[..., ChatVLLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Session-ID: another")
    make(model="tiny", default_headers={"X-Session-ID": "kitchen"}).invoke(QUESTION)
    assert server.requests[0].headers["x-session-id"] == "kitchen"


# The model by itself


async def test_the_only_model_is_asked_for_once(server: Server, make: Callable[..., ChatVLLM]) -> None:
    model = make()
    assert server.paths == []
    model.invoke(QUESTION)
    await model.ainvoke(QUESTION)
    assert model.served_model() == model.model_name == "tiny"
    assert server.paths == ["/models", "/chat/completions", "/chat/completions"]
    assert [body["model"] for body in server.bodies] == ["tiny", "tiny"]


def test_a_named_model_is_not_asked_for(server: Server, make: Callable[..., ChatVLLM]) -> None:
    server.models = httpx.ConnectError("closed")
    make(model="large").invoke(QUESTION)
    make(model_name="large").invoke(QUESTION)
    make().invoke(QUESTION, model="large")
    assert server.paths == ["/chat/completions"] * 3
    assert [body["model"] for body in server.bodies] == ["large"] * 3


@pytest.mark.parametrize("streamed", [False, True])
async def test_async_code_does_not_wait_for_the_name(
    server: Server, make: Callable[..., ChatVLLM], streamed: bool
) -> None:
    if streamed:
        server.reply = stream("On the table.")
        message = merged([chunk async for chunk in make().astream(QUESTION)])
    else:
        message = await make().ainvoke(QUESTION)
    assert message.text == "On the table."
    assert server.paths == ["/models", "/chat/completions"]
    asked, called = server.threads
    assert asked != threading.get_ident() == called


@pytest.mark.parametrize(("names", "told"), [([], "no model"), (["tiny", "large"], "['tiny', 'large']")])
async def test_none_or_several_must_be_chosen_from(
    server: Server, make: Callable[..., ChatVLLM], names: list[str], told: str
) -> None:
    server.models = names
    model = make()
    with pytest.raises(ConfigError) as caught:
        model.invoke(QUESTION)
    assert str(caught.value) == f"{URL} serves {told}: name one with model=..."
    with pytest.raises(ConfigError):
        await model.ainvoke(QUESTION)
    with pytest.raises(ConfigError):
        next(model.stream(QUESTION))
    assert set(server.paths) == {"/models"}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("All connection attempts failed"),
        httpx.ReadTimeout("timed out"),
        httpx.RemoteProtocolError("garbage"),
        httpx.Response(401, json={"error": "Unauthorized"}),
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(500, text="oh"),
        httpx.Response(200, text="<html>nginx</html>", headers={"content-type": "text/html"}),
        httpx.Response(200, text="{", headers={"content-type": "application/json"}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json=None),
        httpx.Response(200, json={"data": 1}),
        httpx.Response(200, json={"data": [1]}),
        httpx.Response(200, json={"data": [{}]}),
        httpx.Response(200, json={}),
        httpx.Response(204),
    ],
    ids=lambda answer: f"{type(answer).__name__} {answer.text if isinstance(answer, httpx.Response) else answer}",
)
async def test_a_server_that_cannot_be_asked_is_named(
    server: Server, make: Callable[..., ChatVLLM], answer: Any
) -> None:
    server.models = answer
    model = make()
    with pytest.raises(ReaderUnavailable, match="vllm serve MODEL") as caught:
        model.invoke(QUESTION)
    assert str(caught.value).startswith(f"{URL} cannot be asked for its models (")
    assert caught.value.__cause__ is not None
    with pytest.raises(ReaderUnavailable):
        await model.ainvoke(QUESTION)
    server.models = ["tiny"]
    assert model.invoke(QUESTION).text == "On the table."


@pytest.mark.parametrize(("timeout", "waited"), [(None, 10.0), (0.5, 0.5)])
def test_a_name_is_waited_for_as_long_as_an_answer(
    server: Server, make: Callable[..., ChatVLLM], timeout: float | None, waited: float
) -> None:
    make(timeout=timeout).served_model()
    [request] = server.requests
    assert request.extensions["timeout"]["read"] == waited


def test_a_closed_port() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(ReaderUnavailable, match=rf"^{url} cannot .* vllm serve MODEL$"):
        ChatVLLM(base_url=url, max_retries=0).invoke(QUESTION)
    with pytest.raises(openai.APIConnectionError):
        ChatVLLM(base_url=url, model="tiny", max_retries=0).invoke(QUESTION)


async def test_a_closed_port_from_async_code() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    async with httpx.AsyncClient() as client:
        with pytest.raises(ReaderUnavailable, match="vllm serve MODEL"):
            await ChatVLLM(base_url=url, max_retries=0, http_async_client=client).ainvoke(QUESTION)
        with pytest.raises(openai.APIConnectionError):
            await ChatVLLM(base_url=url, model="tiny", max_retries=0, http_async_client=client).ainvoke(QUESTION)


# Usage


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


# Thoughts


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


# Without a generation prompt


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


# Tools and schemas


async def test_tool_calls_pass(server: Server, make: Callable[..., ChatVLLM]) -> None:
    server.reply = reply(tool_calls=calls('{"query": "mug"}', '{"query": '), reasoning="Search.")
    model = make(model="tiny")
    bound = model.bind_tools([search_memory])
    for message in (bound.invoke(QUESTION), await bound.ainvoke(QUESTION)):
        assert message.tool_calls == [
            {"name": "search_memory", "args": {"query": "mug"}, "id": "call-0", "type": "tool_call"}
        ]
        assert [call["args"] for call in message.invalid_tool_calls] == ['{"query": ']
        assert (message.text, thought(message)) == ("", "Search.")
    [declared] = server.bodies[0]["tools"]
    assert declared["function"]["name"] == "search_memory"
    model.invoke([HumanMessage(QUESTION), message, ToolMessage("[0] ...", tool_call_id="call-0")])
    _, called, result = server.bodies[-1]["messages"]
    assert sorted(called) == ["content", "role", "tool_calls"]
    assert called["content"] is None
    assert called["tool_calls"][0]["function"] == {"name": "search_memory", "arguments": '{"query": "mug"}'}
    assert result == {"role": "tool", "content": "[0] ...", "tool_call_id": "call-0"}


def test_tool_calls_pass_in_a_stream_after_a_thought(server: Server, make: Callable[..., ChatVLLM]) -> None:
    [call] = calls('{"query": ')
    rest = {"index": 0, "function": {"arguments": '"mug"}'}}
    server.reply = stream("<think>Sea", "rch.</think>", "\n\n", {"tool_calls": [call]}, {"tool_calls": [rest]})
    message = merged(list(make(model="tiny").bind_tools([search_memory]).stream(QUESTION)))
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("search_memory", {"query": "mug"})]
    assert (message.text, thought(message)) == ("", "Search.")


async def test_a_schema_is_filled(server: Server, make: Callable[..., ChatVLLM]) -> None:
    server.reply = reply('{"thing": "mug", "clip": 3}', reasoning="A mug.")
    model = make(model="tiny").with_structured_output(Report, method="json_schema")
    assert model.invoke(QUESTION) == await model.ainvoke(QUESTION) == Report(thing="mug", clip=3)
    assert server.bodies[0]["response_format"]["json_schema"]["name"] == "Report"
    server.reply = stream({"reasoning": "A mug."}, '{"thing": "mug",', ' "clip": 3}')
    streaming = make(model="tiny").with_structured_output(Report.model_json_schema(), method="json_schema")
    assert list(streaming.stream(QUESTION))[-1] == {"thing": "mug", "clip": 3}


# In a trace, in a cache, on paper


def test_a_trace_names_the_provider_and_the_model(server: Server, make: Callable[..., ChatVLLM]) -> None:
    traced: list[Any] = []

    class Tracer(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            traced.append(kwargs)

    model = make(temperature=0.5, max_tokens=9, api_key="secret")
    model.served_model()
    answer = model.invoke(QUESTION, {"callbacks": [Tracer()]}, stop=["\n"])
    [run] = traced
    told = {name: value for name, value in run["metadata"].items() if name.startswith("ls_")}
    assert told == {
        "ls_integration": "langchain_chat_model",
        "ls_provider": "vllm",
        "ls_model_name": "tiny",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 9,
        "ls_stop": ["\n"],
    }
    assert run["invocation_params"]["base_url"] == URL
    assert "secret" not in repr(traced)
    assert (answer.response_metadata["model_provider"], answer.response_metadata["model_name"]) == ("vllm", "tiny")
    assert model._llm_type == "vllm-chat"


def test_a_cache_tells_servers_from_each_other(server: Server, make: Callable[..., ChatVLLM]) -> None:
    cache = InMemoryCache()
    assert make(model="tiny", cache=cache).invoke(QUESTION).text == "On the table."
    server.reply = reply("In the sink.")
    assert make(model="tiny", cache=cache).invoke(QUESTION).text == "On the table."
    for other in ({"base_url": "http://other.test/v1"}, {"extra_body": {"cache_salt": "a"}}):
        assert make(model="tiny", cache=cache, **other).invoke(QUESTION).text == "In the sink."


@pytest.mark.parametrize("from_settings", [False, True])
def test_the_key_is_not_written_down(monkeypatch: pytest.MonkeyPatch, from_settings: bool) -> None:
    if from_settings:
        monkeypatch.setenv("VLLM_API_KEY", "secret-key")
    model = ChatVLLM(model="tiny") if from_settings else ChatVLLM(model="tiny", api_key="secret-key")
    written = [
        *(repr(model), str(model), repr(model.model_dump()), model.model_dump_json(), dumps(model)),
        *(repr(model.lc_secrets), repr(model.lc_attributes), repr(model._identifying_params)),
        *(repr(model._get_invocation_params()), model._get_llm_string(), repr(model._get_ls_params())),
        repr(model.bind_tools([search_memory])),
    ]
    assert not [text for text in written if "secret-key" in text]
    assert model.root_client.api_key == "secret-key"
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(model)


# As the controller


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings()), store=InMemoryStore()) as memory:
        memory.write(("kitchen",), ["Lily puts the red mug on the table."])
        yield memory


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


class TestStandards(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatVLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "tiny"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        settings = {"VLLM_API_KEY": "key", "VLLM_BASE_URL": URL}
        return settings, {"model": "tiny"}, {"openai_api_key": "key", "openai_api_base": URL}
