"""The Chroma reader over a server that goes away, comes back empty, or is something else."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, Memory, ReaderUnavailable
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace
from tests.servers import ChromaServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    """A server of this module's own, running or not."""
    with ChromaServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def memory(server: ChromaServer) -> Iterator[Memory]:
    """A memory over a running server."""
    server.stop()
    server.start()
    with (
        server.client() as client,
        Memory(ChromaReader(client=client, embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory,
    ):
        yield memory


def test_a_server_that_is_down(memory: Memory, server: ChromaServer, namespace: Namespace) -> None:
    first = memory.write(namespace, "Anna sleeps")[0]
    memory.flush()
    server.stop()
    second = memory.write(namespace, "Bert reads")[0]
    with pytest.raises(ReaderUnavailable, match=rf"127\.0\.0\.1:{server.port}.*chroma run"):
        memory.flush()
    with pytest.raises(ReaderUnavailable, match=rf"127\.0\.0\.1:{server.port}.*chroma run"):
        memory.read(namespace, "Anna")
    assert [record.key for record in memory.records(namespace)] == [first, second]
    with pytest.raises(ReaderUnavailable, match=r"gone from the log, but the index.*same keys"):
        memory.forget(namespace, first)
    assert [record.key for record in memory.records(namespace)] == [second]
    server.start()
    assert memory.forget(namespace, first).unknown == (first,)
    assert memory.read(namespace, "Bert Anna", limit=5).text == "[1] Bert reads"
    memory.flush()


def test_a_server_that_lost_everything(memory: Memory, server: ChromaServer, namespace: Namespace) -> None:
    memory.write(namespace, [f"Anna reads page{place}" for place in range(10)])
    assert memory.read(namespace, "page7", limit=1).text == "[7] Anna reads page7"
    server.lose()
    server.start()
    assert memory.read(namespace, "page7", limit=1).text == "[7] Anna reads page7"
    server.lose()
    server.start()
    memory.write(namespace, "Bert reads page10")
    memory.flush()
    assert len(memory.read(namespace, "page", limit=20).records) == 11


def test_a_restarted_server(memory: Memory, server: ChromaServer, namespace: Namespace) -> None:
    memory.write(namespace, "Anna sleeps")
    assert memory.read(namespace, "Anna").text == "[0] Anna sleeps"
    server.stop()
    server.start()
    assert memory.read(namespace, "Anna").text == "[0] Anna sleeps"


@pytest.mark.parametrize("status", [200, 404, 429, 500, 503])
def test_something_else_that_answers(memory: Memory, server: ChromaServer, namespace: Namespace, status: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html>busy</html>")

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    memory.write(namespace, "Anna sleeps")
    memory.flush()
    server.stop()
    ThreadingHTTPServer.allow_reuse_address = True
    other = ThreadingHTTPServer(("127.0.0.1", server.port), Answer)
    thread = Thread(target=other.serve_forever)
    thread.start()
    try:
        with pytest.raises(ReaderUnavailable, match=str(server.port)):
            memory.read(namespace, "Anna")
        with pytest.raises(ReaderUnavailable):
            memory.forget(namespace)
    finally:
        other.shutdown()
        thread.join()
        other.server_close()


def test_two_readers_of_one_server(server: ChromaServer, memory: Memory, namespace: Namespace) -> None:
    with (
        server.client() as client,
        Memory(ChromaReader(client=client, embeddings=LexicalEmbeddings(256)), store=memory._store) as other,
    ):
        for place in range(3):
            memory.write(namespace, f"Anna reads page{place}")
            assert f"page{place}" in other.read(namespace, f"page{place}", limit=1).text
            other.write(namespace, f"Bert reads leaf{place}")
            assert f"leaf{place}" in memory.read(namespace, f"leaf{place}", limit=1).text


def test_a_client_that_was_given_stays_open(server: ChromaServer, memory: Memory, tmp_path: Path) -> None:
    with server.client() as client:
        with Memory(ChromaReader(client=client, embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as other:
            other.write(("given",), "x")
        assert client.heartbeat()
        client.delete_collection(client.list_collections()[0].name)
