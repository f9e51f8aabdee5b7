"""A model server on loopback whose words a test fixes: as much of vLLM's API as `LinearReader` uses.

with ModelServer(says="Anna lives in Oslo [1].") as server:
    reader = LinearReader(ChatVLLM(base_url=server.base_url))

It counts a token for each byte, unless told otherwise, so that sizes in tests can be added up. It keeps the state of
what was primed, apart for each `cache_salt`. For faults between it and its client see `tests.proxy`.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tests.http1 import Request, most_at_once
from tests.loopback import LoopbackServer
from tests.servers import free_port

MODEL = "tiny"
CHAT, TOKENIZE, MODELS = "/v1/chat/completions", "/tokenize", "/v1/models"
QUESTION = "\n\nQuestion: "
TEMPLATE = 16
"""Tokens that the chat template adds to a dialogue."""

Kind = Literal["models", "count", "prime", "read", "merge", "other"]
Words = Callable[[str], str]
"""What the model says, given the last message."""


def kind(request: Request) -> Kind:
    """What is asked for."""
    if request.path == MODELS:
        return "models"
    if request.path == TOKENIZE:
        return "count"
    if request.path == CHAT and request.body.get("continue_final_message"):
        return "prime"
    if request.path == CHAT and said(request).startswith("FINDINGS:\n"):
        return "merge"
    return "read" if request.path == CHAT and said(request).startswith("MEMORY:\n") else "other"


def said(request: Request) -> str:
    """The last message of a dialogue."""
    return str(request.body["messages"][-1]["content"])


def memory_of(request: Request) -> str:
    """The transcript in a read or a prime."""
    sent = said(request).removeprefix("MEMORY:\n")
    return sent if kind(request) == "prime" else f"{sent.rpartition(QUESTION)[0]}\n"


class ModelServer(LoopbackServer):
    """A server of one model; everything may be changed while it runs.

    Args:
        says: the model's words, or a function of the last message.
        context: the model's context in tokens; None = it does not tell.
    """

    name = "model server"

    def __init__(self, says: str | Words = "Nothing in memory matches.", *, context: int | None = 100_000) -> None:
        super().__init__(free_port())  # which is known before it is started
        self.says = says
        self.context = context
        self.tokens: Callable[[str], int] = tokens
        self.latency = 0.0
        self.tokenizes = True
        self.primes = True
        self.refuses_long_prompts = True
        self.tells_usage = True
        self.finish_reason = "stop"
        self.keeps_states = True  # of what was primed
        self.keeps_reads = False  # and of whatever else was read
        self.holds: Callable[[Request], bool] = lambda request: False  # such requests wait until it says no
        self._states: set[tuple[str, str]] = set()

    # What tests ask

    def asked(self, *kinds: Kind) -> list[Request]:
        """The requests of these kinds."""
        return [request for request in self.requests if kind(request) in kinds]

    def bodies(self, *kinds: Kind) -> list[Any]:
        """Their JSON."""
        return [request.body for request in self.asked(*kinds)]

    def under_way(self, *kinds: Kind) -> list[Request]:
        """Those of them that have no answer yet."""
        return [request for request in self.asked(*kinds) if request.ended is None]

    def most_at_once(self, *kinds: Kind) -> int:
        """The most of them that were being answered at a time."""
        return most_at_once(self.asked(*kinds))

    def forget(self) -> None:
        """Keep no state of what was primed so far."""
        self._states.clear()

    def release(self) -> None:
        """Hold nothing any more."""
        self.holds = lambda request: False

    def start(self) -> None:
        """Listen, without any state."""
        self.forget()
        super().start()

    def _told(self, request: Request) -> tuple[object, ...]:
        return kind(request), request.status, request.cancelled

    # Answering

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.latency)
        while self.holds(request):
            await asyncio.sleep(0.002)
        request.status, body = self._said(request)
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 {request.status} X\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
        self._end(request)  # before the client can know
        writer.write(f"{head}\r\n\r\n".encode() + content)
        await writer.drain()

    def _said(self, request: Request) -> tuple[int, Any]:
        if request.path == MODELS:
            limit = {} if self.context is None else {"max_model_len": self.context}
            return 200, {"object": "list", "data": [{"id": MODEL, "object": "model", **limit}]}
        if request.path == TOKENIZE and self.tokenizes:
            return 200, {"count": self.tokens(request.body["prompt"]), "max_model_len": self.context, "tokens": []}
        return self._chat(request.body) if request.path == CHAT else _error(404, "Not Found")

    def _chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        open_ended = body.get("continue_final_message")
        if open_ended and not self.primes:
            return _error(400, "continue_final_message is not supported")
        if open_ended and body.get("add_generation_prompt", True):
            return _error(400, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
        prompt = [message["content"] for message in body["messages"]]
        size, wanted = TEMPLATE + sum(map(self.tokens, prompt)), body.get("max_tokens") or 1
        if self.context is not None and self.refuses_long_prompts and size + wanted > self.context:
            return _error(
                400,
                f"This model's maximum context length is {self.context} tokens. However, you requested "
                f"{wanted} output tokens and your prompt contains {size} input tokens.",
            )
        cached = self._known(body.get("cache_salt", ""), prompt, keep=bool(open_ended or self.keeps_reads))
        text = "" if open_ended else self.says if isinstance(self.says, str) else self.says(prompt[-1])
        message = {"role": "assistant", "content": text}
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
        answer["choices"] = [{"index": 0, "message": message, "finish_reason": self.finish_reason}]
        if self.tells_usage:
            answer["usage"] = {
                "prompt_tokens": size,
                "completion_tokens": max(self.tokens(text), 1),
                "total_tokens": size + max(self.tokens(text), 1),
                "prompt_tokens_details": {"cached_tokens": cached},
            }
        return 200, answer

    def _known(self, salt: str, prompt: Sequence[str], *, keep: bool) -> int:
        """How many tokens of the prompt there is a state of."""
        text = "\0".join(prompt)
        if not self.keeps_states:
            return 0
        states = (state for owner, state in self._states if owner == salt and text.startswith(state))
        known = max(map(self.tokens, states), default=0)
        if keep:
            self._states.add((salt, text))
        return known


def tokens(text: str) -> int:
    """One for each byte."""
    return len(text.encode())


def _error(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}
