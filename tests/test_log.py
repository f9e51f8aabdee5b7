"""The log over every kind of store."""

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import BaseStore, SearchItem
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import AsyncSqliteStore

from linmem_langgraph import MemoryRecord, transcript
from linmem_langgraph.log import Change, Head, Log, joined
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.records import MAX_POSITION
from tests.stores import FailingStore, StoreDown


@pytest.fixture
def log(store: BaseStore, namespace: Namespace) -> Log:
    return Log(store, namespace)


def texts(log: Log, until: int | None = None) -> list[str]:
    return [record.text for record in log.records(until=until)]


def some(*texts: str, **fields: int) -> list[MemoryRecord]:
    return [MemoryRecord(text=text, **fields) for text in texts]


# Writing


def test_positions_follow_each_other_when_omitted(log: Log) -> None:
    log.write(some("a", "b"))
    log.write([MemoryRecord(text="f", position=5), MemoryRecord(text="g")])
    log.write([MemoryRecord(text="c", position=2), MemoryRecord(text="h")])
    assert [(record.position, record.text) for record in log.records()] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
        (5, "f"),
        (6, "g"),
        (7, "h"),
    ]


def test_a_list_ends_while_others_write_on(namespace: Namespace) -> None:
    class BusyStore(InMemoryStore):
        searches = 0

        def search(self, *arguments: Any, **named: Any) -> list[SearchItem]:
            found = super().search(*arguments, **named)
            self.searches += 1
            assert self.searches < 9, "it never ends"
            Log(self, namespace).write(some(f"meanwhile {self.searches}"))
            return found

    log = Log(BusyStore(), namespace)
    log.write(some("a", "b", "c"))
    assert texts(log)[:3] == ["a", "b", "c"]


def test_records_of_one_position_stay_as_written(log: Log) -> None:
    letters = "zyxabcmnop"
    for letter in letters:
        log.write(some(letter, position=3))
    assert texts(log) == list(letters)


def test_keys_come_back_in_the_order_given(log: Log) -> None:
    given = [
        MemoryRecord(text="a", key="x", position=9),
        MemoryRecord(text="b", key="m"),
        MemoryRecord(text="c", key="z"),
    ]
    first, _ = log.write(given)
    assert first == ["x", "m", "z"]
    again, change = log.write(
        [MemoryRecord(text="b", key="m"), MemoryRecord(text="new"), MemoryRecord(text="a", key="x")]
    )
    assert again[0] == "m"
    assert again[2] == "x"
    assert change is not None
    assert [record.text for record in change.written] == ["new"]


def test_writing_the_same_again_is_no_change(log: Log) -> None:
    records = [
        MemoryRecord(text="a", position=1),
        MemoryRecord(text="a", position=1),
        MemoryRecord(text="b", key="b"),
        MemoryRecord(text="c", key="c", position=1, metadata={"n": 1, "deep": [{"x": None}]}, kind="semantic"),
    ]
    keys, change = log.write(records)
    assert change is not None
    assert len(set(keys)) == 4
    before = log.head(), log.records()
    assert log.write(records) == (keys, None)
    assert log.write(log.records()) == ([record.key for record in before[1]], None)
    assert (log.head(), log.records()) == before


def test_equal_records_stay_apart_in_a_write_of_any_size(log: Log) -> None:
    many = [
        *some("again", position=4),
        *some(*(f"t{place}" for place in range(1100)), position=4),
        *some("again", position=4),
    ]
    keys, _ = log.write(many)
    assert len(set(keys)) == len(many)
    assert texts(log) == [record.text for record in many]
    assert log.head().count == len(many)
    assert log.write(many) == (keys, None)


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (True, 1), (0, False), (1, 1.5), ("1", 1), (None, False), ([1], [True]), ({}, [])]
)
def test_a_change_of_metadata_is_a_change(log: Log, old: object, new: object) -> None:
    log.write([MemoryRecord(text="a", key="k", metadata={"v": old})])
    _, change = log.write([MemoryRecord(text="a", key="k", metadata={"v": new})])
    assert change is not None
    found = log.records()[0].metadata["v"]
    assert (type(found), found) == (type(new), new)


def test_a_key_is_written_over_in_place(log: Log) -> None:
    log.write([MemoryRecord(text=text, key=text) for text in "abc"])
    log.write([MemoryRecord(text="B", key="b")])
    assert texts(log) == ["a", "B", "c"]
    assert log.head().count == 3
    log.write([MemoryRecord(text="B", key="b", position=9)])
    assert texts(log) == ["a", "c", "B"]
    log.write(some("d"))
    assert [record.position for record in log.records()] == [0, 2, 9, 10]


def test_the_last_of_one_key_in_a_write_wins(log: Log) -> None:
    keys, change = log.write(
        [MemoryRecord(text="old", key="k"), MemoryRecord(text="other"), MemoryRecord(text="new", key="k")]
    )
    assert keys[0] == keys[2] == "k"
    assert texts(log) == ["new", "other"]
    assert log.head().count == 2
    assert change is not None
    assert {record.text for record in change.written} == {"new", "other"}


def test_no_record_is_put_beyond_the_last_position(log: Log) -> None:
    log.write([MemoryRecord(text="end", position=MAX_POSITION), MemoryRecord(text="after")])
    log.write(some("later"))
    assert texts(log) == ["end", "after", "later"]
    assert all(record.position == MAX_POSITION for record in log.records())


def test_an_empty_write_is_no_change(log: Log) -> None:
    assert log.write([]) == ([], None)
    assert log.head() == Head()


def test_more_records_than_one_call_takes(log: Log) -> None:
    count = 2_300
    keys, change = log.write(some(*(f"t{place}" for place in range(count))))
    assert change is not None
    assert [record.key for record in change.written] == keys
    assert change.base == ""
    assert change.version == log.head().version
    assert texts(log) == [f"t{place}" for place in range(count)]
    assert [record.key for record in log.get(keys[::-1])] == keys
    assert log.head().count == count


def test_versions_name_states(log: Log) -> None:
    assert log.head().version == ""
    versions = {""}
    for text in "abc":
        _, change = log.write(some(text))
        assert change is not None
        assert change.base in versions
        assert change.version not in versions
        assert log.head().version == change.version
        versions.add(change.version)


# Reading


def test_until_is_inclusive_and_a_prefix(log: Log) -> None:
    log.write(some("a", "b", "c", position=0))
    log.write([MemoryRecord(text="z", position=7), MemoryRecord(text="m", position=3)])
    assert texts(log, until=-1) == []
    assert texts(log, until=0) == ["a", "b", "c"]
    assert texts(log, until=6) == ["a", "b", "c", "m"]
    assert texts(log, until=7) == texts(log) == ["a", "b", "c", "m", "z"]
    whole = transcript.render(log.records())
    assert all(whole.startswith(transcript.render(log.records(until=until))) for until in range(-1, 9))


def test_get_is_in_log_order_and_skips_what_is_not_there(log: Log) -> None:
    keys, _ = log.write(
        [MemoryRecord(text=text, position=position) for text, position in [("b", 2), ("a", 1), ("c", 2)]]
    )
    assert [record.text for record in log.get([*keys, "absent", keys[0]])] == ["a", "b", "c"]
    assert log.get([]) == []


def test_filters_apply(log: Log) -> None:
    log.write([MemoryRecord(text="a", metadata={"who": "anna"}), MemoryRecord(text="b", kind="semantic")])
    assert [record.text for record in log.records(filter={"who": "anna"})] == ["a"]
    assert [record.text for record in log.records(filter={"kind": "semantic"}, until=1)] == ["b"]


def test_what_others_keep_in_the_namespace_is_no_record(store: BaseStore, namespace: Namespace) -> None:
    log = Log(store, namespace)
    log.write(some("mine"))
    store.put(namespace, "theirs", {"anything": 1})
    store.put((*namespace, "below"), "below", {"text": "x", "position": 0, "order": 0})
    assert texts(log) == ["mine"]
    assert log.get(["theirs"]) == []
    assert len(log.remove().removed) == 1
    assert log.records() == []
    assert store.get(namespace, "theirs") is not None
    assert store.get((*namespace, "below"), "below") is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("a", "bc")),
        (("a", "b"), ("a", "b", "c")),
        (("a.b",), ("a", "b")),
        (("a%2Eb",), ("a.b",)),
        (("a",), ("A",)),
        (("a_b",), ("axb",)),
        (("a*",), ("ab",)),
        (("[ab]",), ("a",)),
        (("%linmem", "a"), ("a",)),
        (("é",), ("e\u0301",)),
        (("a ",), ("a",)),
    ],
)
def test_namespaces_do_not_leak(store: BaseStore, one: Namespace, other: Namespace) -> None:
    root = uuid4().hex
    first, second = Log(store, (*one[:1], root, *one[1:])), Log(store, (*other[:1], root, *other[1:]))
    flat_first, flat_second = Log(store, one), Log(store, other)
    for place, log in enumerate((first, second, flat_first, flat_second)):
        log.write(some(f"text{place}", f"more{place}"))
    for place, log in enumerate((first, second, flat_first, flat_second)):
        assert texts(log) == [f"text{place}", f"more{place}"]
        assert [record.position for record in log.records()] == [0, 1]
    first.remove()
    flat_first.remove()
    assert texts(second) == ["text1", "more1"]
    assert texts(flat_second) == ["text3", "more3"]
    assert flat_second.head().count == 2


# Removing


def test_removed_records_are_gone_and_their_positions_stay_used(log: Log) -> None:
    keys, _ = log.write(some("a", "b", "c"))
    change = log.remove([keys[2], "absent", keys[0], keys[0]])
    assert set(change.removed) == {keys[0], keys[2]}
    assert texts(log) == ["b"]
    assert log.head().count == 1
    log.write(some("d"))
    assert [(record.position, record.text) for record in log.records()] == [(1, "b"), (3, "d")]


def test_removing_nothing_is_no_change(log: Log) -> None:
    log.write(some("a"))
    before = log.head()
    assert log.remove(["absent"]).removed == ()
    assert log.remove([]).removed == ()
    assert log.head() == before


def test_removing_everything_leaves_nothing_in_the_store(store: BaseStore, namespace: Namespace) -> None:
    log = Log(store, namespace)
    keys, _ = log.write(some(*(f"t{place}" for place in range(1_100))))
    assert set(log.remove().removed) == set(keys)
    assert log.records() == []
    assert log.head() == Head()
    assert store.search(namespace, limit=10) == []
    assert log.remove().removed == ()
    log.write(some("again"))
    assert texts(log) == ["again"]


# Faults


def test_a_failed_write_leaves_whole_batches_and_can_be_repeated(namespace: Namespace) -> None:
    store = FailingStore()
    log = Log(store, namespace)
    records = [MemoryRecord(text=f"t{place}", position=place) for place in range(1_500)]
    store.writes_left = 1
    with pytest.raises(StoreDown):
        log.write(records)
    assert texts(log) == [f"t{place}" for place in range(1_000)]
    assert log.head().count == 1_000
    store.writes_left = None
    _, change = log.write(records)
    assert change is not None
    assert len(change.written) == 500
    assert texts(log) == [f"t{place}" for place in range(1_500)]


@pytest.mark.parametrize("everything", [True, False])
def test_a_removal_that_was_cut_short_leaves_head_and_records_agreeing(namespace: Namespace, everything: bool) -> None:
    store = FailingStore()
    log = Log(store, namespace)
    keys, _ = log.write(some(*(f"t{place}" for place in range(1_500))))
    version = log.head().version
    store.writes_left = 1
    with pytest.raises(StoreDown):
        log.remove(None if everything else keys)
    store.writes_left = None
    left = log.records()
    assert log.head().count == len(left)
    assert bool(log.head().version) == bool(left)
    assert len(left) == 1_500 or log.head().version != version
    log.remove(None if everything else keys)
    assert log.records() == []
    log.write(some("after"))
    assert log.head().count == 1


# Many at once


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Threads take turns a thousand times as often, so that a race shows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 1_000)
    yield
    sys.setswitchinterval(interval)


def test_threads_get_positions_of_their_own(store: BaseStore, namespace: Namespace) -> None:
    def work(worker: int) -> list[str]:
        log = Log(store, namespace)
        return [key for place in range(15) for key in log.write(some(f"{worker}:{place}", f"{worker}:{place}+"))[0]]

    with ThreadPoolExecutor(8) as pool:
        keys = [key for found in pool.map(work, range(8)) for key in found]
    records = Log(store, namespace).records()
    assert [record.position for record in records] == list(range(240))
    assert {record.key for record in records} == set(keys)
    assert Log(store, namespace).head().count == 240


def test_listing_while_others_write(store: BaseStore, often_switching: None) -> None:
    mine = Log(store, ("listing", uuid4().hex))
    mine.write(some(*(f"t{place}" for place in range(200))))

    def write_elsewhere(worker: int) -> None:
        for place in range(60):
            Log(store, ("listing", f"{worker}-{place}-{uuid4().hex}")).write(some("x"))

    def list_mine(_: int) -> None:
        for _ in range(30):
            assert len(mine.records()) == 200

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, worker) for worker in range(2) for work in (write_elsewhere, list_mine)]
        for future in done:
            future.result()


# What a change says


def change(base: str, version: str, written: str = "", removed: str = "") -> Change:
    records = tuple(MemoryRecord(text=f"{key}@{version}", key=key, position=0) for key in written)
    return Change(base=base, version=version, written=records, removed=tuple(removed))


def apply(held: dict[str, str], change: Change) -> dict[str, str]:
    after = {**held, **{str(record.key): record.text for record in change.written}}
    return {key: text for key, text in after.items() if key not in change.removed}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (change("0", "1", "ab"), change("1", "2", "bc")),
        (change("0", "1", "ab"), change("1", "2", "", "a")),
        (change("0", "1", "", "x"), change("1", "2", "x")),
        (change("0", "1", "a", "x"), change("1", "2", "xb", "a")),
    ],
)
def test_two_changes_as_one_do_what_both_did(one: Change, other: Change) -> None:
    held = {"x": "x@0", "y": "y@0"}
    both = joined([one, other])
    assert (both.base, both.version) == ("0", "2")
    assert apply(held, both) == apply(apply(held, one), other)


def at(position: int | None, text: str = "new", key: str | None = None) -> MemoryRecord:
    return MemoryRecord(text=text, position=position, key=key)


@pytest.mark.parametrize(
    ("written", "appended"),
    [
        ([at(None)], True),
        ([at(None), at(None)], True),
        ([at(4)], True),  # behind the last one, which is at 4, too
        ([at(9), at(None), at(10), at(10)], True),
        ([at(None, key="new")], True),
        ([at(3)], False),
        ([at(9), at(8)], False),
        ([at(None, "changed", "last")], False),
        ([at(None), at(None, "changed", "last")], False),
        ([at(None), at(4, "last", "last")], False),  # was there already: nothing of it is written
        ([at(None, "one", "new"), at(None, "two", "new")], False),
    ],
)
def test_a_change_tells_whether_all_it_did_was_to_append(log: Log, written: list[MemoryRecord], appended: bool) -> None:
    log.write([at(2, "first"), at(4, "last", "last")])
    before = log.records()
    _, change = log.write(written)
    assert change is not None
    assert change.appended is appended
    if appended:
        assert log.records() == [*before, *change.written]


steps = st.lists(
    st.one_of(
        st.lists(
            st.builds(
                at,
                st.none() | st.integers(0, 5) | st.integers(MAX_POSITION - 2, MAX_POSITION),
                st.sampled_from("ab"),
                st.none() | st.sampled_from(["k1", "k2"]),
            ),
            max_size=4,
        ),
        st.frozensets(st.sampled_from(["k1", "k2"])),
        st.none(),
    ),
    max_size=8,
)


@given(steps)
def test_what_was_appended_is_behind_all_that_was_there(
    steps: list[list[MemoryRecord] | frozenset[str] | None],
) -> None:
    log = Log(InMemoryStore(), ("steps",))
    for step in steps:
        before = log.records()
        if not isinstance(step, list):
            assert not log.remove(step).appended
            continue
        _, change = log.write(step)
        if change is not None and change.appended:
            assert log.records() == [*before, *change.written]


def test_changes_joined_appended_if_each_of_them_did(log: Log) -> None:
    changes = [log.write(some("a"))[1], log.write(some("b", "c"))[1], log.write([at(0, "early")])[1]]
    one, other, early = (change for change in changes if change is not None)
    assert joined([one, other]).appended
    assert [record.text for record in joined([one, other]).written] == ["a", "b", "c"]
    assert not joined([one, other, early]).appended
    assert not joined([early]).appended
    assert not log.remove([]).appended


def test_more_records_than_one_call_takes_are_appended_as_one(log: Log) -> None:
    log.write([at(7)])
    _, change = log.write(some(*map(str, range(1_500))))
    assert change is not None
    assert change.appended
    assert [record.position for record in change.written] == list(range(8, 1_508))
    _, change = log.write([*some(*map(str, range(1_500))), at(3)])
    assert change is not None
    assert not change.appended


def test_behind_the_last_position_there_is_only_the_last_position(log: Log) -> None:
    log.write([at(MAX_POSITION - 1, "before the end")])
    for written, appended in [([at(None, "end")], True), ([at(None), at(MAX_POSITION)], True), ([at(5)], False)]:
        before = log.records()
        _, change = log.write(written)
        assert change is not None
        assert change.appended is appended
        assert not appended or log.records() == [*before, *change.written]


def test_editing_a_returned_record_does_not_edit_the_log(log: Log) -> None:
    log.write([MemoryRecord(text="x", key="k", metadata={"who": ["anna"]})])
    found = log.records()[0]
    found.metadata["who"] = "bert"
    assert log.records()[0].metadata == {"who": ["anna"]}
    assert log.write([found])[1] is not None


async def test_a_writer_over_an_async_store_does_not_stop_another_store_on_its_loop(namespace: Namespace) -> None:
    async with AsyncSqliteStore.from_conn_string(":memory:") as store:
        await store.setup()
        slow = asyncio.create_task(asyncio.to_thread(Log(store, namespace).write, some(*map(str, range(2_000)))))
        await asyncio.sleep(0.01)
        Log(InMemoryStore(), namespace).write(some("at once"))
        await slow
