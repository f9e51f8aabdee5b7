"""Where requests go and with which key: arguments, then settings, and nothing that is OpenAI's."""

from collections.abc import Callable
from typing import Any

import pytest

from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import OPENAI, QUESTION, URL, Server, stream


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
