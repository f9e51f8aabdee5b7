"""What every reader must do, whatever it reads with.

Subclass `ReaderConformance` in a test module and give it a `harness` fixture:

    class TestMyReader(ReaderConformance):
        @pytest.fixture(scope="class")
        @classmethod
        def harness(cls) -> Iterator[ReaderHarness]:
            yield ReaderHarness(open=..., keys=..., lose=...)

The reader need not be good, but it must be exact: what may take part in a reading, what may not, and that nothing but
the log decides. Its answers must be the same for the same records; a model reader is run at temperature 0.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, Memory, MemoryRecord, NamespaceError, Reader, Reading, transcript
from linmem_langgraph.filters import matches
from linmem_langgraph.log import Log
from linmem_langgraph.testing import strategies as some

Namespace = tuple[str, ...]

# Every reader runs the same function, each by another class: Hypothesis would take that for a mistake.
law = settings(max_examples=12, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])


@dataclass(frozen=True)
class ReaderHarness:
    """How the suite handles a reader.

    Args:
        open: a reader, another one each time, over the same derived state.
        keys: the keys of the records that the derived state holds for a namespace; for a reader that keeps nothing a
            key could be found in, an empty set.
        lose: loses all derived state, as a deleted folder would.
        complete: whether a reading without a narrow `limit` rests on every record that may take part in it.
        counts: what `limit` counts: "record", "position", or None where the reader does not heed it.
    """

    open: Callable[[], Reader]
    keys: Callable[[Namespace], set[str]]
    lose: Callable[[], None]
    complete: bool = True
    counts: str | None = "record"


def fresh() -> Namespace:
    return ("law", uuid4().hex)


def keyed(records: Sequence[MemoryRecord], mark: str = "k") -> list[MemoryRecord]:
    """The same records with keys that say where they were given."""
    return [record.model_copy(update={"key": f"{mark}{place}"}) for place, record in enumerate(records)]


def essence(reading: Reading) -> tuple[str, list[MemoryRecord], list[float | None]]:
    """What may not differ between two readings of the same records."""
    scores = [None if hit.score is None else round(hit.score, 4) for hit in reading.records]
    return reading.text, [hit.record for hit in reading.records], scores


def held(harness: ReaderHarness, memory: Memory, namespace: Namespace) -> set[str]:
    """The keys in the derived state, once it has followed the log."""
    memory.flush()
    return harness.keys(namespace)


class ReaderConformance:
    """The suite."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[ReaderHarness]:
        pytest.fail("ReaderConformance needs a harness: override the fixture `harness`, see its module")

    @pytest.fixture(scope="class")
    @classmethod
    def memory(cls, harness: ReaderHarness) -> Iterator[Memory]:
        with Memory(harness.open(), store=InMemoryStore()) as memory:
            yield memory

    # What a reading rests on

    def test_what_was_written_can_be_read_at_once(self, memory: Memory) -> None:
        namespace = fresh()
        for place in range(5):
            key = memory.write(namespace, f"anna hides treasure{place} in the kitchen")[0]
            reading = memory.read(namespace, f"treasure{place}")
            assert key in {hit.record.key for hit in reading.records}
            assert reading.text
            assert reading.reader == memory.reader.name
            assert reading.seconds > 0

    def test_an_empty_memory_is_an_answer(self, memory: Memory) -> None:
        namespace = fresh()
        never = memory.read(namespace, "anna")
        assert never.records == ()
        assert never.text
        memory.forget(namespace, memory.write(namespace, "anna sleeps"))
        assert essence(memory.read(namespace, "anna")) == essence(never)

    @law
    @given(earlier=st.data(), until=some.positions, query=some.texts, limit=st.integers(1, 4))
    def test_nothing_beyond_until_has_any_influence(
        self, memory: Memory, earlier: st.DataObject, until: int, query: str, limit: int
    ) -> None:
        known = keyed(earlier.draw(some.records(last=until), label="up to until"))
        later = keyed(earlier.draw(some.records(first=until + 1, last=some.LAST + 9), label="later"), "later")
        again = [record.model_copy(update={"text": "mug mug red"}) for record in later]
        namespace = fresh()
        memory.write(namespace, known)
        before = essence(memory.read(namespace, query, until=until, limit=limit))
        for change in (later, again):
            memory.write(namespace, change)
            reading = memory.read(namespace, query, until=until, limit=limit)
            assert essence(reading) == before
            assert all((hit.record.position or 0) <= until for hit in reading.records)
        memory.forget(namespace, [str(record.key) for record in later])
        assert essence(memory.read(namespace, query, until=until, limit=limit)) == before
        if until == 0:
            assert memory.read(namespace, query, until=-1).records == ()

    @law
    @given(namespaces=some.different_namespaces())
    def test_no_other_namespace_is_read(self, memory: Memory, namespaces: list[Namespace]) -> None:
        assume(len(namespaces) > 1)
        try:
            for place, namespace in enumerate(namespaces):
                memory.write(namespace, [MemoryRecord(text=f"the secret is token{place}", position=0)])
            for place, namespace in enumerate(namespaces):
                reading = memory.read(namespace, "secret token", limit=50)
                assert [hit.record.text for hit in reading.records] == [f"the secret is token{place}"]
                assert [record.text for record in memory.records(namespace)] == [f"the secret is token{place}"]
                others = {f"token{other}" for other in range(len(namespaces)) if other != place}
                assert not any(token in reading.text for token in others)
            memory.forget(namespaces[0])
            for place, namespace in enumerate(namespaces[1:], start=1):
                assert [hit.record.text for hit in memory.read(namespace, "secret").records] == [
                    f"the secret is token{place}"
                ]
        finally:
            for namespace in namespaces:
                memory.forget(namespace)

    @law
    @given(
        records=some.records(),
        exclude=st.frozensets(some.positions, max_size=3),
        excluded_keys=st.frozensets(st.sampled_from(["k0", "k1", "k2", "absent"]), max_size=2),
        filter=st.sampled_from(
            [
                None,
                {"kind": "semantic"},
                {"who": "anna"},
                {"who": {"$ne": "anna"}},
                {"loud": True},
                {"loud": 3},
                {"position": {"$gte": 2, "$lt": 5}},
                {"absent": None},
                {"who": "nobody"},
            ]
        ),
        until=st.one_of(st.none(), some.positions),
        query=some.texts,
    )
    def test_exclude_filter_and_until_are_exact(
        self,
        harness: ReaderHarness,
        memory: Memory,
        records: list[MemoryRecord],
        exclude: frozenset[int],
        excluded_keys: frozenset[str],
        filter: dict[str, object] | None,
        until: int | None,
        query: str,
    ) -> None:
        namespace = fresh()
        memory.write(namespace, keyed(records))
        admitted = {
            str(record.key)
            for record in memory.records(namespace, until=until)
            if record.position not in exclude and record.key not in excluded_keys and matches(record, filter)
        }
        reading = memory.read(
            namespace, query, limit=50, until=until, exclude=[*exclude, *excluded_keys], filter=filter
        )
        read = [str(hit.record.key) for hit in reading.records]
        assert len(read) == len(set(read))
        assert set(read) <= admitted
        if harness.complete:
            assert set(read) == admitted

    @law
    @given(records=some.records(), query=some.texts, limit=st.integers(1, 5))
    def test_the_limit_is_kept(
        self, harness: ReaderHarness, memory: Memory, records: list[MemoryRecord], query: str, limit: int
    ) -> None:
        namespace = fresh()
        memory.write(namespace, records)
        reading = memory.read(namespace, query, limit=limit)
        counted: set[object] = {
            hit.record.key if harness.counts == "record" else hit.record.position for hit in reading.records
        }
        known: set[object] = {
            record.key if harness.counts == "record" else record.position for record in memory.records(namespace)
        }
        if harness.counts is not None:
            assert len(counted) == min(limit, len(known))

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_is_refused(self, memory: Memory, limit: int) -> None:
        with pytest.raises(ConfigError, match=rf"limit.*{limit}"):
            memory.read(fresh(), "anna", limit=limit)

    @pytest.mark.parametrize("query", ["", "  \n"])
    def test_an_empty_query_is_refused(self, memory: Memory, query: str) -> None:
        with pytest.raises(ConfigError, match="query"):
            memory.read(fresh(), query)

    def test_an_invalid_namespace_is_refused(self, memory: Memory) -> None:
        with pytest.raises(NamespaceError, match="empty label"):
            memory.read(("users", ""), "anna")

    # The log and what is derived from it

    @law
    @given(chunks=st.lists(some.records(max_size=4), min_size=1, max_size=4))
    def test_an_older_transcript_is_a_prefix_of_a_newer_one(
        self, memory: Memory, chunks: list[list[MemoryRecord]]
    ) -> None:
        namespace, older, now = fresh(), "", 0
        for chunk in chunks:
            for record in chunk:
                now += record.position or 0
                memory.write(namespace, record.model_copy(update={"position": now}))
            newer = transcript.render(memory.records(namespace))
            assert newer.startswith(older)
            older = newer
        for until in range(-1, now + 2):
            bounded = transcript.render(memory.records(namespace, until=until))
            assert older.startswith(bounded)
            assert bounded == "".join(
                map(transcript.render_record, [r for r in memory.records(namespace) if (r.position or 0) <= until])
            )

    @law
    @given(records=some.records(), query=some.texts)
    def test_writing_the_same_again_changes_nothing(
        self, harness: ReaderHarness, memory: Memory, records: list[MemoryRecord], query: str
    ) -> None:
        namespace = fresh()
        keys = memory.write(namespace, records)
        before = (
            memory.records(namespace),
            Log(memory.store, namespace).head(),
            essence(memory.read(namespace, query)),
            held(harness, memory, namespace),
        )
        assert memory.write(namespace, records) == keys
        assert memory.write(namespace, memory.records(namespace)) == [record.key for record in before[0]]
        assert [record.text for record in records] == [
            {record.key: record for record in before[0]}[key].text for key in keys
        ]
        after = (
            memory.records(namespace),
            Log(memory.store, namespace).head(),
            essence(memory.read(namespace, query)),
            held(harness, memory, namespace),
        )
        assert after == before

    @law
    @given(records=some.records(), query=some.texts, chosen=st.data())
    def test_forgotten_is_as_if_it_had_never_been(
        self, harness: ReaderHarness, memory: Memory, records: list[MemoryRecord], query: str, chosen: st.DataObject
    ) -> None:
        records, namespace, other = keyed(records), fresh(), fresh()
        memory.write(namespace, records)
        gone = chosen.draw(st.sets(st.sampled_from([str(record.key) for record in records]))) if records else set()
        memory.read(namespace, query)
        receipt = memory.forget(namespace, [*gone, "absent"])
        assert set(receipt.forgotten) == gone
        assert receipt.unknown == ("absent",)
        assert receipt.from_log == len(gone)
        assert not gone & {record.key for record in memory.records(namespace)}
        assert not gone & held(harness, memory, namespace)
        kept = [record for record in records if record.key not in gone]
        memory.write(other, kept)
        assert essence(memory.read(namespace, query)) == essence(memory.read(other, query))
        whole = memory.forget(namespace)
        assert set(whole.forgotten) == {record.key for record in kept}
        assert memory.records(namespace) == []
        assert held(harness, memory, namespace) == set()
        assert memory.read(namespace, query).records == ()
        assert memory.forget(namespace).forgotten == ()

    def test_a_key_is_written_over_and_its_old_text_is_not_read(self, harness: ReaderHarness, memory: Memory) -> None:
        namespace = fresh()
        memory.write(namespace, [MemoryRecord(text="anna lives in oslo", key="home"), "bert has a red mug"])
        assert "oslo" in memory.read(namespace, "where does anna live").text
        memory.write(namespace, MemoryRecord(text="anna lives in rome", key="home"))
        reading = memory.read(namespace, "where does anna live", limit=10)
        assert "oslo" not in reading.text
        assert [hit.record.text for hit in reading.records if hit.record.key == "home"] == ["anna lives in rome"]
        assert len(memory.records(namespace)) == 2
        assert len(held(harness, memory, namespace)) in (0, 2)

    def test_lost_state_is_made_again(self, harness: ReaderHarness, memory: Memory) -> None:
        namespace = fresh()
        memory.write(namespace, [f"anna puts mug{place} on shelf{place}" for place in range(30)])
        before = essence(memory.read(namespace, "mug7 shelf7"))
        harness.lose()
        assert essence(memory.read(namespace, "mug7 shelf7")) == before
        harness.lose()
        memory.write(namespace, "bert takes mug30")
        assert "bert takes mug30" in memory.read(namespace, "mug30").text
        assert len(memory.read(namespace, "anna mug", limit=50).records) == 31 or not harness.complete

    def test_rebuild_changes_no_reading(self, harness: ReaderHarness, memory: Memory) -> None:
        namespace = fresh()
        memory.write(namespace, [MemoryRecord(text="the red mug", position=9 - place) for place in range(9)])
        before = [essence(memory.read(namespace, "red mug", limit=limit)) for limit in (1, 3)]
        keys = held(harness, memory, namespace)
        memory.rebuild(namespace)
        assert [essence(memory.read(namespace, "red mug", limit=limit)) for limit in (1, 3)] == before
        assert held(harness, memory, namespace) == keys

    def test_a_second_reader_reads_the_same(self, harness: ReaderHarness) -> None:
        namespace, store = fresh(), InMemoryStore()
        with Memory(harness.open(), store=store) as first, Memory(harness.open(), store=store) as second:
            for place, memory in enumerate([first, second] * 3):
                memory.write(namespace, f"anna reads page{place}")
                for reader in (first, second):
                    texts = {hit.record.text for hit in reader.read(namespace, "anna reads", limit=20).records}
                    assert f"anna reads page{place}" in texts
                    assert len(texts) == place + 1 or not harness.complete
            second.forget(namespace, [str(first.records(namespace)[0].key)])
            assert "page0" not in first.read(namespace, "page0", limit=20).text
            assert "page0" not in second.read(namespace, "page0", limit=20).text

    def test_closing_one_reader_leaves_another_working(self, harness: ReaderHarness) -> None:
        namespace, store = fresh(), InMemoryStore()
        with Memory(harness.open(), store=store) as staying:
            with Memory(harness.open(), store=store) as leaving:
                leaving.write(namespace, "anna sleeps")
            assert "anna sleeps" in staying.read(namespace, "anna").text

    def test_threads_write_and_read_together(self, harness: ReaderHarness, memory: Memory) -> None:
        namespaces = [fresh(), fresh()]

        def work(worker: int) -> None:
            for place in range(6):
                namespace = namespaces[(worker + place) % 2]
                memory.write(namespace, f"worker{worker} lifts crate{place}")
                assert (
                    f"worker{worker} lifts crate{place}"
                    in memory.read(namespace, f"worker{worker} crate{place}", limit=50).text
                )

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        memory.flush()
        for namespace in namespaces:
            records = memory.records(namespace)
            assert [record.position for record in records] == list(range(12))
            assert held(harness, memory, namespace) in (set(), {record.key for record in records})
