"""The conformance suite over every reader."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from linmem_langgraph import ChromaReader, DeltaReader
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.readers._chroma.index import collection_name
from linmem_langgraph.testing.readers import Namespace, ReaderConformance, ReaderHarness
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
def _embedded(path: Path, **options: Any) -> Iterator[ReaderHarness]:
    readers: list[ChromaReader] = []

    def open_reader() -> ChromaReader:
        readers.append(ChromaReader(path, embeddings=LexicalEmbeddings(256), **options))
        return readers[-1]

    yield ReaderHarness(
        open=open_reader,
        keys=lambda namespace: _keys(readers[0]._source.client(), namespace),
        lose=lambda: shutil.rmtree(path),
        counts=options.get("by", "record"),
    )


class TestChromaByRecord(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderHarness]:
        with _embedded(tmp_path_factory.mktemp("by-record") / "chroma") as harness:
            yield harness


class TestChromaByPosition(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderHarness]:
        with _embedded(tmp_path_factory.mktemp("by-position") / "chroma", by="position") as harness:
            yield harness


class TestChromaServer(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, chroma_server: ChromaServer) -> Iterator[ReaderHarness]:
        with chroma_server.client() as client:

            def lose() -> None:
                for collection in client.list_collections():
                    client.delete_collection(collection.name)

            yield ReaderHarness(
                open=lambda: ChromaReader(client=client, embeddings=LexicalEmbeddings(256)),
                keys=lambda namespace: _keys(client, namespace),
                lose=lose,
            )


@contextmanager
def _delta(path: Path, rule: str) -> Iterator[ReaderHarness]:
    readers: list[DeltaReader] = []

    def open_reader() -> DeltaReader:
        readers.append(DeltaReader(path, embeddings=LexicalEmbeddings(256), rule=rule, values=128))
        return readers[-1]

    def lose() -> None:
        # What is in memory would stand in for the files.
        for reader in readers:
            reader._indexes.clear()
        shutil.rmtree(path)

    yield ReaderHarness(open=open_reader, keys=lambda namespace: set(), lose=lose)


class TestLeastSquares(ReaderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderHarness]:
        with _delta(tmp_path_factory.mktemp("least-squares") / "delta", "least_squares") as harness:
            yield harness


class TestDeltaMomentum(ReaderConformance):
    """The rule whose state depends on the most: order, number, means and what went just before."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderHarness]:
        with _delta(tmp_path_factory.mktemp("momentum") / "delta", "delta_momentum") as harness:
            yield harness
