"""Requests and answers pass through the proxy as they are, one after the other and event by event."""

import http.client
import json
import time

import httpx

from tests.proxies.ends import ANSWER, Upstream, events, fates
from tests.proxy import CHAT, Proxy


def test_a_request_passes_as_it_is_and_is_kept(proxy: Proxy, upstream: Upstream, client: httpx.Client) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Zoë 漢字 🙂 \u2028" + "x" * 3_000_000}]}
    headers = {"Authorization": "Bearer key", "X-Session-ID": "a  b", "Accept-Encoding": "gzip"}
    before = time.monotonic()
    answer = client.post("/chat/completions?a=1&b=%2F", json=body, headers=headers)
    assert answer.json() == ANSWER
    [(method, path, received, content)] = upstream.requests
    [request] = proxy.requests
    assert (method, path) == ("POST", "/v1/chat/completions?a=1&b=%2F")
    assert (request.method, request.path, request.query) == ("POST", CHAT, "a=1&b=%2F")
    assert request.content == content
    assert request.body == json.loads(content) == body
    lower = {name.lower(): value for name, value in received.items()}
    for name in ("authorization", "x-session-id", "content-type", "content-length", "user-agent"):
        assert lower[name] == request.headers[name] == answer.request.headers[name]
    assert lower["accept-encoding"] == "identity"
    assert lower["host"] == upstream.base_url.removeprefix("http://").removesuffix("/v1")
    assert request.ended is not None
    assert before <= request.received <= request.ended <= time.monotonic()
    assert (request.status, request.cancelled) == (200, False)


def test_an_answer_passes_as_it_is(client: httpx.Client, upstream: Upstream) -> None:
    def both(method: str, path: str) -> tuple[httpx.Response, httpx.Response]:
        return client.request(method, path), httpx.request(
            method, upstream.base_url + path, trust_env=False, verify=False
        )

    unlike = {"content-length", "transfer-encoding", "connection", "date"}
    for method, path in (("POST", "/chat/completions"), ("GET", "/nothing?x"), ("HEAD", "/models"), ("DELETE", "/x")):
        through, straight = both(method, path)
        assert (through.status_code, through.content) == (straight.status_code, straight.content)
        assert [item for item in through.headers.multi_items() if item[0] not in unlike] == [
            item for item in straight.headers.multi_items() if item[0] not in unlike
        ]


def test_paths_beside_v1_are_the_servers_too(client: httpx.Client, upstream: Upstream, proxy: Proxy) -> None:
    url = proxy.base_url.removesuffix("/v1")
    assert proxy.base_url.startswith("http://127.0.0.1:")
    assert proxy.base_url.endswith("/v1")
    for path in ("/health", "/"):
        assert client.get(url + path).status_code == 404
    assert [request[1] for request in upstream.requests] == ["/health", "/"]


def test_a_connection_takes_one_request_after_the_other(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", httpx.URL(proxy.base_url).port)
    for method, path, status in (("GET", "/v1/models", 200), ("HEAD", CHAT, 200), ("DELETE", "/", 204)):
        connection.request(method, path)
        if method == "GET":
            first = connection.sock
        response = connection.getresponse()
        assert (response.status, connection.sock) == (status, first)
        assert response.getheader("transfer-encoding") == ("chunked" if method == "GET" else None)
        response.read()
    connection.request("GET", "/v1/models", headers={"Connection": "close"})
    assert json.loads(connection.getresponse().read()) == ANSWER
    assert first.recv(1) == b""
    connection.close()


def test_a_stream_passes_event_by_event(proxy: Proxy, upstream: Upstream, client: httpx.Client) -> None:
    with client.stream("POST", "/chat/completions", json={"stream": True}) as answer:
        pieces = answer.iter_raw()
        for event in events():
            assert next(pieces) == event
            assert fates(proxy) == [(200, False)]
            assert proxy.requests[0].ended is None
            upstream.go_on.release()  # only now does the server send the next one
        assert next(pieces, None) is None
    assert proxy.requests[0].ended is not None
