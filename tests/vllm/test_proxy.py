"""The proxy in front of the real server: who hangs up on the one hangs up on the other."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import HumanMessage

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph.vllm import ChatVLLM
from tests import extractive_answer
from tests.proxy import Fault, Proxy, asks_chat

LONG = 60_000  # tokens, which take minutes: the tiny model never ends by itself
PATIENCE = 60.0  # seconds: far more than it takes, and less than the long answer does
GENERATED = r"generation_tokens_total\{.*\}"
FINISHED = r"request_success_total\{.*\}"

Make = Callable[..., ChatVLLM]


@pytest.fixture
def proxy(vllm_server: VllmServer) -> Iterator[Proxy]:
    with Proxy(vllm_server.base_url) as proxy:
        yield proxy


@pytest.fixture
async def make(proxy: Proxy) -> AsyncIterator[Make]:
    async with httpx.AsyncClient(trust_env=False) as asynchronous:
        with httpx.Client(trust_env=False) as synchronous:

            def make(**options: Any) -> ChatVLLM:
                clients = {"http_client": synchronous, "http_async_client": asynchronous}
                # A time limit for each chunk hides some cancellations: asyncio.wait_for does, before Python 3.12.
                common = {"base_url": proxy.base_url, "temperature": 0, "max_retries": 0, "stream_chunk_timeout": 0}
                return ChatVLLM(**{**common, **clients, **options})

            yield make


def metric(server: VllmServer, name: str) -> float:
    """The sum of the server's metrics of that name, with those labels."""
    text = httpx.get(f"{server.base_url.removesuffix('/v1')}/metrics", trust_env=False).raise_for_status().text
    values = re.findall(rf"^vllm:{name} (\S+)$", text, re.MULTILINE)
    assert values, f"no {name} in {text}"
    return sum(map(float, values))


async def generating(server: VllmServer) -> None:
    """Return when tokens are generated."""
    before, give_up = await asyncio.to_thread(metric, server, GENERATED), time.monotonic() + PATIENCE
    while await asyncio.to_thread(metric, server, GENERATED) == before:
        assert time.monotonic() < give_up, "nothing is generated"
        await asyncio.sleep(0.05)


async def idle(server: VllmServer) -> None:
    """Return when no more tokens are generated; not every step tells how many requests run, least of all the last."""
    now, give_up = await asyncio.to_thread(metric, server, GENERATED), time.monotonic() + PATIENCE
    while (before := now) != (now := await later(server)):
        assert time.monotonic() < give_up, f"{now - before} more tokens"


async def later(server: VllmServer, *, seconds: float = 2.0) -> float:
    """How many tokens have been generated then."""
    await asyncio.sleep(seconds)
    return await asyncio.to_thread(metric, server, GENERATED)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_cancelled_answer_is_no_longer_generated(
    proxy: Proxy, make: Make, vllm_server: VllmServer, streaming: bool
) -> None:
    await idle(vllm_server)
    finished = metric(vllm_server, FINISHED)
    asking = asyncio.create_task(make(max_tokens=LONG, streaming=streaming).ainvoke("?"))
    await generating(vllm_server)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.to_thread(proxy.wait_until, lambda: proxy.requests[-1].cancelled)
    await idle(vllm_server)
    assert metric(vllm_server, FINISHED) == finished


async def test_an_answer_that_is_not_waited_for_is_no_longer_generated(
    proxy: Proxy, make: Make, vllm_server: VllmServer
) -> None:
    await idle(vllm_server)
    finished = metric(vllm_server, FINISHED)
    with pytest.raises(openai.APITimeoutError):
        make(model=vllm_server.model, max_tokens=LONG, timeout=1.0).invoke("?")
    proxy.wait_until(lambda: proxy.requests[-1].cancelled)
    await idle(vllm_server)
    assert metric(vllm_server, FINISHED) == finished


def test_the_words_are_replaced_and_the_counts_are_the_servers(proxy: Proxy, make: Make) -> None:
    proxy.faults.append(Fault("rewrite", rewrite=extractive_answer.rewrite, when=asks_chat))
    transcript = "[3] Anna puts the red mug on the shelf.\n[4] Bert sleeps.\n"
    asked = HumanMessage(f"{extractive_answer.MEMORY}{transcript}{extractive_answer.QUESTION}Where is the red mug?")
    answer = make(max_tokens=16).invoke([asked])
    assert answer.text == '"Anna puts the red mug on the shelf." [3]'
    assert answer.response_metadata["finish_reason"] == "stop"
    streamed = list(make(max_tokens=16).stream([asked]))
    assert "".join(chunk.text for chunk in streamed) == answer.text
    counts = [message.usage_metadata for message in (answer, *streamed) if message.usage_metadata]
    # A token is a byte; a message has two more, for its role and its end, and the answer's role follows.
    assert [(count["input_tokens"], count["output_tokens"]) for count in counts] == [(len(asked.text) + 3, 16)] * 2
    prime = make(max_tokens=1).invoke([asked])
    assert len(prime.text) == 1
    assert prime.usage_metadata is not None
    assert prime.usage_metadata["output_tokens"] == 1
