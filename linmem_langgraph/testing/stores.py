"""What every LangGraph store must do, whoever's items lie beside each other.

Subclass `StoreConformance` in a test module and give it a `harness` fixture:

    class TestMyStore(StoreConformance):
        @pytest.fixture(scope="class")
        @classmethod
        def harness(cls) -> Iterator[StoreHarness]:
            with MyStore(...) as store:
                yield StoreHarness(store)

The tests use namespaces of their own and leave items behind. LangGraph's own tests of stores ask for examples; these
ask for laws: no search shows a sibling's item, no text that was replaced or deleted is found, no page repeats or loses
one.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, Item, PutOp, SearchOp

from linmem_langgraph.testing import strategies as some

Namespace = tuple[str, ...]

law = settings(max_examples=15, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])

MANY = 1_000


@dataclass(frozen=True)
class StoreHarness:
    """How the suite handles a store.

    Args:
        store: an open store.
        ranks: whether `search(query=...)` ranks by the query, with scores.
        awaits: whether it has `aput` and its like.
    """

    store: BaseStore
    ranks: bool = True
    awaits: bool = True


def fresh() -> Namespace:
    return ("law", uuid4().hex)


def places(items: list[Any]) -> list[tuple[Namespace, str]]:
    return [(tuple(item.namespace), item.key) for item in items]


class StoreConformance:
    """The suite."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[StoreHarness]:
        pytest.fail("StoreConformance needs a harness: override the fixture `harness`, see its module")

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, harness: StoreHarness) -> BaseStore:
        return harness.store

    # One item

    @law
    @given(value=some.values)
    def test_what_is_put_is_got(self, store: BaseStore, value: dict[str, Any]) -> None:
        namespace = fresh()
        store.put(namespace, "k", value)
        item = store.get(namespace, "k")
        assert item is not None
        assert (tuple(item.namespace), item.key, item.value) == (namespace, "k", value)
        assert item.created_at <= item.updated_at
        assert [found.value for found in store.search(namespace)] == [value]

    def test_what_is_not_there_is_none(self, store: BaseStore) -> None:
        namespace = fresh()
        assert store.get(namespace, "k") is None
        assert store.search(namespace) == []
        assert store.search(namespace, query="anna") == []
        store.delete(namespace, "k")

    @pytest.mark.parametrize("namespace", [(), ("a", ""), ("a.b",), ("langgraph", "a"), ("a", 3)])
    def test_a_wrong_namespace_is_refused(self, store: BaseStore, namespace: Any) -> None:
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "k", {"text": "anna"})

    # Other users' items

    @law
    @given(namespaces=some.different_store_namespaces())
    def test_a_search_shows_what_is_below_its_prefix_and_nothing_else(
        self, store: BaseStore, namespaces: list[Namespace]
    ) -> None:
        root = fresh()
        for place, namespace in enumerate(namespaces):
            store.put((*root, *namespace), f"k{place}", {"text": f"the secret is token{place}"})
        for namespace in [*namespaces, ("absent",)]:
            prefix = (*root, *namespace)
            below = sorted(
                ((*root, *each), f"k{place}")
                for place, each in enumerate(namespaces)
                if each[: len(namespace)] == namespace
            )
            assert sorted(places(store.search(prefix, limit=MANY))) == below
            assert sorted(places(store.search(prefix, query="the secret token", limit=MANY))) == below
            assert sorted(places(store.search(prefix, filter={"text": {"$ne": "x"}}, limit=MANY))) == below

    @law
    @given(namespaces=some.different_store_namespaces())
    def test_a_key_is_changed_and_deleted_in_its_own_namespace(
        self, store: BaseStore, namespaces: list[Namespace]
    ) -> None:
        root = fresh()
        for namespace in namespaces:
            store.put((*root, *namespace), "same", {"text": "anna reads"})
        store.put((*root, *namespaces[0]), "same", {"text": "anna writes"})
        store.delete((*root, *namespaces[-1]), "same")
        for namespace in namespaces[1:-1]:
            item = store.get((*root, *namespace), "same")
            assert item is not None
            assert item.value == {"text": "anna reads"}
        left = {tuple(item.namespace) for item in store.search(root, query="anna", limit=MANY)}
        assert left == {(*root, *namespace) for namespace in namespaces[:-1]}

    # Texts that are gone

    @law
    @given(old=some.texts, new=some.texts)
    def test_a_text_that_was_replaced_is_not_found(
        self, harness: StoreHarness, store: BaseStore, old: str, new: str
    ) -> None:
        namespace, other = fresh(), fresh()
        store.put(namespace, "k", {"text": old})
        store.search(namespace, query=old)
        store.put(namespace, "k", {"text": new})
        store.put(other, "k", {"text": new})
        changed, never = (store.search(where, query=old) for where in (namespace, other))
        assert [item.value for item in changed] == [{"text": new}]
        if harness.ranks:
            assert changed[0].score == pytest.approx(never[0].score, abs=1e-4)

    def test_a_text_that_was_replaced_ranks_last(self, harness: StoreHarness, store: BaseStore) -> None:
        if not harness.ranks:
            pytest.skip("this store does not rank")
        namespace = fresh()
        store.put(namespace, "a", {"text": "the red mug stands on the shelf"})
        store.put(namespace, "b", {"text": "the mug"})
        assert [item.key for item in store.search(namespace, query="red mug on the shelf")] == ["a", "b"]
        store.put(namespace, "a", {"text": "bert sleeps"})
        assert [item.key for item in store.search(namespace, query="red mug on the shelf")] == ["b", "a"]

    def test_what_was_deleted_is_not_found(self, store: BaseStore) -> None:
        namespace = fresh()
        for place in range(6):
            store.put(namespace, f"k{place}", {"text": f"anna lifts crate{place}"})
        for place in range(0, 6, 2):
            store.delete(namespace, f"k{place}")
            assert store.get(namespace, f"k{place}") is None
        for found in (store.search(namespace), store.search(namespace, query="anna lifts crate0")):
            assert sorted(item.key for item in found) == ["k1", "k3", "k5"]
        store.put(namespace, "k0", {"text": "bert"})
        assert "anna lifts crate0" not in str([item.value for item in store.search(namespace, query="crate0")])

    def test_what_is_not_indexed_comes_last(self, harness: StoreHarness, store: BaseStore) -> None:
        namespace = fresh()
        store.put(namespace, "hidden", {"text": "anna reads"}, index=False)
        store.put(namespace, "shown", {"text": "anna sleeps"})
        if harness.ranks:
            assert store.search(namespace, query="anna reads", limit=1)[0].key == "shown"
        item = store.get(namespace, "hidden")
        assert item is not None
        assert {found.key for found in store.search(namespace)} == {"hidden", "shown"}

    # Filters and pages

    @pytest.mark.parametrize(
        ("filter", "keys"),
        [
            ({}, "abc"),
            ({"who": "anna"}, "ac"),
            ({"age": {"$gt": 3}}, "bc"),
            ({"age": {"$gte": 3, "$lt": 5}}, "ab"),
            ({"age": {"$lte": 3}}, "a"),
            ({"who": {"$ne": "anna"}}, "b"),
            ({"who": {"$eq": "anna"}, "age": 5}, "c"),
            ({"who": "nobody"}, ""),
        ],
    )
    @pytest.mark.parametrize("query", [None, "anna bert"])
    def test_a_filter_holds(self, store: BaseStore, filter: dict[str, Any], keys: str, query: str | None) -> None:
        namespace = fresh()
        for key, who, age in (("a", "anna", 3), ("b", "bert", 4), ("c", "anna", 5)):
            store.put(namespace, key, {"who": who, "age": age})
        found = store.search(namespace, query=query, filter=filter)
        assert sorted(item.key for item in found) == sorted(keys)

    @pytest.mark.parametrize("query", [None, "anna lifts crate3"])
    def test_pages_repeat_nothing_and_lose_nothing(self, store: BaseStore, query: str | None) -> None:
        namespace = fresh()
        for place in range(11):
            store.put((*namespace, str(place % 2)), f"k{place}", {"text": f"anna lifts crate{place}"})
        pages = [store.search(namespace, query=query, limit=4, offset=offset) for offset in (0, 4, 8, 12)]
        assert [len(page) for page in pages] == [4, 4, 3, 0]
        assert {item.key for page in pages for item in page} == {f"k{place}" for place in range(11)}

    def test_namespaces_are_listed(self, store: BaseStore) -> None:
        root = fresh()
        for labels in (("a", "b", "c"), ("a", "b", "d"), ("a", "e"), ("f",)):
            store.put((*root, *labels), "k", {"text": "anna"})
        listed = store.list_namespaces(prefix=root)
        assert sorted(listed) == sorted((*root, *labels) for labels in ("abc", "abd", "ae", "f"))
        assert sorted(store.list_namespaces(prefix=(*root, "a"), max_depth=4)) == [(*root, "a", "b"), (*root, "a", "e")]
        assert store.list_namespaces(prefix=root, suffix=("d",)) == [(*root, "a", "b", "d")]
        assert len(store.list_namespaces(prefix=root, limit=3)) == 3
        assert len(store.list_namespaces(prefix=root, limit=3, offset=3)) == 1
        assert all(namespace[0] != "law" or len(namespace) >= 2 for namespace in store.list_namespaces(limit=MANY))

    # Batches, threads, event loops

    def test_a_batch_answers_in_order(self, store: BaseStore) -> None:
        namespace = fresh()
        store.put(namespace, "a", {"text": "anna reads"})
        first, _, found, none, listed = store.batch(
            [
                GetOp(namespace, "a"),
                PutOp(namespace, "b", {"text": "bert reads"}),
                SearchOp(namespace, query="anna", limit=1),
                GetOp(namespace, "absent"),
                SearchOp(namespace, filter={"text": "anna reads"}),
            ]
        )
        assert isinstance(first, Item)
        assert first.value == {"text": "anna reads"}
        assert isinstance(found, list)
        assert isinstance(listed, list)
        assert places(found) == places(listed) == [(namespace, "a")]
        assert none is None
        store.batch([PutOp(namespace, "b", {"text": f"bert {word}"}) for word in ("sleeps", "wakes")])
        last = store.get(namespace, "b")
        assert last is not None
        assert last.value == {"text": "bert wakes"}
        assert "bert sleeps" not in [item.value["text"] for item in store.search(namespace, query="bert sleeps")]

    async def test_awaited_it_does_the_same(self, harness: StoreHarness, store: BaseStore) -> None:
        if not harness.awaits:
            pytest.skip("this store cannot be awaited")
        namespace = fresh()
        await asyncio.gather(*(store.aput(namespace, f"k{place}", {"text": f"crate{place}"}) for place in range(5)))
        await store.adelete(namespace, "k4")
        item = await store.aget(namespace, "k2")
        assert item is not None
        assert item.value == {"text": "crate2"}
        found = await store.asearch(namespace, query="crate1")
        assert {each.key for each in found} == {"k0", "k1", "k2", "k3"}
        assert await store.alist_namespaces(prefix=namespace) == [namespace]

    def test_threads_put_and_search_together(self, store: BaseStore) -> None:
        namespaces = [fresh(), fresh()]

        def work(worker: int) -> None:
            namespace = namespaces[worker % 2]
            for place in range(8):
                store.put(namespace, f"{worker}-{place}", {"text": f"worker{worker} lifts crate{place}", "n": worker})
                found = store.search(namespace, query=f"worker{worker} crate{place}", limit=MANY)
                assert f"{worker}-{place}" in {item.key for item in found}
                assert all(item.value["n"] % 2 == worker % 2 for item in found)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        for place, namespace in enumerate(namespaces):
            expected = {f"{worker}-{each}" for worker in range(place, 4, 2) for each in range(8)}
            assert {item.key for item in store.search(namespace, limit=MANY)} == expected
            assert {item.key for item in store.search(namespace, query="worker", limit=MANY)} == expected
