"""The reader that finds its embeddings in the store: the conformance suite, and what of it goes with the store."""

import gc
from collections.abc import Iterator
from tempfile import gettempdir

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, Memory
from linmem_langgraph.readers.by_store import StoreReader
from linmem_langgraph.testing.readers import ReaderConformance, ReaderHarness


class TestStoreReader(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[ReaderHarness]:
        # Its indexes are temporary: each reader has its own, and none is there to be lost.
        yield ReaderHarness(open=StoreReader, keys=lambda namespace: set(), lose=lambda: None)
        gc.collect()  # they go with the stores


def test_its_index_goes_with_the_store(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert gettempdir() == str(folder)
    reader, store = StoreReader(), InMemoryStore()
    memory = Memory(reader, store=store)
    memory.write(("users", "anna"), "Anna drinks tea.")
    assert memory.read(("users", "anna"), "tea").text == "[0] Anna drinks tea."
    assert len([*folder.iterdir()]) == 1

    memory.close()
    del memory, store
    gc.collect()

    assert [*folder.iterdir()] == []


def test_another_store_has_another_index() -> None:
    reader = StoreReader()
    for drink in ("tea", "rum"):
        memory = Memory(reader, store=InMemoryStore())
        memory.write(("users", "anna"), f"Anna drinks {drink}.")
        assert memory.read(("users", "anna"), "drinks").text == f"[0] Anna drinks {drink}."
        memory.close()
        with pytest.raises(ConfigError, match="closed"):
            memory.read(("users", "anna"), "drinks")
