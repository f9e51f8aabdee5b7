"""The conformance suite over every reader."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from linmem_langgraph import ChromaReader
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.readers._chroma.index import collection_name
from tests.conformance import Harness, Namespace, ReaderConformance
from tests.servers import ChromaServer

if TYPE_CHECKING:
    from chromadb.api import ClientAPI


def _keys(client: "ClientAPI", namespace: Namespace) -> set[str]:
    from chromadb.errors import NotFoundError

    try:
        return set(client.get_collection(collection_name(namespace), embedding_function=None).get(include=[])["ids"])
    except NotFoundError:
        return set()


@contextmanager
def _embedded(path: Path, **options: Any) -> Iterator[Harness]:
    readers: list[ChromaReader] = []

    def open_reader() -> ChromaReader:
        readers.append(ChromaReader(path, embeddings=LexicalEmbeddings(256), **options))
        return readers[-1]

    yield Harness(
        open=open_reader,
        keys=lambda namespace: _keys(readers[0]._source.client(), namespace),
        lose=lambda: shutil.rmtree(path),
        counts=options.get("by", "record"),
    )


class TestChromaByRecord(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
        with _embedded(tmp_path_factory.mktemp("by-record") / "chroma") as harness:
            yield harness


class TestChromaByPosition(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
        with _embedded(tmp_path_factory.mktemp("by-position") / "chroma", by="position") as harness:
            yield harness


class TestChromaServer(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, chroma_server: ChromaServer) -> Iterator[Harness]:
        with chroma_server.client() as client:

            def lose() -> None:
                for collection in client.list_collections():
                    client.delete_collection(collection.name)

            yield Harness(
                open=lambda: ChromaReader(client=client, embeddings=LexicalEmbeddings(256)),
                keys=lambda namespace: _keys(client, namespace),
                lose=lose,
            )
