"""The conformance suite over LangGraph's own stores, and over ours."""

from collections.abc import Iterator

import pytest
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from linmem_langgraph import ChromaReader, LinearReader, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.store import MemoryStore
from linmem_langgraph.testing.stores import StoreConformance, StoreHarness
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer
from tests.readers.linear.words import everything


class TestInMemoryStore(StoreConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> StoreHarness:
        return StoreHarness(InMemoryStore(index={"embed": LexicalEmbeddings(256), "dims": 256, "fields": ["text"]}))


class TestSqliteStore(StoreConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[StoreHarness]:
        # Not every build of Python lets SQLite load the extension that its index needs.
        with SqliteStore.from_conn_string(":memory:") as store:
            store.setup()
            yield StoreHarness(store, ranks=False, awaits=False)


class TestMemoryStoreInMemory(StoreConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[StoreHarness]:
        with Memory(ChromaReader(embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
            yield StoreHarness(MemoryStore(memory, fields=["text"]))


class TestMemoryStoreReadByAModel(StoreConformance):
    """The model names every record that it is shown, in the order of the memory."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[StoreHarness]:
        with (
            ModelServer(everything) as server,
            Memory(LinearReader(ChatVLLM(base_url=server.base_url)), store=InMemoryStore()) as memory,
        ):
            yield StoreHarness(MemoryStore(memory), ranks=False)


class TestMemoryStoreInAFolder(StoreConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHarness]:
        with Memory.open(tmp_path_factory.mktemp("store"), embeddings=LexicalEmbeddings(256)) as memory:
            yield StoreHarness(MemoryStore(memory))
