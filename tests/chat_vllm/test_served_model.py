"""The only model of a server is found by itself; a server that cannot be asked is named."""

import threading
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from linmem_langgraph import ConfigError, ReaderUnavailable
from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import QUESTION, URL, Server, merged, stream
from tests.servers import free_port


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
