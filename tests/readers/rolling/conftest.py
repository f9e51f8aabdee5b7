"""A memory read part by part by a model on a loopback server, whose words each test fixes.

The server counts a token for each byte; three `clip`s fill a segment.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import Memory, MemoryRecord, RollingReader
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer
from tests.readers.rolling.words import positions

Remember = Callable[..., Memory]

LINE = 100
SEGMENT = 3 * LINE


def clip(position: int, word: str = "clip") -> MemoryRecord:
    """A record whose line in the transcript has `LINE` bytes."""
    head = f"[{position}] "
    text = f"{word}{position} "
    return MemoryRecord(text=text + "." * (LINE - len(head) - len(text) - 1), position=position, key=f"k{position}")


def clips(count: int, start: int = 0) -> list[MemoryRecord]:
    return [clip(position) for position in range(start, start + count)]


def reader(server: ModelServer, **options: Any) -> RollingReader:
    """A reader of three clips at a time."""
    model = options.pop("model", None) or ChatVLLM(base_url=server.base_url, max_retries=0)
    return RollingReader(model, **{"segment_tokens": SEGMENT, **options})


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(positions) as server:
        yield server


@pytest.fixture
def remember(server: ModelServer) -> Iterator[Remember]:
    """Makes memories over the server, each with a `reader` of the given options; all are closed at the end."""
    with ExitStack() as opened:

        def make(*, store: Any = None, **options: Any) -> Memory:
            return opened.enter_context(Memory(reader(server, **options), store=store or InMemoryStore()))

        yield make
        server.release()


@pytest.fixture
def memory(remember: Remember) -> Memory:
    """With a note for each question."""
    return remember()


@pytest.fixture
def standing(remember: Remember) -> Memory:
    """With a standing note."""
    return remember(standing=True)
