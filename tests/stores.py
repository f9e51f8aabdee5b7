"""The stores that logs are tested over, and stores that fail when they are told to."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock, Thread

from langgraph.store.base import BaseStore, Op, PutOp, Result, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore


@contextmanager
def memory_store(path: Path) -> Iterator[BaseStore]:
    yield InMemoryStore()


@contextmanager
def sqlite_store(path: Path) -> Iterator[BaseStore]:
    with SqliteStore.from_conn_string(str(path / "store.sqlite")) as store:
        store.setup()
        yield store


@contextmanager
def async_store(path: Path) -> Iterator[BaseStore]:
    """The sync face of an async store, whose event loop runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()

    context = AsyncSqliteStore.from_conn_string(str(path / "store.sqlite"))

    async def enter() -> AsyncSqliteStore:
        store = await context.__aenter__()
        await store.setup()
        return store

    async def leave() -> None:
        if store._task is not None:
            store._task.cancel()
        await context.__aexit__(None, None, None)

    store = asyncio.run_coroutine_threadsafe(enter(), loop).result()
    try:
        yield store
    finally:
        asyncio.run_coroutine_threadsafe(leave(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class HostileStore(BaseStore):
    """Keeps what it is given, and searches as badly as a store may.

    Its prefix search compares text, so that siblings (`a.bc` for `a.b`) and everything below come back too; a page has
    7 items at most, in no useful order, and items of one page come back on the next.
    """

    PAGE = 7

    def __init__(self) -> None:
        self._kept = InMemoryStore()
        self._lock = Lock()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        given = list(ops)
        with self._lock:
            results = self._kept.batch([op for op in given if not isinstance(op, SearchOp)])
            return [self._search(op) if isinstance(op, SearchOp) else results.pop(0) for op in given]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return self.batch(ops)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        prefix = ".".join(op.namespace_prefix)
        found = [item for item in self._kept.search((), limit=1_000_000) if ".".join(item.namespace).startswith(prefix)]
        random.Random(prefix).shuffle(found)
        twice = [item for place, item in enumerate(found) for _ in range(2 if place % 5 == 0 else 1)]
        return twice[op.offset : op.offset + min(op.limit, self.PAGE)]


@contextmanager
def hostile_store(path: Path) -> Iterator[BaseStore]:
    yield HostileStore()


STORES: dict[str, Callable[[Path], AbstractContextManager[BaseStore]]] = {
    "async": async_store,
    "hostile": hostile_store,
    "memory": memory_store,
    "sqlite": sqlite_store,
}


class StoreDown(Exception):
    """What a `FailingStore` raises."""


class FailingStore(BaseStore):
    """An in-memory store; while `writes_left` is a number, that many calls that write succeed, and no more."""

    def __init__(self) -> None:
        self._kept = InMemoryStore()
        self.writes_left: int | None = None

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        given = list(ops)
        if self.writes_left is not None and any(isinstance(op, PutOp) for op in given):
            if self.writes_left == 0:
                raise StoreDown
            self.writes_left -= 1
        return self._kept.batch(given)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return self.batch(ops)
