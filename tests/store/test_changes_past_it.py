"""What was put before there was a `MemoryStore`, or past it, or only in part."""

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.store import MemoryStore
from tests.store.conftest import ANNA, BERT, keys
from tests.stores import FailingStore, StoreDown


def test_a_store_that_was_filled_before_is_taken_up() -> None:
    filled = InMemoryStore()
    for namespace in (ANNA, BERT):
        for place in range(3):
            filled.put(namespace, f"k{place}", {"text": f"{namespace[1]} lifts crate{place}"})
    with Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=filled) as memory:
        store = MemoryStore(memory)
        assert {item.score for item in store.search(ANNA, query="crate1")} == {None}
        assert store.rebuild(ANNA) == 3
        assert store.rebuild() == 3
        assert store.rebuild() == 0
        assert store.search(ANNA, query="anna lifts crate1")[0].key == "k1"
        filled.put(ANNA, "k1", {"text": "anna sleeps"})
        filled.delete(ANNA, "k2")
        assert [(item.key, item.score is None) for item in store.search(ANNA, query="crate1")][-1] == ("k1", True)
        assert keys(store.search(ANNA, query="crate2")) == ["k0", "k1"]
        assert store.rebuild() == 2
        assert store.search(ANNA, query="anna sleeps")[0].key == "k1"
        assert [record.text for record in memory.records(("linmem.items", *ANNA))] == [
            "anna lifts crate0",
            "anna sleeps",
        ]


@pytest.mark.parametrize("writes", [0, 1])
def test_a_put_that_broke_off_shows_no_old_text(writes: int) -> None:
    failing = FailingStore()
    with Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=failing) as memory:
        store = MemoryStore(memory)
        store.put(ANNA, "k", {"text": "anna reads"})
        failing.writes_left = writes
        with pytest.raises(StoreDown):
            store.put(ANNA, "k", {"text": "anna sleeps"})
        failing.writes_left = None
        (item,) = store.search(ANNA, query="anna reads")
        now = ["anna reads", "anna sleeps"][writes]
        assert item.value == {"text": now}
        assert (item.score is None) == (writes == 1)
        store.rebuild()
        assert store.search(ANNA, query=now)[0].score == pytest.approx(1.0)


def test_what_was_deleted_past_it_takes_no_others_place(store: MemoryStore) -> None:
    for place in range(8):
        store.put(ANNA, f"k{place}", {"text": "anna lifts the crate" if place < 3 else f"anna sees crate{place}"})
    for place in range(3):
        store.beneath.delete(ANNA, f"k{place}")
    found = store.search(ANNA, query="anna lifts the crate", limit=3)
    assert len(found) == 3
    assert all(item.score is not None for item in found)


def test_an_item_of_several_texts_is_found_when_one_has_changed_past_it(store: MemoryStore) -> None:
    store.put(ANNA, "k", {"a": "red apple", "b": "blue sky"}, index=["a", "b"])
    store.beneath.put(ANNA, "k", {"a": "green pear", "b": "blue sky"})
    assert [keys(store.search(ANNA, query=query)) for query in ("red apple", "green pear")] == [["k"], ["k"]]
    assert [store.rebuild(), store.rebuild()] == [1, 0]
    assert store.search(ANNA, query="green pear")[0].score == pytest.approx(1.0)
    assert sorted(record.text for record in store.memory.records(("linmem.items", *ANNA))) == ["blue sky", "green pear"]
