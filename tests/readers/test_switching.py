"""A memory written under one reader is read under all others: nothing is written again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from linmem_langgraph import Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.readers import READERS
from tests.model_server import ModelServer
from tests.readers.linear.words import everything

NAMESPACE = ("users", "anna")


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(everything) as server:
        yield server


def options(reader: str, server: ModelServer) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if reader in ("chroma", "delta", "hybrid"):
        found["embeddings"] = LexicalEmbeddings(256)
    if reader in ("hybrid", "linear", "rolling"):
        found["base_url"] = server.base_url
    return found


@pytest.mark.parametrize("writer", READERS)
def test_what_one_reader_s_memory_wrote_all_read(writer: str, server: ModelServer, tmp_path: Path) -> None:
    with Memory.open(tmp_path, writer, **options(writer, server)) as memory:
        keys = memory.write(NAMESPACE, [f"anna lifts crate{place}" for place in range(12)])
        before = memory.records(NAMESPACE)
    for reader in READERS:
        with Memory.open(tmp_path, reader, **options(reader, server)) as memory:
            reading = memory.read(NAMESPACE, "Who lifts crate7?", limit=20)
            assert (reading.reader, {hit.record.key for hit in reading.records}) == (reader, set(keys))
            assert "crate7" in reading.text
            assert memory.records(NAMESPACE) == before
            memory.forget(NAMESPACE, keys[7])
            assert "crate7" not in memory.read(NAMESPACE, "Who lifts crate7?", limit=20).text
            memory.write(NAMESPACE, before[7])
            before = memory.records(NAMESPACE)
