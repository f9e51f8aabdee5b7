"""The two ends of a proxy: a small server behind it, and ways to ask in front of it."""

import json
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.proxy import CHAT, Proxy

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
