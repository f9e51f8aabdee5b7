"""What can go wrong between a client and a server, as data: `tests.proxy` makes it happen."""

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from tests.http1 import Answer, Request

CHAT = "/v1/chat/completions"

# Bodies for `garbage`.
HTML = b"<!doctype html><title>Sign in</title><p>Sign in to use this network.</p>"
NOT_JSON = b'{"id": "chatcmpl-1", "choices": [{"mess'
OTHER_JSON = b'{"object": "list", "data": []}'

Kind = Literal["delay", "delay_answer", "drop", "drop_answer", "status", "garbage", "cut", "slow", "usage", "rewrite"]
Rewrite = Callable[[Any, Any], Any]

NEEDS: dict[str, set[str]] = {
    "delay": {"seconds"},
    "delay_answer": {"seconds"},
    "drop": set(),
    "drop_answer": set(),
    "status": {"status"},
    "garbage": {"body"},
    "cut": {"after"},
    "slow": {"seconds"},
    "usage": {"usage"},
    "rewrite": {"rewrite"},
}
ALLOWS: dict[str, set[str]] = {"status": {"retry_after", "body"}}
DECIDES = {"drop", "drop_answer", "status", "garbage", "cut"}


def asks_chat(request: Request) -> bool:
    """Whether a chat completion is asked for; for `Fault(when=...)`."""
    return request.path == CHAT


@dataclass
class Fault:
    """One thing that goes wrong, or is changed, on the way.

    A request meets the faults that apply to it, in their order, up to the first that decides how it ends: `drop`,
    `drop_answer`, `status`, `garbage` or `cut`. Each kind takes the options named with it, and no others.

    Args:
        kind: what happens.
            `delay`, `delay_answer`: the request is forwarded, the answer is sent, `seconds` later.
            `drop`, `drop_answer`: the connection is closed, before the request is forwarded, or when the server has
            begun to answer.
            `status`: that error instead of the server's answer, if wanted with `retry_after` seconds or another `body`.
            `garbage`: a success with that `body` instead of the server's answer.
            `cut`: the connection is closed `after` so many bytes of the body.
            `slow`: a pause of `seconds` before each byte of the body.
            `usage`: these counts in the place of the server's.
            `rewrite`: a success has the JSON that this function makes of the request's and the answer's JSON; of a
            stream, of the request's and each event's.
        times: how many requests it hits; None = all.
        when: which requests it hits.
        hits: how many it has hit.

    Raises:
        ValueError: there is no such kind, or it takes other options.
    """

    kind: Kind
    seconds: float | None = None
    status: int | None = None
    retry_after: float | None = None
    body: bytes | None = None
    after: int | None = None
    usage: dict[str, Any] | None = None
    rewrite: Rewrite | None = None
    times: int | None = None
    when: Callable[[Request], bool] = lambda request: True
    hits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in NEEDS:
            raise ValueError(f"unknown fault {self.kind!r}; choose {', '.join(NEEDS)}")
        options = set().union(*NEEDS.values(), *ALLOWS.values())
        given = {name for name in options if getattr(self, name) is not None}
        needs, allows = NEEDS[self.kind], ALLOWS.get(self.kind, set())
        if not needs <= given <= needs | allows:
            takes = ", ".join(sorted(needs | allows)) or "no options"
            raise ValueError(f"fault {self.kind!r} takes {takes}, not {', '.join(sorted(given)) or 'none'}")

    def hit(self, request: Request) -> bool:
        """Whether it applies to the request; if so, that is counted."""
        hits = (self.times is None or self.hits < self.times) and self.when(request)
        self.hits += hits
        return hits

    def changed(self, asked: Any, answered: Any) -> Any:
        """The answer's JSON with the change that this fault makes."""
        if self.rewrite is not None:
            return self.rewrite(asked, answered)
        if self.usage is not None and answered.get("usage"):
            return {**answered, "usage": {**answered["usage"], **self.usage}}
        return answered

    def answer(self) -> Answer:
        """What comes instead of the server's answer; an error looks as vLLM's do."""
        status = self.status or 200
        error = {"message": "a fault", "type": httpx.codes.get_reason_phrase(status), "param": None, "code": status}
        body = json.dumps({"error": error}).encode() if self.body is None else self.body
        headers = [("content-type", "text/html" if body.startswith(b"<") else "application/json")]
        if self.retry_after is not None:
            headers.append(("retry-after", f"{self.retry_after:g}"))
        return Answer(status, headers, _one(body))


async def _one(piece: bytes) -> AsyncGenerator[bytes, None]:
    yield piece
