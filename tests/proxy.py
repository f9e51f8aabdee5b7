"""A proxy on loopback between a client and a server: it keeps what was sent, notices who hangs up, and makes faults.

with Proxy(server.base_url) as proxy:
    proxy.faults.append(Fault("status", status=429, times=2, when=asks_chat))
    ChatVLLM(base_url=proxy.base_url).invoke("?")
    assert len(proxy.bodies()) == 3
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from tests.faults import CHAT, DECIDES, HTML, NOT_JSON, OTHER_JSON, Fault, Kind, Rewrite, asks_chat
from tests.http1 import LAST_CHUNK, Answer, Reader, Request, chunk, has_body, head, receive

__all__ = ["CHAT", "HTML", "NOT_JSON", "OTHER_JSON", "Fault", "Proxy", "Request", "Rewrite", "asks_chat"]

# They are about one connection, and there are two: the client's and that to the server.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "trailer", "upgrade"}


class Proxy:
    """Forwards every request to `target`, but for what `faults` do to it; `base_url` is where it listens.

    `target` is a server's base URL, with `/v1`, and may be changed at any time. While it is None, or nobody listens
    there, connections are closed without an answer. A `when` or `rewrite` that fails closes the client's connection,
    and leaving the context raises.
    """

    def __init__(self, target: str | None = None) -> None:
        self.target = target
        self.base_url = ""
        self.faults: list[Fault] = []
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._connections: set[asyncio.Task[Any]] = set()
        self._errors: list[Exception] = []

    # What tests ask

    @property
    def requests(self) -> list[Request]:
        """What was received, in that order."""
        with self._changed:
            return list(self._requests)

    def bodies(self, path: str = CHAT) -> list[Any]:
        """The JSON of the requests to that path."""
        return [request.body for request in self.requests if request.path == path]

    def most_at_once(self) -> int:
        """The most requests that were being answered at a time."""
        requests = self.requests
        return max((sum(one.under_way(other.received) for one in requests) for other in requests), default=0)

    def clear(self) -> None:
        """Forget the requests; the faults stay."""
        with self._changed:
            self._requests.clear()

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
        """Return when `condition` holds; it is tried again whenever a request begins or ends.

        Raises:
            TimeoutError: it does not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                seen = [(one.method, one.path, one.status, one.cancelled) for one in self._requests]
                raise TimeoutError(f"not so after {seconds} s; the requests were {seen}")

    # Connections

    def __enter__(self) -> Self:
        started: Future[str] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), name="proxy")
        self._thread.start()
        self.base_url = started.result(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._errors and kind is None:
            raise RuntimeError(f"the proxy failed, not what it stands between: {self._errors!r}") from self._errors[0]

    async def _run(self, started: Future[str]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        # A request has a connection to the server for itself: closing it cancels that request and no other.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=None, limits=limits, trust_env=False, verify=False) as self._client:
            server = await self._loop.create_server(self._protocol, "127.0.0.1", 0, backlog=256)
            started.set_result(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
            await self._stop.wait()
            server.close()
            await asyncio.sleep(0.01)  # who has been accepted just now gets a task that can close the connection
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = Reader()
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: self._connected(reader, writer))

    async def _connected(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await receive(reader)) and await self._serve(request, reader, writer):
                pass
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, or the proxy stops
        except Exception as exc:
            self._errors.append(exc)
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _serve(self, request: Request, reader: Reader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request, unless its client hangs up; whether the connection may take another."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        answering = asyncio.create_task(self._answer(request, writer))
        leaving = asyncio.create_task(reader.ended.wait())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answering.cancel()
            leaving.cancel()
            failure, _ = await asyncio.gather(answering, leaving, return_exceptions=True)
            self._end(request, cancelled=reader.ended.is_set())
        if isinstance(failure, Exception) and not isinstance(failure, ConnectionError | _Close):
            raise failure
        return failure is None and not request.is_last

    def _end(self, request: Request, *, cancelled: bool = False) -> None:
        with self._changed:
            if request.ended is None:
                request.ended, request.cancelled = time.monotonic(), cancelled
                self._changed.notify_all()

    # An answer

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        faults = self._met(request)
        await asyncio.sleep(_seconds(faults, "delay"))
        async with self._answered(request, faults) as answer:
            await asyncio.sleep(_seconds(faults, "delay_answer"))
            request.status, chunked = answer.status, has_body(request, answer)
            writer.write(head(answer, chunked=chunked))
            if chunked:
                await _send(answer.pieces, faults, writer)
            self._end(request)  # before the client can know, who then finds the request as it will stay
            writer.write(LAST_CHUNK if chunked else b"")
            await writer.drain()

    def _met(self, request: Request) -> list[Fault]:
        met: list[Fault] = []
        for fault in list(self.faults):
            if fault.hit(request):
                met.append(fault)
                if fault.kind in DECIDES:
                    break
        return met

    @asynccontextmanager
    async def _answered(self, request: Request, faults: Sequence[Fault]) -> AsyncIterator[Answer]:
        """The server's answer, or the one that a fault gives."""
        decides = faults[-1].kind if faults else None
        if decides in ("status", "garbage"):
            yield faults[-1].answer()
        elif decides == "drop" or self.target is None:
            raise _Close
        else:
            try:
                response = await self._client.send(
                    self._client.build_request(**_forwarded(request, self.target)), stream=True
                )
                try:
                    if decides == "drop_answer":
                        raise _Close
                    headers = [item for item in response.headers.multi_items() if item[0].lower() not in HOP_BY_HOP]
                    yield Answer(response.status_code, headers, _pieces(request, response, faults))
                finally:
                    # A client that leaves breaks off the sending, and then this task is cancelled as well; httpx, when
                    # cancelled while it closes, leaves the connection open for good.
                    await asyncio.shield(response.aclose())
            except httpx.TransportError as exc:
                raise _Close from exc


class _Close(Exception):
    """The client's connection is to be closed as it stands."""


def _forwarded(request: Request, target: str) -> dict[str, Any]:
    kept = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
    return {
        "method": request.method,
        "url": target.removesuffix("/v1") + request.path + (f"?{request.query}" if request.query else ""),
        "headers": {**kept, "accept-encoding": "identity"},  # what is rewritten and cut must be plain
        "content": request.content or None,
    }


async def _pieces(request: Request, response: httpx.Response, faults: Sequence[Fault]) -> AsyncGenerator[bytes, None]:
    """The body as it comes in; that of a success in JSON with the changes that faults make."""
    changes = [fault for fault in faults if fault.kind in ("usage", "rewrite")] if response.is_success else []
    content_type = response.headers.get("content-type", "").partition(";")[0]
    if changes and content_type == "application/json":
        yield _changed(await response.aread(), request, changes).encode()
    elif changes and content_type == "text/event-stream":
        async for line in response.aiter_lines():
            event = line.removeprefix("data: ")
            yield (f"data: {_changed(event, request, changes)}\n" if event.startswith("{") else f"{line}\n").encode()
    else:
        async for piece in response.aiter_raw():
            yield piece


def _changed(answer: str | bytes, request: Request, changes: Sequence[Fault]) -> str:
    answered = json.loads(answer)
    for fault in changes:
        answered = fault.changed(request.body, answered)
    return json.dumps(answered)


async def _send(pieces: AsyncGenerator[bytes, None], faults: Sequence[Fault], writer: asyncio.StreamWriter) -> None:
    """The body, but for the last chunk."""
    left = next((fault.after for fault in faults if fault.kind == "cut"), None)
    pause = _seconds(faults, "slow")
    async with aclosing(pieces):
        async for piece in pieces:
            part = piece[:left]
            for bit in (bytes([byte]) for byte in part) if pause else [part]:
                await asyncio.sleep(pause)
                writer.write(chunk(bit))
                await writer.drain()
            if left is not None and not (left := left - len(part)):
                break
    if left is not None:
        raise _Close


def _seconds(faults: Sequence[Fault], kind: Kind) -> float:
    return sum(fault.seconds or 0.0 for fault in faults if fault.kind == kind)
