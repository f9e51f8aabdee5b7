"""As much HTTP/1.1 as the tests' servers need: requests as they come in, answers as they go out."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

LAST_CHUNK = b"0\r\n\r\n"


@dataclass
class Request:
    """What a client sent, and what became of it.

    Args:
        path, query: the two parts of what was asked for.
        headers: by their names in lower case.
        received, ended: in seconds of `time.monotonic()`; `ended` is None while the request is being answered.
        status: what the answer began with; None if it did not begin.
        cancelled: the client hung up before the answer was complete. The connection to the server is being closed then.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    content: bytes
    received: float = field(default_factory=time.monotonic)
    ended: float | None = None
    status: int | None = None
    cancelled: bool = False

    @property
    def body(self) -> Any:
        """The content as JSON; None where there is none."""
        return json.loads(self.content) if self.content else None

    @property
    def is_last(self) -> bool:
        """Whether the client wants its connection closed after the answer."""
        return self.headers.get("connection", "").lower() == "close"

    def under_way(self, at: float) -> bool:
        """Whether it was being answered at that time."""
        return self.received <= at and (self.ended is None or at < self.ended)


def most_at_once(requests: Sequence[Request]) -> int:
    """The most of them that were being answered at a time."""
    return max((sum(one.under_way(other.received) for one in requests) for other in requests), default=0)


class Answer(NamedTuple):
    """An answer whose body may still be under way."""

    status: int
    headers: list[tuple[str, str]]
    pieces: AsyncGenerator[bytes, None]


class Reader(asyncio.StreamReader):
    """Tells that the connection has ended while nobody reads from it."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.ended.set()


async def receive(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None if the client leaves before it is complete."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")[:-2]
        method, asked, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in fields)}
        if "transfer-encoding" in headers:
            raise ValueError(f"{line}: a request must have its Content-Length, this one is chunked")
        content = await reader.readexactly(int(headers.get("content-length", 0)))
    except asyncio.IncompleteReadError:
        return None
    path, _, query = asked.partition("?")
    return Request(method, path, query, headers, content)


def has_body(request: Request, answer: Answer) -> bool:
    """Whether a body follows the answer's head, even an empty one."""
    return request.method != "HEAD" and answer.status not in (204, 304)


def head(answer: Answer, *, chunked: bool) -> bytes:
    """What comes before the body."""
    lines = [f"HTTP/1.1 {answer.status} {httpx.codes.get_reason_phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    lines += ["transfer-encoding: chunked"] if chunked else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(piece: bytes) -> bytes:
    """A piece of the body; an empty one is left out, as it would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
