"""What a `MemoryStore` has of its memory's reader and store: a model's words, an event loop, a folder."""

import asyncio
from pathlib import Path

import pytest
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import AsyncSqliteStore

from linmem_langgraph import ChromaReader, ConfigError, LinearReader, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.store import MemoryStore
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer
from tests.readers.linear.words import everything
from tests.store.conftest import ANNA, BERT, keys


def test_results_begin_with_what_a_model_said() -> None:
    with (
        ModelServer(everything) as server,
        Memory(LinearReader(ChatVLLM(base_url=server.base_url)), store=InMemoryStore()) as memory,
    ):
        store = MemoryStore(memory, answers=True)
        store.put(ANNA, "a", {"content": "Anna lives in Oslo."})
        store.put(BERT, "b", {"content": "Bert lives in Rome."})
        told, item = store.search(ANNA, query="Where does Anna live?")
        assert (told.namespace, told.key, told.score) == (ANNA, "reading", None)
        assert told.value["content"].startswith("Anna lives in Oslo")
        assert "Rome" not in str(told.value)
        assert item.key == "a"
        assert keys(store.search(ANNA, query="Where does Anna live?", limit=1)) == ["reading"]
        assert keys(store.search(ANNA, query="Where does Anna live?", limit=1, offset=1)) == ["a"]
        assert keys(MemoryStore(memory).search(ANNA, query="Where does Anna live?")) == ["a"]
        assert [told.namespace for told in store.search(("users",), query="Who?")][:2] == [ANNA, BERT]


def test_no_limit_finds_nothing(store: MemoryStore) -> None:
    store.put(ANNA, "k", {"text": "anna reads"})
    assert store.search(ANNA, query="anna", limit=0) == store.search(ANNA, limit=0) == []


async def test_an_async_store_is_searched_on_its_own_loop(tmp_path: Path) -> None:
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "s.sqlite")) as inner:
        await inner.setup()
        memory = Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=inner)
        store = MemoryStore(memory)
        await asyncio.gather(*(store.aput(ANNA, f"k{place}", {"text": f"crate{place}"}) for place in range(4)))
        assert (await store.asearch(ANNA, query="crate2"))[0].key == "k2"
        await store.adelete(ANNA, "k2")
        assert sorted(keys(await store.asearch(ANNA, query="crate2"))) == ["k0", "k1", "k3"]
        await memory.aclose()


async def test_a_call_that_would_wait_for_its_own_loop_is_refused(tmp_path: Path) -> None:
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "s.sqlite")) as inner:
        await inner.setup()
        memory = Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=inner)
        store = MemoryStore(memory)
        putting = asyncio.create_task(store.aput(ANNA, "k", {"text": "crate"}))
        while not store._changing.locked():
            await asyncio.sleep(0)
        with pytest.raises(ConfigError, match="aput"):
            store.put(ANNA, "other", {"text": "box"})
        with pytest.raises(ConfigError, match="its event loop"):
            Memory(memory.reader, store=store).records(ANNA)
        await putting
        assert keys(await store.asearch(ANNA, query="crate")) == ["k"]
        await memory.aclose()


def test_a_folder_keeps_items_and_memory_together(tmp_path: Path) -> None:
    for _ in range(2):
        with Memory.open(tmp_path, embeddings=LexicalEmbeddings()) as memory:
            store = MemoryStore(memory)
            store.put(ANNA, "secret", {"text": "anna hides the treasure"})
            assert keys(store.search(ANNA, query="treasure")) == ["secret"]
    with Memory.open(tmp_path, embeddings=LexicalEmbeddings()) as memory:
        MemoryStore(memory).delete(ANNA, "secret")
    # Of Chroma's files nothing can be said: its library writes unused slots as it finds them in memory.
    assert b"treasure" not in b"".join(file.read_bytes() for file in tmp_path.glob("log.sqlite*"))


def test_it_needs_a_memory_with_a_store() -> None:
    with Memory(ChromaReader(embeddings=LexicalEmbeddings())) as memory, pytest.raises(ConfigError, match="no store"):
        MemoryStore(memory)
