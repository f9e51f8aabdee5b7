"""The transcript that is kept: it follows the log, or says that it cannot."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import Op, PutOp, Result, SearchOp
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import MemoryRecord, transcript
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers._linear.view import View
from linmem_langgraph.readers.base import Query

records = st.lists(
    st.builds(
        MemoryRecord,
        text=st.sampled_from(["a", "b", "c\nd"]),
        position=st.none() | st.integers(0, 6),
        key=st.none() | st.sampled_from(["k1", "k2", "k3"]),
        kind=st.sampled_from(["episodic", "semantic"]),
    ),
    max_size=4,
)


def new_log() -> Log:
    return Log(InMemoryStore(), ("views",))


def assert_same(view: View, other: View) -> None:
    assert (view.version, view.records, view.lines) == (other.version, other.records, other.lines)


@given(st.lists(records | st.sampled_from(["k1", "k2", "*"]), max_size=8))
def test_a_view_that_follows_is_the_log_as_it_is(steps: list[list[MemoryRecord] | str]) -> None:
    log = new_log()
    view = View.of(log)
    for step in steps:
        if isinstance(step, str):
            change: Change | None = log.remove(None if step == "*" else [step])
        else:
            _, change = log.write(step)
        now = View.of(log)
        if change is not None:
            followed = view.followed(change)
            if followed is not None:
                assert_same(followed, now)
                assert followed.text(range(len(now.records))).startswith(view.text(range(len(view.records))))
            assert followed is not None or not change.appended
        view = now
    assert view.text(range(len(view.records))) == transcript.render(log.records())


def test_a_view_of_another_version_does_not_follow() -> None:
    log = new_log()
    before = View.of(log)
    log.write([MemoryRecord(text="a")])
    _, change = log.write([MemoryRecord(text="b")])
    assert change is not None
    assert change.appended
    assert before.followed(change) is None
    assert View.of(log).followed(change) is None


def test_what_has_been_counted_stays_counted() -> None:
    log = new_log()
    log.write([MemoryRecord(text="a"), MemoryRecord(text="b")])
    view = View.of(log)
    view.tokens[:] = [6, 7]
    _, change = log.write([MemoryRecord(text="c")])
    assert change is not None
    followed = view.followed(change)
    assert followed is not None
    assert followed.tokens == [6, 7]
    followed.tokens.append(8)
    assert view.tokens == [6, 7]


@given(records, st.none() | st.integers(-1, 8), st.sampled_from([None, {"kind": "semantic"}, {"position": {"$lt": 4}}]))
def test_what_is_selected_is_what_a_query_admits(
    written: list[MemoryRecord], until: int | None, filter: dict[str, object] | None
) -> None:
    log = new_log()
    log.write(written)
    view = View.of(log)
    query = Query(text="?", until=until, filter=filter, exclude=frozenset({0, "k1"}))
    places = view.selected(query)
    assert [view.records[place] for place in places] == log.records(until=until, filter=filter)
    assert view.text(places) == transcript.render(log.records(until=until, filter=filter))


class InterruptedStore(InMemoryStore):
    """Calls `interrupt` once, before the next search."""

    interrupt: Callable[[], object] | None = None

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        given = list(ops)
        interrupt, self.interrupt = (self.interrupt, None) if isinstance(given[0], SearchOp) else (None, self.interrupt)
        if interrupt:
            interrupt()
        return super().batch(given)


def test_a_view_made_while_the_log_changed_is_of_no_version() -> None:
    store = InterruptedStore()
    log = Log(store, ("views",))
    log.write([MemoryRecord(text="a")])
    changes: list[Change | None] = []
    store.interrupt = lambda: changes.append(log.write([MemoryRecord(text="b")])[1])
    view = View.of(log)
    assert [record.text for record in view.records] == ["a", "b"]
    (change,) = changes
    assert change is not None
    assert view.version not in ("", change.base, change.version)
    assert view.followed(change) is None
    assert_same(View.of(log), View.of(log))


class PausingStore(InMemoryStore):
    """Puts one item after the other, as a store without transactions does; before the last it waits for `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.paused, self.pauses = Event(), Event(), False

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        given = list(ops)
        if not self.pauses or not all(isinstance(op, PutOp) for op in given):
            return super().batch(given)
        done = super().batch(given[:-1])
        self.paused.set()
        assert self.go.wait(30)
        return [*done, *super().batch(given[-1:])]


def between(store: PausingStore, log: Log, written: Sequence[MemoryRecord]) -> tuple[View, Change]:
    """A view made after the records were put and before the head was, and the change that put them."""
    store.pauses = True
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(log.write, written)
        assert store.paused.wait(30)
        try:
            view = View.of(log)
        finally:
            store.go.set()
        change = writing.result()[1]
    assert change is not None
    return view, change


def test_a_view_made_in_the_middle_of_a_write_has_each_record_once() -> None:
    store = PausingStore()
    log = Log(store, ("views",))
    log.write([MemoryRecord(text="a")])
    view, change = between(store, log, [MemoryRecord(text="b"), MemoryRecord(text="c")])
    followed = view.followed(change)
    assert followed is None or [record.text for record in followed.records] == ["a", "b", "c"]
