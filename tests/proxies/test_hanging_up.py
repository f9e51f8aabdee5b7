"""A client that hangs up is noticed, and the server is hung up on too."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.faults import Kind
from tests.proxies.ends import Upstream, ask, connect, events, fates, send
from tests.proxy import Fault, Proxy


@pytest.mark.parametrize("wishes", [{"hold": True}, {"stream": True}])
def test_a_client_that_hangs_up_is_noticed_and_the_server_too_is_hung_up(
    proxy: Proxy, upstream: Upstream, wishes: dict[str, bool]
) -> None:
    with connect(proxy) as connection:
        send(connection, **wishes)
        assert upstream.arrived.acquire(timeout=30)
        if "stream" in wishes:
            assert connection.recv(1)
    assert upstream.hung_up.acquire(timeout=30)
    proxy.wait_until(lambda: proxy.requests[0].cancelled)
    assert fates(proxy) == [(200 if "stream" in wishes else None, True)]
    assert proxy.requests[0].ended is not None


def test_leaving_a_stream_hangs_up(proxy: Proxy, upstream: Upstream, client: httpx.Client) -> None:
    with client.stream("POST", "/chat/completions", json={"stream": True}) as answer:
        assert next(answer.iter_raw()) == events()[0]
    assert upstream.hung_up.acquire(timeout=30)
    proxy.wait_until(lambda: fates(proxy) == [(200, True)])


async def test_a_cancelled_request_leaves_the_others_alone(
    proxy: Proxy, upstream: Upstream, aclient: httpx.AsyncClient
) -> None:
    async with AsyncExitStack() as streams:
        held = [asyncio.create_task(aclient.post("/chat/completions", json={"hold": True})) for _ in range(5)]
        streaming = aclient.stream("POST", "/chat/completions", json={"stream": True})
        stream = (await streams.enter_async_context(streaming)).aiter_raw()
        for _ in range(6):
            assert await asyncio.to_thread(upstream.arrived.acquire, timeout=30)
        held[2].cancel()
        await asyncio.to_thread(proxy.wait_until, lambda: sum(one.cancelled for one in proxy.requests) == 1)
        assert await asyncio.to_thread(upstream.hung_up.acquire, timeout=30)
        assert not upstream.hung_up.acquire(blocking=False)
        assert await anext(stream) == events()[0]
        assert [task.done() for task in held] == [number == 2 for number in range(5)]
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await asyncio.to_thread(proxy.wait_until, lambda: sum(one.cancelled for one in proxy.requests) == 5)


@pytest.mark.parametrize(("kind", "forwarded"), [("delay", 0), ("delay_answer", 1)])
def test_a_client_that_hangs_up_in_a_delay_is_noticed(
    proxy: Proxy, upstream: Upstream, kind: Kind, forwarded: int
) -> None:
    proxy.faults.append(Fault(kind, seconds=600))
    with connect(proxy) as connection:
        send(connection)
        proxy.wait_until(lambda: len(proxy.requests) == 1)
        for _ in range(forwarded):
            assert upstream.arrived.acquire(timeout=30)
    proxy.wait_until(lambda: fates(proxy) == [(None, True)])
    assert len(upstream.requests) == forwarded


def test_an_incomplete_request_is_none(proxy: Proxy, client: httpx.Client) -> None:
    beginnings = (b"", b"POST /v1/chat", b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 10\r\n\r\n{}")
    for beginning in beginnings:
        with connect(proxy) as connection:
            connection.sendall(beginning)
    assert ask(client).is_success
    assert len(proxy.requests) == 1
