"""The proxy in front of a small server: what passes through it, what it keeps, whom it lets go, and every fault."""

import asyncio
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import openai
import pytest

from linmem_langgraph.vllm import ChatVLLM
from tests.faults import Kind
from tests.proxy import CHAT, HTML, NOT_JSON, OTHER_JSON, Fault, Proxy, Request, asks_chat
from tests.servers import free_port

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "On the shelf, 咖啡."}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}
WORDS = ("On", " the", " shelf.")


class Upstream:
    """A server on loopback that answers a chat request as its JSON wants it: at once, as a `stream`, never (`hold`).

    A stream goes on after each event when `go_on` is released; `at_once` requests wait for each other.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.arrived = threading.Semaphore(0)
        self.hung_up = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.together = threading.Barrier(64)
        self.dies = False  # in the middle of its answer
        self.stopping = threading.Event()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    upstream.hung_up.release()

            def do_GET(self) -> None:
                upstream.answer(self)

            do_POST = do_HEAD = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False  # closing waits for them
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.stopping.set()
        self.together.abort()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        content = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        self.requests.append((handler.command, handler.path, dict(handler.headers.items()), content))
        self.arrived.release()
        wishes = json.loads(content) if content else {}
        if wishes.get("at_once"):
            self.together.wait(60)
        if wishes.get("hold"):
            return self.wait_for_hang_up(handler)
        if wishes.get("stream"):
            return self.stream(handler)
        if handler.command == "DELETE":
            handler.send_response(204)
            return handler.end_headers()
        known = handler.path.partition("?")[0] in (CHAT, "/v1/models")
        body = json.dumps(ANSWER if known else {"error": f"no {handler.path}"}, ensure_ascii=False).encode()
        handler.send_response(200 if known else 404)
        for name, value in (("Content-Type", "application/json"), ("X-Own", "kept"), ("Set-Cookie", "a=1")):
            handler.send_header(name, value)
        handler.send_header("Set-Cookie", "b=2")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)
        return None

    def wait_for_hang_up(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        while not self.stopping.is_set():
            if select.select([handler.connection], [], [], 0.02)[0] and not handler.connection.recv(1):
                self.hung_up.release()
                return

    def stream(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for data in events():
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            while not self.go_on.acquire(timeout=0.02) and not self.stopping.is_set():
                if select.select([handler.connection], [], [], 0)[0] and not handler.connection.recv(1):
                    self.hung_up.release()
                    return
            if self.dies:
                return
        handler.wfile.write(b"0\r\n\r\n")


def events() -> list[bytes]:
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    chunks: list[Any] = [
        {**common, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in WORDS
    ]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    chunks.append({**common, "choices": [], "usage": ANSWER["usage"]})
    return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    with Proxy(upstream.base_url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.base_url, trust_env=False, verify=False, timeout=60) as client:
        yield client


@pytest.fixture
async def aclient(proxy: Proxy) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=proxy.base_url, trust_env=False, verify=False, timeout=60, limits=limits
    ) as client:
        yield client


def ask(client: httpx.Client, **wishes: Any) -> httpx.Response:
    return client.post("/chat/completions", json={"model": "tiny", **wishes})


def connect(proxy: Proxy) -> socket.socket:
    url = httpx.URL(proxy.base_url)
    return socket.create_connection((url.host, url.port))


def send(connection: socket.socket, **wishes: Any) -> None:
    body = json.dumps(wishes).encode()
    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def fates(proxy: Proxy) -> list[tuple[int | None, bool]]:
    return [(request.status, request.cancelled) for request in proxy.requests]


# What passes


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


# Who hangs up


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


def test_waiting_in_vain_is_told(proxy: Proxy, client: httpx.Client) -> None:
    client.get("/models")
    with pytest.raises(TimeoutError, match=r"after 0.01 s; the requests were \[\('GET', '/v1/models', 200, False\)\]"):
        proxy.wait_until(lambda: False, seconds=0.01)


# The server


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


# Faults


def test_a_delay_ends(proxy: Proxy, client: httpx.Client) -> None:
    proxy.faults += [Fault("delay", seconds=0.01), Fault("delay", seconds=0.01), Fault("delay_answer", seconds=0.01)]
    assert ask(client).json() == ANSWER
    assert [fault.hits for fault in proxy.faults] == [1, 1, 1]


@pytest.mark.parametrize(("kind", "forwarded"), [("drop", 0), ("drop_answer", 1)])
def test_a_dropped_request_has_no_answer(
    proxy: Proxy, upstream: Upstream, client: httpx.Client, kind: Kind, forwarded: int
) -> None:
    proxy.faults.append(Fault(kind, times=1))
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
        ask(client)
    assert len(upstream.requests) == forwarded
    assert ask(client).json() == ANSWER
    assert fates(proxy) == [(None, False), (200, False)]


@pytest.mark.parametrize("status", [400, 429, 500, 502, 503])
@pytest.mark.parametrize("retry_after", [None, 0.01, 30])
def test_a_status_comes_instead(
    proxy: Proxy, upstream: Upstream, client: httpx.Client, status: int, retry_after: float | None
) -> None:
    proxy.faults.append(Fault("status", status=status, retry_after=retry_after))
    answer = ask(client)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == (None if retry_after is None else str(retry_after))
    assert answer.json()["error"]["code"] == status
    assert upstream.requests == []
    assert fates(proxy) == [(status, False)]


def test_a_status_can_have_a_body_of_its_own(proxy: Proxy, client: httpx.Client) -> None:
    proxy.faults.append(Fault("status", status=502, body=HTML))
    answer = ask(client)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (502, "text/html", HTML)


@pytest.mark.parametrize("body", [HTML, NOT_JSON, OTHER_JSON, b"", b"\xff\xfe", b"null", b"x" * 200_000])
def test_garbage_comes_as_a_success(proxy: Proxy, upstream: Upstream, client: httpx.Client, body: bytes) -> None:
    proxy.faults.append(Fault("garbage", body=body, times=1))
    answer = ask(client)
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == ("text/html" if body == HTML else "application/json")
    assert upstream.requests == []
    assert ask(client).json() == ANSWER


@pytest.mark.parametrize("after", [0, 1, 20, 10_000])
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_begins_and_does_not_end(
    proxy: Proxy, upstream: Upstream, client: httpx.Client, after: int, stream: bool
) -> None:
    for _ in events():
        upstream.go_on.release()
    proxy.faults.append(Fault("cut", after=after))
    whole = b"".join(events()) if stream else json.dumps(ANSWER, ensure_ascii=False).encode()
    received = []

    def receive(answer: httpx.Response) -> None:
        for piece in answer.iter_raw():
            received.append(piece)

    with client.stream("POST", "/chat/completions", json={"stream": stream}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            receive(answer)
    assert b"".join(received) == whole[:after]
    assert fates(proxy) == [(200, False)]


def test_a_slow_answer_comes_byte_by_byte_and_whole(proxy: Proxy) -> None:
    proxy.faults.append(Fault("slow", seconds=0.0001))
    with connect(proxy) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n")
        _, _, chunks = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    body = json.dumps(ANSWER, ensure_ascii=False).encode()
    assert chunks == b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"


def test_hanging_up_on_a_slow_answer_is_noticed(proxy: Proxy, client: httpx.Client) -> None:
    proxy.faults.append(Fault("slow", seconds=0.2))
    with client.stream("POST", "/chat/completions", json={}) as answer:
        assert next(answer.iter_raw()) == b"{"
    proxy.wait_until(lambda: fates(proxy) == [(200, True)])


def test_a_wrong_usage_is_told(proxy: Proxy, upstream: Upstream, client: httpx.Client) -> None:
    proxy.faults.append(Fault("usage", usage={"prompt_tokens": 99, "prompt_tokens_details": {"cached_tokens": 98}}))
    wrong = {
        "prompt_tokens": 99,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 98},
    }
    assert ask(client).json() == {**ANSWER, "usage": wrong}
    for _ in events():
        upstream.go_on.release()
    told = [line.removeprefix("data: ") for line in ask(client, stream=True).text.splitlines() if line]
    sent = [event.decode().removeprefix("data: ").strip() for event in events()]
    assert [json.loads(event) for event in told[:3]] == [json.loads(event) for event in sent[:3]]
    assert json.loads(told[3]) == {**json.loads(sent[3]), "usage": wrong}
    assert told[4:] == ["[DONE]"]


def test_answers_are_rewritten_in_turn_by_what_was_asked(
    proxy: Proxy, upstream: Upstream, client: httpx.Client
) -> None:
    def rewrite(asked: Any, answered: Any) -> Any:
        return {"asked": asked, "answered": answered}

    proxy.faults += [Fault("rewrite", rewrite=rewrite), Fault("rewrite", rewrite=lambda asked, answered: [answered])]
    assert ask(client, number=1).json() == [{"asked": {"model": "tiny", "number": 1}, "answered": ANSWER}]
    assert client.get("/models").json() == [{"asked": None, "answered": ANSWER}]
    assert client.get("/nothing").json() == {"error": "no /v1/nothing"}
    for _ in events():
        upstream.go_on.release()
    lines = ask(client, stream=True).text.splitlines()
    assert json.loads(lines[0].removeprefix("data: "))[0]["asked"] == {"model": "tiny", "stream": True}
    assert [line for line in lines if not line.startswith("data: [{")] == ["", "", "", "", "data: [DONE]", ""]


def test_faults_come_in_their_order_as_often_as_told_to_whom_they_are_for(proxy: Proxy, client: httpx.Client) -> None:
    def about_mugs(request: Request) -> bool:
        return asks_chat(request) and request.body.get("about") == "mugs"

    faults = [
        Fault("usage", usage={"total_tokens": 1}),
        Fault("status", status=429, times=2, when=asks_chat),
        Fault("status", status=503, times=1, when=about_mugs),
        Fault("delay", seconds=0, times=1),
    ]
    proxy.faults += faults
    seen = [client.get("/models").status_code]
    seen += [ask(client, about=about).status_code for about in ("mugs", "", "", "mugs", "mugs")]
    assert seen == [200, 429, 429, 200, 503, 200]
    assert [fault.hits for fault in faults] == [6, 2, 1, 1]
    assert client.get("/models").json()["usage"]["total_tokens"] == 1
    proxy.faults.remove(faults[0])
    assert client.get("/models").json() == ANSWER


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"kind": "delays", "seconds": 1.0}, "unknown fault 'delays'; choose delay, delay_answer, drop"),
        ({"kind": "delay"}, "'delay' takes seconds, not none"),
        ({"kind": "drop", "seconds": 1.0}, "'drop' takes no options, not seconds"),
        ({"kind": "status", "retry_after": 1.0}, "'status' takes body, retry_after, status, not retry_after"),
        ({"kind": "cut", "seconds": 1.0}, "'cut' takes after, not seconds"),
    ],
)
def test_a_fault_takes_the_options_of_its_kind(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Fault(**options)


# Its own end


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


# With the chat model

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
