"""The state follows the log: as of positions, after updates, and after what was forgotten is gone."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import DeltaReader, Memory, MemoryRecord, ReaderUnavailable, Reading
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Change, Log, joined
from linmem_langgraph.readers._delta.delta_rules import Delta
from linmem_langgraph.readers.base import Query
from linmem_langgraph.readers.delta import RULES
from tests.fakes import CountingEmbeddings, SwitchableEmbeddings
from tests.readers.delta.conftest import NAMESPACE, forget_what_is_in_memory, notes, reader_of, states


def scores(reading: Reading) -> dict[str, float]:
    return {str(hit.record.key): hit.score or 0.0 for hit in reading.records}


def same(some: Reading, other: Reading) -> bool:
    """The same records with the same scores, up to rounding to 32 bits in files."""
    mine, theirs = scores(some), scores(other)
    return mine.keys() == theirs.keys() and np.allclose(
        list(mine.values()), [theirs[key] for key in mine], rtol=0, atol=1e-6
    )


def records(first: int, last: int) -> list[MemoryRecord]:
    return [
        MemoryRecord(text=text, key=f"k{number}", position=number)
        for number, text in enumerate(notes(first, last), start=first)
    ]


@pytest.mark.parametrize("rule", RULES)
def test_as_of_a_position_is_as_if_nothing_had_followed(rule: str) -> None:
    given = records(0, 700)
    query = "topic77 thing230 topic500"
    with Memory(DeltaReader(embeddings=LexicalEmbeddings(64), values=64, rule=rule), store=InMemoryStore()) as memory:
        # What lies behind is written first, and the rest in disorder.
        memory.write(NAMESPACE, given[400:])
        memory.flush()
        memory.write(NAMESPACE, given[399::-1])
        for until in (600, 299, 230, 300, 511, 699):
            other = ("fresh", uuid4().hex)
            memory.write(other, given[: until + 1])
            found = memory.read(NAMESPACE, query, until=until, limit=1_000)
            assert same(found, memory.read(other, query, limit=1_000))
            assert len(found.records) == until + 1


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, 40), st.integers(1, 30)),
            st.tuples(st.just("update"), st.integers(0, 40), st.integers(1, 3)),
            st.tuples(st.just("forget"), st.integers(0, 40), st.integers(1, 5)),
            st.tuples(st.just("read"), st.integers(0, 40), st.just(1)),
            st.tuples(st.just("lose memory"), st.just(0), st.just(0)),
        ),
        max_size=8,
    )
)
def test_whatever_happened_the_state_is_that_of_the_log(rule: str, changes: list[tuple[str, int, int]]) -> None:
    """Against a reader that has seen nothing of what happened."""
    store = InMemoryStore()
    reader = DeltaReader(embeddings=LexicalEmbeddings(64), values=64, rule=rule)
    with Memory(reader, store=store) as memory:
        for number, (what, first, length) in enumerate(changes):
            keys = [f"k{place}" for place in range(first, first + length)]
            if what == "write":
                memory.write(NAMESPACE, records(first, first + length))
            elif what == "update":
                memory.write(NAMESPACE, [MemoryRecord(text=f"change {number} of {key}", key=key) for key in keys])
            elif what == "forget":
                memory.forget(NAMESPACE, keys)
            elif what == "read":
                memory.read(NAMESPACE, "topic3", until=first)
            else:
                forget_what_is_in_memory(memory)
        found = memory.read(NAMESPACE, "note topic7", limit=100)
        with Memory(DeltaReader(embeddings=LexicalEmbeddings(64), values=64, rule=rule), store=store) as other:
            expected = other.read(NAMESPACE, "note topic7", limit=100)
        assert same(found, expected)
        assert len(found.records) == len(memory.records(NAMESPACE))


def test_a_state_of_least_squares_forgets_to_the_bit(memory: Memory, folder: Path, tmp_path: Path) -> None:
    memory.write(NAMESPACE, records(0, 200))
    memory.write(NAMESPACE, MemoryRecord(text="topic150 was something else", key="k150"))
    memory.read(NAMESPACE, "topic3")
    memory.forget(NAMESPACE, ["k20", "k150"])
    memory.read(NAMESPACE, "topic3")
    (forgetful,) = states(folder)

    kept = [record for record in records(0, 200) if record.key not in ("k20", "k150")]
    options: dict[str, Any] = {"embeddings": LexicalEmbeddings(64), "values": 64}
    with Memory.open(tmp_path / "other", "delta", **options) as other:
        for record in kept:
            other.write(NAMESPACE, record)
            other.flush()
    (never,) = states(tmp_path / "other")
    assert forgetful.read_bytes() == never.read_bytes()


def test_what_was_forgotten_is_in_no_file_at_once(memory: Memory, folder: Path) -> None:
    memory.write(NAMESPACE, records(0, 1_200))
    memory.flush()
    before = {file.name: file.read_bytes() for file in states(folder)}
    assert len(before) == 5
    receipt = memory.forget(NAMESPACE, ["k600", "k700", "absent"])
    assert receipt.from_index == 2
    # The checkpoints after 256 and 512 records do not hold it.
    left = {file.name.split(".")[1]: file.read_bytes() for file in states(folder)}
    assert sorted(left) == ["256", "512"]
    assert set(left.values()) <= set(before.values())
    read = {hit.record.key for hit in memory.read(NAMESPACE, "topic601", limit=2_000).records}
    assert read == {f"k{number}" for number in range(1_200)} - {"k600", "k700"}
    assert len(states(folder)) == 5
    assert memory.forget(NAMESPACE).from_index == 1_198
    assert states(folder) == []


def test_forgetting_needs_no_embedding(open_delta: Callable[..., Memory], folder: Path) -> None:
    embeddings = SwitchableEmbeddings(64)
    memory = open_delta(embeddings=embeddings)
    memory.write(NAMESPACE, records(0, 30))
    memory.flush()
    forget_what_is_in_memory(memory)
    embeddings.fails = True
    assert memory.forget(NAMESPACE, ["k3"]).forgotten == ("k3",)
    assert states(folder) == []
    with pytest.raises(ReaderUnavailable, match="out of memory"):
        memory.read(NAMESPACE, "topic4")
    embeddings.fails = False
    assert memory.read(NAMESPACE, "topic4").records[0].record.key == "k4"


def test_what_was_forgotten_meanwhile_does_not_enter(folder: Path) -> None:
    store = InMemoryStore()
    reader = DeltaReader(folder / "delta", embeddings=LexicalEmbeddings(64), values=64)
    log = Log(store, NAMESPACE)
    _, change = log.write(records(0, 5))
    assert change is not None
    reader.update(log, change)
    _, late = log.write(records(5, 8))
    assert late is not None
    gone = log.remove(["k6"])
    (before,) = (file.read_bytes() for file in states(folder))
    reader.update(log, late)
    # Not even for the moment until the reader is told to forget it.
    assert [file.read_bytes() for file in states(folder)] == [before]
    reader.forget(log, ["k6"], gone)
    with Memory(reader, store=store) as memory:
        found = memory.read(NAMESPACE, "topic6", limit=9)
        kept = [record for record in records(0, 8) if record.key != "k6"]
        other = ("fresh",)
        memory.write(other, kept)
        assert same(found, memory.read(other, "topic6", limit=9))


def test_a_forgotten_namespace_of_another_set_up_is_deleted(open_delta: Callable[..., Memory], folder: Path) -> None:
    first = open_delta()
    first.write(NAMESPACE, records(0, 5))
    first.flush()
    second = open_delta(rule="delta")
    second.forget(NAMESPACE, ["k3"])
    assert states(folder) == []
    first.write(NAMESPACE, records(5, 6))
    first.flush()
    second.forget(NAMESPACE)
    assert states(folder) == []


@pytest.mark.parametrize("until", [None, 149])
def test_a_state_that_was_half_written_is_not_gone_on_from(
    open_delta: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch, until: int | None
) -> None:
    memory = open_delta(rule="delta", checkpoints=0)
    memory.write(NAMESPACE, records(0, 100))
    memory.flush()
    plain, called = Delta._write, count(1)

    def write(rule: Delta, *given: Any) -> None:
        if next(called) == 2:
            raise MemoryError
        plain(rule, *given)

    if until is None:
        monkeypatch.setattr(Delta, "_write", write)
        memory.write(NAMESPACE, records(100, 200))
        with pytest.raises(MemoryError):
            memory.flush()
    else:
        memory.write(NAMESPACE, records(100, 200))
        memory.read(NAMESPACE, "topic77", until=49)
        monkeypatch.setattr(Delta, "_write", write)
        with pytest.raises(MemoryError):
            memory.read(NAMESPACE, "topic77", until=until)
    found = memory.read(NAMESPACE, "topic77 thing30", until=until, limit=300)
    memory.rebuild(NAMESPACE)
    assert same(found, memory.read(NAMESPACE, "topic77 thing30", until=until, limit=300))


# What others do meanwhile


def test_a_read_does_not_wait_until_nobody_writes(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.write(NAMESPACE, records(0, 5))
    forget_what_is_in_memory(memory)
    plain, numbers = Log.records, count(5)

    def listed(log: Log) -> list[MemoryRecord]:
        found = plain(log)
        log.write(records(number := next(numbers), number + 1))
        return found

    monkeypatch.setattr(Log, "records", listed)
    for times in (1, 2):
        found = {str(hit.record.key) for hit in memory.read(NAMESPACE, "topic3", limit=100).records}
        assert found == {f"k{number}" for number in range(4 + times)}
    assert next(numbers) == 7


@pytest.mark.parametrize("written_before_the_read", [1, 2, 3])
def test_what_a_read_saw_first_is_not_looked_for_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written_before_the_read: int
) -> None:
    log = Log(InMemoryStore(), NAMESPACE)
    reader, fresh = (
        DeltaReader(path, embeddings=LexicalEmbeddings(64), values=64) for path in (folder, folder / "fresh")
    )
    changes = list[Change]()

    def write(number: int) -> None:
        _, change = log.write(records(2 * number, 2 * number + 2))
        assert change is not None
        changes.append(change)

    write(0)
    reader.update(log, changes[0])
    for number in (1, 2, 3):
        write(number)
        if number == written_before_the_read:
            reader.read(log, Query(text="topic3"))
    query = Query(text="topic3", limit=100)
    expected = fresh.read(log, query)
    monkeypatch.setattr(Log, "records", _is_not_called)
    reader.update(log, joined(changes[1:]))
    assert same(reader.read(log, query), expected)
    (state,) = folder.glob("*.delta")
    assert b'"count": 8' in state.read_bytes()


def _is_not_called(*given: Any, **named: Any) -> None:
    raise AssertionError("the log was listed")


def test_two_stores_under_one_reader() -> None:
    one, other = (Log(InMemoryStore(), NAMESPACE) for _ in range(2))
    reader = DeltaReader(embeddings=LexicalEmbeddings(64), values=64)
    changes = [one.write(records(0, 3))[1], one.write(records(3, 4))[1]]
    other.write(records(10, 12))
    assert changes[0] is not None
    assert changes[1] is not None
    query = Query(text="topic3", limit=100)
    reader.update(one, changes[0])
    assert len(reader.read(other, query).records) == 2
    reader.update(one, changes[1])
    assert len(reader.read(one, query).records) == 4
    reader.close()


# What it costs


def test_a_write_embeds_what_is_new_and_a_read_the_query(open_delta: Callable[..., Memory]) -> None:
    counting = CountingEmbeddings(64)
    memory = open_delta(embeddings=counting)
    for number in range(20):
        memory.write(NAMESPACE, records(number, number + 1))
        memory.read(NAMESPACE, "topic3")
    assert counting.documents == 20


def test_going_back_embeds_from_the_last_checkpoint(open_delta: Callable[..., Memory]) -> None:
    counting = CountingEmbeddings(64)
    memory = open_delta(embeddings=counting)
    memory.write(NAMESPACE, records(0, 700))
    memory.flush()
    forget_what_is_in_memory(memory)
    counting.documents = 0
    memory.read(NAMESPACE, "topic3", until=299)
    assert counting.documents == 300 - 256
    memory.read(NAMESPACE, "topic3", until=319)
    assert counting.documents == 320 - 256
    memory.write(NAMESPACE, MemoryRecord(text="another", key="k600"))
    memory.read(NAMESPACE, "another")
    assert counting.documents == (320 - 256) + (700 - 512)


def test_vectors_of_the_latest_are_kept_and_forgotten(open_delta: Callable[..., Memory]) -> None:
    counting = CountingEmbeddings(64)
    memory = open_delta(embeddings=counting)
    memory.write(NAMESPACE, records(0, 200))
    memory.read(NAMESPACE, "topic3", until=100)
    memory.forget(NAMESPACE, ["k3"])
    (index,) = reader_of(memory)._indexes.values()
    assert "k3" not in index._vectors._kept
    assert not index._decoded
    assert index._state is None
    assert index._bounded is None
    memory.read(NAMESPACE, "topic3", until=100)
    memory.read(NAMESPACE, "topic3")
    assert counting.documents == 200
    memory.write(NAMESPACE, MemoryRecord(text="another", key="k4"))
    memory.read(NAMESPACE, "topic3")
    assert counting.documents == 201


def test_a_memory_of_another_reader_needs_no_ingestion(open_delta: Callable[..., Memory], folder: Path) -> None:
    with Memory.open(folder, "chroma", embeddings=LexicalEmbeddings(64)) as written:
        written.write(NAMESPACE, records(0, 30))
    memory = open_delta()
    assert memory.read(NAMESPACE, "topic7").records[0].record.key == "k7"
    assert len(states(folder)) == 1
