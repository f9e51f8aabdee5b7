"""A `MemoryStore`, and whose items are in it."""

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.store import MemoryStore

ANNA, BERT = ("users", "anna"), ("users", "bert")


def keys(found: list[Any]) -> list[str]:
    return [item.key for item in found]


@pytest.fixture
def store(memory: Memory) -> MemoryStore:
    return MemoryStore(memory)


@pytest.fixture(scope="module")
def shared() -> Iterator[MemoryStore]:
    with Memory(ChromaReader(embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        yield MemoryStore(memory)
