"""The requests that the proxy keeps, counts and waits for."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.proxies.ends import ANSWER, Upstream, ask
from tests.proxy import Fault, Proxy


def test_bodies_are_those_of_a_path_and_can_be_forgotten(proxy: Proxy, client: httpx.Client) -> None:
    for number in range(3):
        ask(client, number=number)
    client.get("/models")
    client.post("/completions", json={"prompt": "?"})
    assert [body["number"] for body in proxy.bodies()] == [0, 1, 2]
    assert proxy.bodies("/v1/completions") == [{"prompt": "?"}]
    assert proxy.bodies(path="/v1/models") == [None]
    proxy.faults.append(Fault("usage", usage={}))
    proxy.clear()
    assert (proxy.requests, proxy.bodies(), len(proxy.faults)) == ([], [], 1)
    ask(client, number=3)
    assert [body["number"] for body in proxy.bodies()] == [3]


async def test_sixty_four_at_once(proxy: Proxy, upstream: Upstream, aclient: httpx.AsyncClient) -> None:
    assert proxy.most_at_once() == 0
    jobs = [aclient.post("/chat/completions", json={"at_once": True, "number": number}) for number in range(64)]
    answers = await asyncio.gather(*jobs)
    assert [answer.json() for answer in answers] == [ANSWER] * 64
    assert len(upstream.requests) == 64
    assert sorted(body["number"] for body in proxy.bodies()) == list(range(64))
    assert proxy.most_at_once() == 64
    proxy.clear()
    for _ in range(3):
        await aclient.get("/models")
    assert proxy.most_at_once() == 1


def test_threads_read_the_requests_while_others_make_them(proxy: Proxy, client: httpx.Client) -> None:
    def work(number: int) -> None:
        for place in range(10):
            assert ask(client, number=number, place=place).is_success
            mine = [body["place"] for body in proxy.bodies() if body["number"] == number]
            assert mine == list(range(place + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(proxy.requests) == 80


def test_waiting_in_vain_is_told(proxy: Proxy, client: httpx.Client) -> None:
    client.get("/models")
    with pytest.raises(TimeoutError, match=r"after 0.01 s; the requests were \[\('GET', '/v1/models', 200, False\)\]"):
        proxy.wait_until(lambda: False, seconds=0.01)
