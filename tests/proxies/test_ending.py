"""The proxy ends with all that is under way, and tells of its own failures."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.proxies.ends import Upstream, ask
from tests.proxy import Fault, Proxy


def fail(*_: Any) -> Any:
    raise ZeroDivisionError("a mistake in a test")


@pytest.mark.parametrize("fault", [{"kind": "drop", "when": fail}, {"kind": "rewrite", "rewrite": fail}])
def test_a_function_that_fails_is_not_taken_for_a_fault(upstream: Upstream, fault: dict[str, Any]) -> None:
    def use() -> None:
        with (
            Proxy(upstream.base_url) as proxy,
            httpx.Client(base_url=proxy.base_url, trust_env=False, verify=False) as client,
        ):
            proxy.faults.append(Fault(**fault))
            with pytest.raises(httpx.RemoteProtocolError):
                ask(client)
            proxy.faults.clear()
            assert ask(client).is_success

    with pytest.raises(RuntimeError, match=r"the proxy failed.*a mistake in a test") as caught:
        use()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_tests_own_failure_is_not_hidden(upstream: Upstream) -> None:
    def use() -> None:
        with (
            Proxy(upstream.base_url) as proxy,
            httpx.Client(base_url=proxy.base_url, trust_env=False, verify=False) as client,
        ):
            proxy.faults.append(Fault("drop", when=fail))
            with pytest.raises(httpx.RemoteProtocolError):
                ask(client)
            raise LookupError

    with pytest.raises(LookupError):
        use()


async def test_it_ends_whatever_is_under_way(upstream: Upstream) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
        with Proxy(upstream.base_url) as proxy:
            url = f"{proxy.base_url}/chat/completions"
            await client.get(f"{proxy.base_url}/models")  # this connection is idle
            proxy.faults.append(Fault("delay", seconds=600, when=lambda request: "late" in request.body))
            wishes = ({"hold": True}, {"late": True}, {"stream": True})
            asking = [asyncio.create_task(client.post(url, json=wish)) for wish in wishes]
            await asyncio.to_thread(proxy.wait_until, lambda: len(proxy.bodies()) == 3)
            for _ in ("models", "hold", "stream"):
                assert await asyncio.to_thread(upstream.arrived.acquire, timeout=30)
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(outcome, httpx.TransportError)
        assert all(request.ended is not None and not request.cancelled for request in proxy.requests)
        for _ in ("hold", "stream"):
            assert await asyncio.to_thread(upstream.hung_up.acquire, timeout=30)
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{proxy.base_url}/models")
