"""A proxy on loopback between a client and a server: it keeps what was sent, notices who hangs up, and makes faults.

with Proxy(server.base_url) as proxy:
    proxy.faults.append(Fault("status", status=429, times=2, when=asks_chat))
    ChatVLLM(base_url=proxy.base_url).invoke("?")
    assert len(proxy.bodies()) == 3
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx

from tests.faults import CHAT, DECIDES, HTML, NOT_JSON, OTHER_JSON, Fault, Kind, Rewrite, asks_chat
from tests.http1 import LAST_CHUNK, Answer, Request, chunk, has_body, head, most_at_once
from tests.loopback import Close, LoopbackServer

__all__ = ["CHAT", "HTML", "NOT_JSON", "OTHER_JSON", "Fault", "Proxy", "Request", "Rewrite", "asks_chat"]

# They are about one connection, and there are two: the client's and that to the server.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "trailer", "upgrade"}


class Proxy(LoopbackServer):
    """Forwards every request to `target`, but for what `faults` do to it; `base_url` is where it listens.

    `target` is a server's base URL, with `/v1`, and may be changed at any time. While it is None, or nobody listens
    there, connections are closed without an answer. A `when` or `rewrite` that fails closes the client's connection,
    and leaving the context raises.
    """

    name = "proxy"

    def __init__(self, target: str | None = None) -> None:
        super().__init__()
        self.target = target
        self.faults: list[Fault] = []

    def bodies(self, path: str = CHAT) -> list[Any]:
        """The JSON of the requests to that path."""
        return [request.body for request in self.requests if request.path == path]

    def most_at_once(self) -> int:
        """The most requests that were being answered at a time."""
        return most_at_once(self.requests)

    async def _run(self, started: Future[None]) -> None:
        # A request has a connection to the server for itself: closing it cancels that request and no other.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=None, limits=limits, trust_env=False, verify=False) as self._client:
            await super()._run(started)

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
            raise Close
        else:
            try:
                response = await self._client.send(
                    self._client.build_request(**_forwarded(request, self.target)), stream=True
                )
                try:
                    if decides == "drop_answer":
                        raise Close
                    headers = [item for item in response.headers.multi_items() if item[0].lower() not in HOP_BY_HOP]
                    yield Answer(response.status_code, headers, _pieces(request, response, faults))
                finally:
                    # A client that leaves breaks off the sending, and then this task is cancelled as well; httpx, when
                    # cancelled while it closes, leaves the connection open for good.
                    await asyncio.shield(response.aclose())
            except httpx.TransportError as exc:
                raise Close from exc


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
        raise Close


def _seconds(faults: Sequence[Fault], kind: Kind) -> float:
    return sum(fault.seconds or 0.0 for fault in faults if fault.kind == kind)
