"""What the tests of the delta reader share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from linmem_langgraph import DeltaReader, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings

NAMESPACE = ("users", "anna")


@pytest.fixture
def open_delta(folder: Path) -> Iterator[Callable[..., Memory]]:
    """Open `folder` any number of times with a delta reader, lexical and small unless told otherwise."""
    with ExitStack() as opened:

        def open_again(**options: Any) -> Memory:
            settings = {"embeddings": LexicalEmbeddings(64), "values": 64, **options}
            return opened.enter_context(Memory.open(folder, "delta", **settings))

        yield open_again


@pytest.fixture
def memory(open_delta: Callable[..., Memory]) -> Memory:
    return open_delta()


def reader_of(memory: Memory) -> DeltaReader:
    assert isinstance(memory.reader, DeltaReader)
    return memory.reader


def states(folder: Path) -> list[Path]:
    """The files of states and checkpoints."""
    return sorted((folder / "delta").glob("linmem-*.delta"))


def forget_what_is_in_memory(memory: Memory) -> None:
    """As if another process went on."""
    memory.flush()
    reader_of(memory)._indexes.clear()


def notes(first: int, last: int) -> list[str]:
    """Texts that share no word but "note"."""
    return [f"note {number} about topic{number} and thing{number}" for number in range(first, last)]
