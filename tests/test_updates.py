"""What happens after a write: in order, in the background, without losing an error or a caller."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import ClassVar

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import Memory, MemoryRecord, Reader, Reading
from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers import Query
from linmem_langgraph.updates import Updates


class NotingReader(Reader):
    """Keeps what it was told; waits while `go` is not set, and fails on the text "fail"."""

    name: ClassVar[str] = "noting"

    def __init__(self) -> None:
        self.changes: list[tuple[Namespace, Change]] = []
        self.go = Event()
        self.go.set()
        self.waiting = Event()

    def read(self, log: Log, query: Query) -> Reading:
        return Reading(text=query.text + str(len(log.records())), reader=self.name)

    def update(self, log: Log, change: Change) -> None:
        self.waiting.set()
        assert self.go.wait(30)
        self.changes.append((log.namespace, change))
        if any(record.text == "fail" for record in change.written):
            raise RuntimeError(f"update of {log.namespace} failed")

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        return 0

    def rebuild(self, log: Log) -> None:
        """Nothing is kept."""

    def written(self, namespace: Namespace) -> list[str]:
        return [record.text for place, change in self.changes if place == namespace for record in change.written]


@pytest.fixture
def reader() -> NotingReader:
    return NotingReader()


def test_a_write_does_not_wait_for_the_reader(reader: NotingReader, namespace: Namespace) -> None:
    with Memory(reader, store=InMemoryStore()) as memory:
        reader.go.clear()
        memory.write(namespace, "first")
        assert reader.waiting.wait(30)
        memory.write(namespace, "second")
        assert [record.text for record in memory.records(namespace)] == ["first", "second"]
        assert reader.changes == []
        reader.go.set()
        memory.flush()
        assert reader.written(namespace) == ["first", "second"]


def test_changes_of_a_namespace_follow_each_other(reader: NotingReader) -> None:
    namespaces = [("updates", str(place)) for place in range(6)]
    with Memory(reader, store=InMemoryStore()) as memory, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: [memory.write(name, f"t{place}") for place in range(30)], namespaces))
        memory.flush()
        for namespace in namespaces:
            version = ""
            for place, change in reader.changes:
                if place == namespace:
                    assert change.base == version
                    version = change.version
            assert version == memory._log(namespace).head().version
            assert reader.written(namespace) == [f"t{place}" for place in range(30)]


def test_writes_that_piled_up_become_one_change(reader: NotingReader, namespace: Namespace) -> None:
    with Memory(reader, store=InMemoryStore()) as memory:
        reader.go.clear()
        memory.write(namespace, "first")
        assert reader.waiting.wait(30)
        for place in range(10):
            memory.write(namespace, f"t{place}")
        reader.go.set()
        memory.flush()
        assert len(reader.changes) == 2


@pytest.mark.parametrize("waits", [True, False])
def test_a_read_waits_for_pending_updates_if_the_reader_says_so(
    reader: NotingReader, namespace: Namespace, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(NotingReader, "waits_for_updates", waits)
    with Memory(reader, store=InMemoryStore()) as memory, ThreadPoolExecutor(1) as pool:
        reader.go.clear()
        memory.write(namespace, "first")
        assert reader.waiting.wait(30)
        reading = pool.submit(memory.read, namespace, "q")
        if waits:
            with pytest.raises(TimeoutError):
                reading.result(timeout=0.2)
        else:
            assert reading.result(timeout=10).text == "q1"
        reader.go.set()
        assert reading.result(timeout=10).text == "q1"


def test_one_slow_namespace_does_not_hold_up_another(reader: NotingReader) -> None:
    with Memory(reader, store=InMemoryStore()) as memory:
        reader.go.clear()
        memory.write(("slow",), "x")
        assert reader.waiting.wait(30)
        assert memory.read(("other",), "q").text == "q0"
        reader.go.set()


def test_a_failure_is_raised_once_by_flush_and_the_record_stays(reader: NotingReader, namespace: Namespace) -> None:
    with Memory(reader, store=InMemoryStore()) as memory:
        assert memory.write(namespace, "fail")
        with pytest.raises(RuntimeError, match="failed"):
            memory.flush()
        memory.flush()
        assert [record.text for record in memory.records(namespace)] == ["fail"]
        memory.write(namespace, "fine")
        memory.flush()
        assert reader.written(namespace) == ["fail", "fine"]


def test_a_write_that_changes_nothing_is_no_update(reader: NotingReader, namespace: Namespace) -> None:
    with Memory(reader, store=InMemoryStore()) as memory:
        for _ in range(3):
            memory.write(namespace, MemoryRecord(text="x", position=1))
            memory.flush()
        assert len(reader.changes) == 1


def test_closing_finishes_what_is_pending(reader: NotingReader, namespace: Namespace) -> None:
    memory = Memory(reader, store=InMemoryStore())
    for place in range(20):
        memory.write(namespace, f"t{place}")
    memory.close()
    assert reader.written(namespace) == [f"t{place}" for place in range(20)]
    memory.close()


def test_many_small_writes_are_followed_as_few_changes(namespace: Namespace) -> None:
    reader = NotingReader()
    updates, log = Updates(reader), Log(InMemoryStore(), namespace)
    reader.go.clear()
    for place in range(2_000):
        record = MemoryRecord(text=f"t{place}", key=str(place), position=place)
        updates.submit(log, Change(base=str(place), version=str(place + 1), written=(record,)))
    reader.go.set()
    updates.flush()
    updates.close()
    assert reader.written(namespace) == [f"t{place}" for place in range(2_000)]
    assert len(reader.changes) <= 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("waits", ["flush", "read", "forget", "close"])
def test_a_change_does_not_wait_for_later_ones_while_somebody_waits_for_it(
    reader: NotingReader, namespace: Namespace, monkeypatch: pytest.MonkeyPatch, waits: str
) -> None:
    monkeypatch.setattr("linmem_langgraph.updates._PAUSE", 3_600.0)
    with Memory(reader, store=InMemoryStore()) as memory:
        memory.write(namespace, "first")
        memory.write(namespace, "second")
        ask = {
            "flush": memory.flush,
            "read": lambda: memory.read(namespace, "?"),
            "forget": lambda: memory.forget(namespace, "unknown"),
            "close": memory.close,
        }
        ask[waits]()
        assert reader.written(namespace) == ["first", "second"]
        assert len(reader.changes) == 1


def test_a_reader_is_not_starved_by_writers(reader: NotingReader, namespace: Namespace) -> None:
    stop = Event()
    with Memory(reader, store=InMemoryStore()) as memory, ThreadPoolExecutor(3) as pool:

        def write() -> None:
            for place in range(100_000):
                if stop.is_set():
                    return
                memory.write(namespace, MemoryRecord(text=f"t{place}", key=f"k{place % 10}"))

        writers = [pool.submit(write) for _ in range(2)]
        try:
            for _ in range(5):
                assert pool.submit(memory.read, namespace, "q").result(timeout=10).text
        finally:
            stop.set()
        for writer in writers:
            writer.result()


def test_using_a_closed_memory_is_an_error_and_no_hang(reader: NotingReader, namespace: Namespace) -> None:
    memory = Memory(reader, store=InMemoryStore())
    memory.write(namespace, "x")
    memory.close()
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(Exception, match="closed"):
            pool.submit(memory.write, namespace, "y").result(timeout=10)
        with pytest.raises(Exception, match="closed"):
            pool.submit(memory.read, namespace, "y").result(timeout=10)


def test_waiting_is_for_what_was_written_before_and_not_for_later_writers(namespace: Namespace) -> None:
    """A read beside a writer that never stops would wait for ever."""
    reader = NotingReader()
    updates, log = Updates(reader), Log(InMemoryStore(), namespace)
    reader.go.clear()
    updates.submit(log, Change(base="", version="1"))
    assert reader.waiting.wait(10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(updates.wait, namespace)
        while not waiting.running():
            pass
        held = Event()

        def hold(log: Log, change: Change) -> None:
            assert held.wait(30)

        reader.update = hold  # type: ignore[method-assign]
        updates.submit(log, Change(base="1", version="2"))
        reader.go.set()
        waiting.result(timeout=10)
        held.set()
    updates.close()


def test_a_failure_that_a_later_update_mended_is_not_raised(namespace: Namespace) -> None:
    updates, log = Updates(NotingReader()), Log(InMemoryStore(), namespace)
    failing = MemoryRecord(text="fail", key="k", position=0)
    updates.submit(log, Change(base="", version="1", written=(failing,)))
    updates.wait(namespace)
    updates.submit(log, Change(base="1", version="2"))
    updates.flush()
    updates.close()


def test_a_change_that_comes_after_the_end_is_left_to_the_next_read(namespace: Namespace) -> None:
    updates, log = Updates(NotingReader()), Log(InMemoryStore(), namespace)
    updates.submit(log, Change(base="", version="1"))
    updates.close()
    updates.submit(log, Change(base="1", version="2"))
    updates.flush()
