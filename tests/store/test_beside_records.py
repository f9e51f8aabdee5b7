"""Items beside the records of memories, and beside what it keeps itself: each is found and changed as what it is."""

import asyncio
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.store.base import BaseStore, Op, PutOp, Result
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, ConfigError, Memory, MemoryRecord
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.errors import NamespaceError
from linmem_langgraph.nodes import remember_node
from linmem_langgraph.store import MemoryStore
from linmem_langgraph.testing import strategies as some
from tests.store.conftest import ANNA, BERT, keys


def test_what_memory_keeps_in_the_store_is_not_shown(store: MemoryStore) -> None:
    store.put(ANNA, "k", {"text": "anna reads"})
    assert store.list_namespaces() == store.list_namespaces(max_depth=2) == [ANNA]
    assert store.list_namespaces(max_depth=1) == [("users",)]
    assert store.list_namespaces(suffix=("anna",)) == [ANNA]
    assert [item.namespace for item in store.search(())] == [ANNA]
    assert [item.namespace for item in store.search((), query="anna")] == [ANNA]
    assert len(store.beneath.list_namespaces()) == 3


def test_where_the_texts_lie_is_no_way_to_items_elsewhere(store: MemoryStore) -> None:
    store.put(BERT, "k", {"text": "bert hides the treasure"})
    ours = ("linmem%2Eitems", *BERT)
    (copy,) = store.beneath.search(ours)
    assert store.search(ours, query="treasure") == store.search(ours) == []
    assert store.list_namespaces(prefix=ours[:1]) == []
    assert store.get(ours, copy.key) is None
    for value in (None, {"text": "bert has none"}):
        with pytest.raises(NamespaceError, match="keeps its own"):
            store.batch([PutOp(ours, copy.key, value)])
    assert keys(store.search(BERT, query="treasure")) == ["k"]


def test_what_a_memory_wrote_among_the_texts_is_no_item(store: MemoryStore) -> None:
    store.put(BERT, "k", {"text": "bert hides the treasure"})
    store.memory.write(("linmem.items", *BERT), "anna finds the treasure")
    assert keys(store.search((), query="treasure")) == ["k"]


def test_what_a_memory_wrote_is_found_and_forgotten(store: MemoryStore) -> None:
    first, second = store.memory.write(ANNA, ["anna reads a book", "anna sleeps"])
    store.put((*ANNA, "notes"), "n", {"content": "anna lent the book"})
    found = store.search(ANNA, query="the book of anna", limit=2)
    assert {item.key for item in found} == {first, "n"}
    assert keys(store.search(ANNA, query="anna sleeps", filter={"kind": "episodic"})) == [second, first]
    with pytest.raises(ConfigError, match="record of a memory"):
        store.put(ANNA, first, {"text": "bert"})
    store.delete(ANNA, first)
    assert [record.key for record in store.memory.records(ANNA)] == [second]
    assert "book" not in store.memory.read(ANNA, "book").text


async def test_a_graph_with_this_store_remembers_in_it(store: MemoryStore) -> None:
    with Memory(ChromaReader(embeddings=LexicalEmbeddings())) as memory:
        graph = StateGraph(MessagesState).add_node("remember", remember_node(memory, namespace=ANNA))
        compiled: Any = graph.add_edge(START, "remember").add_edge("remember", END).compile(store=store)
        said = [compiled.ainvoke({"messages": [("user", f"I lift crate{place}")]}) for place in range(20)]
        puts = [store.aput(ANNA, f"k{place}", {"text": f"crate{place}"}) for place in range(20)]
        await asyncio.gather(*said, *puts)
    found = await store.asearch(ANNA, query="crate", limit=100)
    assert sorted(item.value["text"] for item in found) == sorted(
        [f"user: I lift crate{place}" for place in range(20)] + [f"crate{place}" for place in range(20)]
    )


class Wrapping(BaseStore):
    """A store around another."""

    def __init__(self, inner: BaseStore) -> None:
        self._inner = inner

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return self._inner.batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await self._inner.abatch(ops)


@pytest.mark.parametrize("wrap", [lambda store: store, Wrapping])
def test_memories_over_it_and_beneath_it_write_one_log(store: MemoryStore, wrap: Any) -> None:
    with Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=wrap(store)) as above:
        keys = above.write(ANNA, ["anna reads", "anna sleeps"])
        store.memory.write(ANNA, "anna wakes")
        above.write(ANNA, MemoryRecord(text="anna dreams", key=keys[1]))
        assert [record.text for record in store.memory.records(ANNA)] == ["anna reads", "anna dreams", "anna wakes"]
        above.forget(ANNA, keys[:1])
        assert "reads" not in store.memory.read(ANNA, "anna reads").text
        assert [item.value["text"] for item in store.search(ANNA, query="anna wakes", limit=1)] == ["anna wakes"]


def test_threads_write_to_one_log_above_and_beneath(store: MemoryStore) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=store) as above, ThreadPoolExecutor(8) as pool:
            for place in range(300):
                pool.submit((above if place % 2 else store.memory).write, ANNA, f"crate{place}")
    finally:
        sys.setswitchinterval(interval)
    assert sorted(record.position or 0 for record in store.memory.records(ANNA)) == [*range(300)]


def test_two_memories_that_change_one_log_take_turns() -> None:
    class Slow(InMemoryStore):
        def batch(self, ops: Any) -> Any:
            done = super().batch(ops)
            sleep(0.002)
            return done

    with (
        Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=Slow()) as below,
        Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=MemoryStore(below)) as memory,
        ThreadPoolExecutor(1) as other,
    ):
        old = memory.write(ANNA, [f"fact {place}" for place in range(20)])
        writing = other.submit(lambda: [memory.write(ANNA, f"new {place}") for place in range(20)])
        for key in old:
            memory.store.delete(ANNA, key)
        writing.result()
        assert memory.namespaces() == {ANNA: 20}
        assert len({record.position for record in memory.records(ANNA)}) == 20


def test_a_value_that_looks_like_a_record_is_an_item(store: MemoryStore) -> None:
    for text in ("anna reads", "anna sleeps"):
        store.put(ANNA, "k", {"text": text, "position": 0, "order": 0})
    assert [item.value["text"] for item in store.search(ANNA, query="anna")] == ["anna sleeps"]
    store.delete(ANNA, "k")
    assert store.search(ANNA, query="anna") == []


def test_an_items_fields_of_other_kinds_than_a_records_do_not_break_the_memory_beside_it(store: MemoryStore) -> None:
    store.memory.write(ANNA, "anna reads")
    for text in ("page one", "page two"):
        store.put(ANNA, "k", {"text": text, "position": "top", "order": None})
    assert [record.text for record in store.memory.records(ANNA)] == ["anna reads"]
    assert store.memory.read(ANNA, "page").text == "[0] anna reads"
    assert keys(store.search(ANNA, query="page two"))[0] == "k"


def test_a_user_is_forgotten_with_receipts_and_nobody_else(store: MemoryStore) -> None:
    for user in (ANNA, BERT, ("users", "anna2")):
        store.put(user, "likes", {"content": f"{user[1]} likes tea"})
        store.put((*user, "work"), "hidden", {"content": f"{user[1]} has a desk"}, index=False)
        store.memory.write(user, f"{user[1]} sleeps")
    receipts = store.forget(ANNA)
    assert [(receipt.namespace, receipt.from_log) for receipt in receipts] == [(("linmem.items", *ANNA), 1), (ANNA, 1)]
    assert store.search(ANNA) == store.search(ANNA, query="anna") == []
    assert store.memory.read(ANNA, "anna").records == ()
    assert {namespace[1] for namespace in store.list_namespaces(prefix=BERT)} == {"bert"}
    for user in (BERT, ("users", "anna2")):
        assert len(store.search(user, query="tea")) == 3
    with pytest.raises(NamespaceError):
        store.forget(())
    assert len(store.search(BERT)) == 3


@given(namespaces=some.different_store_namespaces(), query=some.texts)
def test_no_search_shows_another_prefix(shared: MemoryStore, namespaces: list[tuple[str, ...]], query: str) -> None:
    """Records and items side by side in one store."""
    # A memory encodes "%" in the store's labels.
    namespaces = list(dict.fromkeys(tuple(label.replace("%", "-") for label in each) for each in namespaces))
    root = ("law", uuid4().hex)
    for place, namespace in enumerate(namespaces):
        shared.put((*root, *namespace), "k", {"text": f"{query} token{place}"})
        shared.memory.write((*root, *namespace), f"{query} token{place}")
    for namespace in namespaces:
        found = shared.search((*root, *namespace), query=query, limit=100)
        below = [place for place, each in enumerate(namespaces) if each[: len(namespace)] == namespace]
        assert sorted(item.value["text"] for item in found) == sorted(2 * [f"{query} token{place}" for place in below])
