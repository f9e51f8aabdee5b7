"""A memory read by a model on a loopback server, whose words each test fixes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import LinearReader, Memory
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer

Remember = Callable[..., Memory]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def chat(server: ModelServer) -> ChatVLLM:
    return ChatVLLM(base_url=server.base_url)


@pytest.fixture
def remember(server: ModelServer) -> Iterator[Remember]:
    """Makes memories over the server, each with a `LinearReader` of the given options; all are closed at the end."""
    with ExitStack() as opened:

        def make(*, store: Any = None, max_retries: int = 0, **options: Any) -> Memory:
            model = options.pop("model", None) or ChatVLLM(base_url=server.base_url, max_retries=max_retries)
            return opened.enter_context(Memory(LinearReader(model, **options), store=store or InMemoryStore()))

        yield make
        server.release()


@pytest.fixture
def memory(remember: Remember) -> Memory:
    return remember()
