"""The conformance suite over a hybrid reader, whose model quotes every record it is shown."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from linmem_langgraph import HybridReader
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._chroma.index import collection_name
from linmem_langgraph.testing.readers import ReaderConformance, ReaderHarness
from linmem_langgraph.vllm import ChatVLLM
from tests.fakes import CountingEmbeddings
from tests.model_server import ModelServer
from tests.readers.linear.words import everything


def harness_of(server: ModelServer, path: Path, **options: Any) -> ReaderHarness:
    readers: list[HybridReader] = []

    def open_reader() -> HybridReader:
        readers.append(HybridReader(ChatVLLM(base_url=server.base_url), path=path, **options))
        return readers[-1]

    def keys(namespace: Namespace) -> set[str]:
        from chromadb.errors import NotFoundError

        found = set[str]()
        for index in readers[0]._indexes:
            try:
                collection = index._source.client().get_collection(collection_name(namespace), embedding_function=None)
                found |= set(collection.get(include=[])["ids"])
            except NotFoundError:
                pass
        return found

    def lose() -> None:
        server.forget()
        for kind in ("words", "vectors"):
            shutil.rmtree(path / kind, ignore_errors=True)

    routed = options.get("mode") == "routed"
    return ReaderHarness(
        open=open_reader, keys=keys, lose=lose, complete=not routed, counts=None if routed else "position"
    )


class TestHybrid(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderHarness]:
        with ModelServer(everything) as server:
            yield harness_of(server, tmp_path_factory.mktemp("hybrid"), embeddings=CountingEmbeddings())


class TestHybridRouted(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderHarness]:
        with ModelServer(everything) as server:
            path, small = tmp_path_factory.mktemp("routed"), {"segment_tokens": 60, "budget_tokens": 180}
            yield harness_of(server, path, embeddings=LexicalEmbeddings(256), mode="routed", **small)
            assert server.asked("merge")
