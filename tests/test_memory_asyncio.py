"""The facade under asyncio: its async methods, a reader's own, and no deadlock with an async store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import AsyncSqliteStore

from linmem_langgraph import ChromaReader, ConfigError, Memory, NamespaceError, Reading
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.base import Query
from tests.fakes import WaitingEmbeddings


class Native(ChromaReader):
    """Is read under asyncio in a way of its own."""

    async def aread(self, log: Log, query: Query) -> Reading:
        asyncio.get_running_loop()
        return Reading(text=f"{query.text} {len(log.records())}", reader="native")


async def test_a_readers_own_aread_is_used(tmp_path: Path, namespace: Namespace) -> None:
    memory = Memory(Native(tmp_path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore())
    await memory.awrite(namespace, ["a", "b"])
    reading = await memory.aread(namespace, "how many?")
    assert reading.text == "how many? 2"
    assert reading.seconds > 0
    with pytest.raises(ConfigError, match="query"):
        await memory.aread(namespace, "")
    with pytest.raises(NamespaceError):
        await memory.aread((), "x")
    await memory.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await memory.aread(namespace, "x")


async def test_an_async_read_says_what_a_sync_one_does(tmp_path: Path, namespace: Namespace) -> None:
    memory = Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore())
    keys = await memory.awrite(namespace, ["red mug", "blue mug", "red coat"])
    for options in ({}, {"limit": 1}, {"until": 1}, {"exclude": keys[:1]}, {"filter": {"kind": "semantic"}}):
        asked: dict[str, Any] = {"query": "red mug", **options}
        one, other = memory.read(namespace, **asked), await memory.aread(namespace, **asked)
        assert one.model_copy(update={"seconds": 0.0}) == other.model_copy(update={"seconds": 0.0})
    await memory.aclose()


@pytest.fixture
async def async_only(tmp_path: Path) -> AsyncIterator[tuple[Memory, WaitingEmbeddings]]:
    """A memory over an async store of this event loop, and the embeddings that hold its updates back."""
    embeddings = WaitingEmbeddings()
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "store.sqlite")) as store:
        await store.setup()
        memory = Memory(ChromaReader(tmp_path / "chroma", embeddings=embeddings), store=store)
        yield memory, embeddings
        embeddings.go.set()
        await asyncio.to_thread(memory.close)


async def test_the_async_methods(async_only: tuple[Memory, WaitingEmbeddings], namespace: Namespace) -> None:
    memory, embeddings = async_only
    embeddings.go.set()
    keys = await memory.awrite(namespace, ["Anna sleeps", "Bert reads"])
    await memory.aflush()
    assert (await memory.aread(namespace, "who reads", limit=1, until=5, exclude=[9])).text == "[1] Bert reads"
    assert (await memory.aforget(namespace, keys[1])).forgotten == (keys[1],)
    readings = await asyncio.gather(*(memory.aread(namespace, "Anna") for _ in range(5)))
    assert {reading.text for reading in readings} == {"[0] Anna sleeps"}


@pytest.mark.parametrize("method", ["write", "read", "records", "forget", "rebuild", "flush", "close"])
async def test_a_sync_method_on_the_stores_own_loop_is_an_error_and_no_deadlock(
    async_only: tuple[Memory, WaitingEmbeddings], namespace: Namespace, method: str
) -> None:
    memory, embeddings = async_only
    await memory.awrite(namespace, "Anna sleeps")
    await asyncio.to_thread(embeddings.waiting.wait, 30)  # the update runs, and will need this loop

    async def release() -> None:
        await asyncio.sleep(0)
        embeddings.go.set()

    # A method that waits here for the update would never let `release` run: fail instead of hanging.
    arguments: dict[str, tuple[Any, ...]] = {
        "write": (namespace, "x"),
        "read": (namespace, "x"),
        "flush": (),
        "close": (),
    }
    try:
        with fail_instead_of_hanging(embeddings), pytest.raises(ConfigError, match="async store"):
            getattr(memory, method)(*arguments.get(method, (namespace,)))
    finally:
        await release()


class fail_instead_of_hanging:
    """The update that is held back gives up after two seconds, and with it whoever waits for it."""

    def __init__(self, embeddings: WaitingEmbeddings) -> None:
        self._embeddings = embeddings

    def __enter__(self) -> None:
        from threading import Timer

        def give_up() -> None:
            self.hung = True
            self._embeddings.fails = True
            self._embeddings.go.set()

        self.hung = False
        self._timer = Timer(2, give_up)
        self._timer.start()

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        assert not self.hung, "the method waited for an update that needs this very event loop"


async def test_async_methods_do_not_block_the_loop(tmp_path: Path, namespace: Namespace) -> None:
    embeddings = WaitingEmbeddings()
    memory = Memory(ChromaReader(tmp_path, embeddings=embeddings), store=InMemoryStore())
    await memory.awrite(namespace, "Anna sleeps")
    reading = asyncio.create_task(memory.aread(namespace, "Anna"))
    await asyncio.sleep(0.05)
    assert not reading.done()
    embeddings.go.set()
    assert (await reading).text == "[0] Anna sleeps"
    await asyncio.to_thread(memory.close)
