"""The chat model with a real server."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
from langchain_core.exceptions import ModelNotFoundError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool

from evals.vllm_cpu.server import VllmServer
from graphs.m3_agent import create_m3_agent
from linmem_langgraph import ReaderUnavailable
from linmem_langgraph.vllm import ChatVLLM

MATCH_UNIT = 16
QUESTION = "Where is the red mug?"

Make = Callable[..., ChatVLLM]


def memory(tokens: int) -> str:
    return "".join(f"CLIP_{clip}: Anna puts the red mug on the shelf.\n" for clip in range(tokens // 40))[:tokens]


def read(tokens: int) -> list[Any]:
    """A read, as long as that and some 24 tokens of a question."""
    return [SystemMessage(memory(tokens)), HumanMessage(QUESTION)]


def cached(message: AIMessage) -> int:
    assert message.usage_metadata is not None
    return message.usage_metadata.get("input_token_details", {}).get("cache_read", 0)


@pytest.fixture
async def make(vllm_server: VllmServer) -> AsyncIterator[Make]:
    """A model with the tests' own connections and a cache of its own, whose answers are always the same."""
    async with httpx.AsyncClient(trust_env=False) as asynchronous:
        with httpx.Client(trust_env=False) as synchronous:

            def make(**options: Any) -> ChatVLLM:
                clients = {"http_client": synchronous, "http_async_client": asynchronous}
                common = {"base_url": vllm_server.base_url, "temperature": 0, "max_tokens": 16, "max_retries": 0}
                return ChatVLLM(**{**common, **clients, "extra_body": {"cache_salt": uuid4().hex}, **options})

            yield make


async def test_sync_and_async_whole_and_streamed_answers_are_the_same(make: Make) -> None:
    model = make()
    answer = model.invoke(read(200))
    assert (len(answer.text), model.model_name) == (16, "tiny-hybrid")
    chunks = list(model.stream(read(200)))
    assert len([chunk for chunk in chunks if chunk.text]) > 1
    assert "".join(chunk.text for chunk in chunks) == answer.text
    assert (await model.ainvoke(read(200))).text == answer.text
    assert "".join([chunk.text async for chunk in model.astream(read(200))]) == answer.text


async def test_async_code_learns_the_name(make: Make) -> None:
    model = make()
    answer = await model.ainvoke("?")
    assert model.model_name == answer.response_metadata["model_name"] == "tiny-hybrid"


async def test_cached_tokens_of_a_repeated_prompt_are_seen(make: Make) -> None:
    model, prompt = make(), read(3_000)
    first, again, later = model.invoke(prompt), model.invoke(prompt), await model.ainvoke(prompt)
    *_, usage = [chunk for chunk in model.stream(prompt) if chunk.usage_metadata]
    assert first.usage_metadata is not None
    assert cached(first) == 0
    for message in (again, later, usage):
        assert message.usage_metadata is not None
        assert message.usage_metadata["input_tokens"] == first.usage_metadata["input_tokens"]
        assert message.usage_metadata["output_tokens"] == 16
        assert 0 <= first.usage_metadata["input_tokens"] - cached(message) <= 2 * MATCH_UNIT
    assert first.text == again.text == later.text


def test_a_prime_is_found_by_a_read_and_not_under_another_salt(make: Make) -> None:
    model = make(max_tokens=1)
    system, question = read(3_000)
    for salt in ("a", "b"):
        body = {"cache_salt": f"{salt} {model.extra_body}"}
        primed = model.invoke([system], extra_body={**body, "add_generation_prompt": False})
        assert isinstance(primed, AIMessage)  # the server says that it is a system message
        assert primed.usage_metadata is not None
        assert (primed.usage_metadata["input_tokens"], cached(primed)) == (3_002, 0)
        assert 3_002 - MATCH_UNIT <= cached(model.invoke([system, question], extra_body=body)) <= 3_002


def test_without_prefix_caching_nothing_is_cached(make: Make, vllm_server_without_reuse: VllmServer) -> None:
    model = make(base_url=vllm_server_without_reuse.base_url)
    assert [cached(model.invoke(read(800))) for _ in range(2)] == [0, 0]


def test_a_model_that_is_not_served_is_named(make: Make) -> None:
    with pytest.raises(openai.NotFoundError, match="`tiny-mamba` does not exist") as caught:
        make(model="tiny-mamba").invoke("?")
    assert isinstance(caught.value, ModelNotFoundError)
    with pytest.raises(openai.NotFoundError):
        list(make(model="tiny-mamba").stream("?"))


async def test_a_prompt_that_is_too_long_is_refused_with_the_numbers(make: Make) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length is 65536 tokens") as caught:
        make().invoke(read(66_000))
    assert caught.value.status_code == 400
    with pytest.raises(openai.BadRequestError, match="65536"):
        await make().ainvoke(read(66_000))


async def test_an_answer_that_takes_too_long_is_not_waited_for(make: Make) -> None:
    model = make(timeout=0.2)
    model.served_model()
    with pytest.raises(openai.APITimeoutError):
        model.invoke(read(20_000))
    with pytest.raises(openai.APITimeoutError):
        await model.ainvoke(read(20_000))
    assert len(make().invoke("?").text) == 16  # the server is at work again


def test_an_unknown_path_is_no_server(make: Make, vllm_server: VllmServer) -> None:
    url = vllm_server.base_url.removesuffix("/v1")
    with pytest.raises(ReaderUnavailable, match=rf"^{url} cannot be asked .*404"):
        make(base_url=url).invoke("?")


@pytest.fixture
def closed_url() -> Iterator[str]:
    """A port that is taken, by nobody who listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def test_a_closed_port_is_named_with_the_command(make: Make, closed_url: str) -> None:
    with pytest.raises(ReaderUnavailable, match=f"^{closed_url} cannot be asked .*: vllm serve MODEL$"):
        make(base_url=closed_url).invoke("?")
    with pytest.raises(ReaderUnavailable, match=closed_url):
        await make(base_url=closed_url).ainvoke("?")
    with pytest.raises(openai.APIConnectionError):
        make(base_url=closed_url, model="tiny-hybrid").invoke("?")


def test_it_is_a_controller(make: Make) -> None:
    @tool
    def search_memory(query: str) -> str:
        """Search the memory."""
        return query

    graph = create_m3_agent([search_memory], make(), protocol="m3", max_rounds=2).compile()
    state = graph.invoke({"messages": [HumanMessage(QUESTION)]})
    said = [message for message in state["messages"] if isinstance(message, AIMessage)]
    assert (state["rounds"], state["forced"], [len(message.text) for message in said]) == (2, True, [16, 16])
