"""The chat model behind faults: it asks again, gives up, and hangs up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import openai
import pytest

from linmem_langgraph.vllm import ChatVLLM
from tests.proxies.ends import Upstream, fates
from tests.proxy import Fault, Proxy

Make = Callable[..., ChatVLLM]


@pytest.fixture
async def make(proxy: Proxy) -> AsyncIterator[Make]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as asynchronous:
        with httpx.Client(trust_env=False, verify=False) as synchronous:

            def make(**options: Any) -> ChatVLLM:
                # A time limit for each chunk hides some cancellations: asyncio.wait_for does, before Python 3.12.
                common = {"base_url": proxy.base_url, "model": "tiny", "max_retries": 2, "stream_chunk_timeout": 0}
                clients = {"http_client": synchronous, "http_async_client": asynchronous}
                return ChatVLLM(**{**common, **clients, **options})

            yield make


FAILURES: list[tuple[dict[str, Any], type[openai.OpenAIError]]] = [
    ({"kind": "status", "status": 429, "retry_after": 0.01}, openai.RateLimitError),
    ({"kind": "status", "status": 500, "retry_after": 0.01}, openai.InternalServerError),
    ({"kind": "drop"}, openai.APIConnectionError),
    ({"kind": "drop_answer"}, openai.APIConnectionError),
]


@pytest.mark.parametrize("fault", [fault for fault, _ in FAILURES])
async def test_the_chat_model_asks_again(proxy: Proxy, make: Make, fault: dict[str, Any]) -> None:
    proxy.faults.append(Fault(**fault, times=1))
    assert make().invoke("?").text == "On the shelf, 咖啡."
    proxy.faults[0].hits = 0
    assert (await make().ainvoke("?")).text == "On the shelf, 咖啡."
    assert len(proxy.bodies()) == 4
    assert proxy.bodies()[0] == proxy.bodies()[1]


@pytest.mark.parametrize(("fault", "error"), FAILURES)
async def test_the_chat_model_gives_up(
    proxy: Proxy, make: Make, fault: dict[str, Any], error: type[openai.OpenAIError]
) -> None:
    proxy.faults.append(Fault(**fault))
    with pytest.raises(error):
        make(max_retries=1).invoke("?")
    with pytest.raises(error):
        await make(max_retries=0).ainvoke("?")
    assert proxy.faults[0].hits == 3


async def test_the_chat_model_waits_no_longer_than_its_timeout(proxy: Proxy, make: Make) -> None:
    model = make(timeout=0.2, max_retries=0, extra_body={"hold": True})
    with pytest.raises(openai.APITimeoutError):
        model.invoke("?")
    with pytest.raises(openai.APITimeoutError):
        await model.ainvoke("?")
    await asyncio.to_thread(proxy.wait_until, lambda: fates(proxy) == [(None, True)] * 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_the_chat_model_hangs_up(proxy: Proxy, upstream: Upstream, make: Make, stream: bool) -> None:
    model = make(extra_body={} if stream else {"hold": True}, streaming=stream)
    asking = asyncio.create_task(model.ainvoke("?"))
    assert await asyncio.to_thread(upstream.arrived.acquire, timeout=30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.to_thread(proxy.wait_until, lambda: proxy.requests[0].cancelled)
    assert await asyncio.to_thread(upstream.hung_up.acquire, timeout=30)
