"""What the tests of `LinearReader` with a real server share: memories behind a proxy, and what the server was sent."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import httpx
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph import LinearReader, Memory
from linmem_langgraph.readers._linear.prompt import INSTRUCTIONS, longest_frame, memory_message
from linmem_langgraph.vllm import ChatVLLM
from tests import extractive_answer
from tests.http1 import Request
from tests.model_server import kind
from tests.proxy import CHAT, Fault, Proxy, asks_chat

MATCH_UNIT = 16
"""A state is found again up to so many tokens before a prompt's end."""

SMALL = 4_096
"""The context of a server that reads a memory of some thousand tokens in segments."""

Servers = Callable[..., VllmServer]
Remember = Callable[..., Memory]


@contextmanager
def in_front_of(server: VllmServer, *, complete: bool = False) -> Iterator[Proxy]:
    """A proxy that replaces the words of the server's model, which mean nothing, by the records that match."""
    words = partial(extractive_answer.rewrite, complete=complete)
    with Proxy(server.base_url) as proxy:
        proxy.faults.append(Fault("rewrite", rewrite=words, when=asks_chat))
        yield proxy


def linear_reader(
    url: str, *, max_tokens: int = 16, model: dict[str, Any] | None = None, **options: Any
) -> LinearReader:
    """A reader of short answers; `model` are the options of its chat model, the others are its own."""
    return LinearReader(ChatVLLM(**{"base_url": url, **(model or {})}), max_tokens=max_tokens, **options)


@contextmanager
def remembering(url: str, *, store: BaseStore | None = None, **options: Any) -> Iterator[Memory]:
    """A memory with a `linear_reader`, in a store of its own unless one is given."""
    with Memory(linear_reader(url, **options), store=InMemoryStore() if store is None else store) as memory:
        yield memory


def asked(proxy: Proxy, *kinds: str) -> list[Request]:
    """The requests of these kinds: models, count, prime, read, merge."""
    return [request for request in proxy.requests if kind(request) in kinds]


class Answered(NamedTuple):
    """A chat request, and what the server counted: its tokens, and those that it had the state of."""

    request: Request
    prompt_tokens: int
    cached_tokens: int


@contextmanager
def counting(proxy: Proxy) -> Iterator[list[Answered]]:
    """What is answered from now on."""
    answers: list[Answered] = []

    def count(asked: Any, answered: Any) -> Any:
        used = answered["usage"]
        request = Request("POST", CHAT, "", {}, json.dumps(asked).encode())
        cached = (used["prompt_tokens_details"] or {}).get("cached_tokens") or 0
        answers.append(Answered(request, used["prompt_tokens"], cached))
        return answered

    fault = Fault("rewrite", rewrite=count, when=asks_chat)
    proxy.faults.insert(0, fault)
    try:
        yield answers
    finally:
        proxy.faults.remove(fault)


def of_kind(answers: Sequence[Answered], *kinds: str) -> list[Answered]:
    """Those of these kinds."""
    return [answer for answer in answers if kind(answer.request) in kinds]


def context_of(room: int) -> int:
    """A context that leaves at least so many tokens for memory, and not many more, if answers are short."""
    return (len(longest_frame().encode()) + room + 100) * 8 // 7 + 1


def prompt_tokens(transcript: str) -> int:
    """What a prime of this transcript has: a token is a byte, and so are two roles and the end of a message."""
    return len(f"{INSTRUCTIONS}{memory_message(transcript)}".encode()) + 3


def post(server: VllmServer, path: str, body: dict[str, Any]) -> Any:
    """The server's answer, in JSON."""
    url = server.base_url.removesuffix("/v1") + path
    return httpx.post(url, json=body, timeout=120, trust_env=False).raise_for_status().json()
