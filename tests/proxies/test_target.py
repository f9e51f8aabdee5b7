"""The server behind the proxy: down, exchanged, dying."""

import httpx
import pytest

from tests.proxies.ends import Upstream, ask, fates
from tests.proxy import Proxy
from tests.servers import free_port


def test_a_server_that_is_down_looks_dead_until_it_is_back(
    proxy: Proxy, upstream: Upstream, client: httpx.Client
) -> None:
    for target in (None, f"http://127.0.0.1:{free_port()}/v1"):
        proxy.target = target
        with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
            ask(client)
    proxy.target = upstream.base_url
    assert ask(client).is_success
    assert fates(proxy) == [(None, False), (None, False), (200, False)]


def test_the_target_can_be_changed(proxy: Proxy, upstream: Upstream, client: httpx.Client) -> None:
    other = Upstream()
    try:
        ask(client)
        proxy.target = other.base_url
        ask(client)
        ask(client)
        assert (len(upstream.requests), len(other.requests)) == (1, 2)
    finally:
        other.close()


def test_a_server_that_dies_cuts_the_answer(proxy: Proxy, upstream: Upstream, client: httpx.Client) -> None:
    upstream.dies = True
    upstream.go_on.release()
    asking = client.stream("POST", "/chat/completions", json={"stream": True})
    with asking as answer, pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        list(answer.iter_raw())
    assert fates(proxy) == [(200, False)]
