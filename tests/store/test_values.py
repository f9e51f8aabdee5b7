"""What `MemoryStore` reads of a value, and which values and keys it takes."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, LinearReader, Memory, RecordError
from linmem_langgraph.errors import ContextOverflow, NamespaceError
from linmem_langgraph.store import MemoryStore
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer
from tests.readers.linear.words import everything
from tests.store.conftest import ANNA, BERT, keys


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"content": "Anna likes tea."}, "Anna likes tea."),
        ({"content": {"text": " Anna\x00 \ud800"}}, "Anna\ufffd ?"),
        ({"text": "Anna", "n": 3}, '{"n": 3, "text": "Anna"}'),
        (
            {"kind": "Memory", "content": {"content": "Tee für Änne"}},
            '{"content": {"content": "Tee für Änne"}, "kind": "Memory"}',
        ),
    ],
)
def test_a_value_is_read_as_its_text_or_as_json(store: MemoryStore, value: dict[str, Any], text: str) -> None:
    store.put(ANNA, "k", value)
    (record,) = store.memory.records(("linmem.items", *ANNA))
    assert record.text == text
    assert [item.value for item in store.search(ANNA)] == [value]


def test_fields_are_read_each_by_itself_and_the_best_counts(store: MemoryStore) -> None:
    fields = ["name", "notes[*]"]
    store.put(ANNA, "a", {"name": "anna", "notes": ["reads on the shelf", "red mug"], "secret": "cellar"}, index=fields)
    store.put(ANNA, "b", {"name": "red mug of bert", "notes": []}, index=fields)
    assert keys(store.search(ANNA, query="red mug")) == ["a", "b"]
    assert len(store.memory.records(("linmem.items", *ANNA))) == 4
    assert store.search(ANNA, query="cellar")[0].score == 0.0
    store.put(ANNA, "a", {"name": "anna", "notes": []}, index=fields)
    assert [record.text for record in store.memory.records(("linmem.items", *ANNA))] == ["anna", "red mug of bert"]
    store.put(ANNA, "a", {"name": "anna"}, index=False)
    assert [record.text for record in store.memory.records(("linmem.items", *ANNA))] == ["red mug of bert"]


def test_a_long_text_is_read_in_pieces(store: MemoryStore) -> None:
    store.put(ANNA, "long", {"text": f"{'anna reads ' * 30_000} red mug"})
    store.put(ANNA, "short", {"text": "the mug"})
    assert keys(store.search(ANNA, query="red mug", limit=2)) == ["short", "long"]
    store.delete(ANNA, "long")
    assert len(store.memory.records(("linmem.items", *ANNA))) == 1


def test_a_long_text_may_have_a_piece_of_blanks_alone(store: MemoryStore) -> None:
    store.put(ANNA, "long", {"text": "x" * 50_000 + " " * 50_000 + "the end"})
    assert keys(store.search(ANNA, query="the end")) == ["long"]
    store.delete(ANNA, "long")
    assert store.memory.records(("linmem.items", *ANNA)) == []


@given(key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda key: "\x00" not in key))
def test_any_key_that_can_be_kept_is_found_and_deleted(shared: MemoryStore, key: str) -> None:
    namespace = ("law", uuid4().hex)
    shared.put(namespace, key, {"text": "anna reads"})
    assert keys(shared.search(namespace, query="anna")) == [key]
    shared.delete(namespace, key)
    assert shared.search(namespace, query="anna") == []
    assert shared.memory.records(("linmem.items", *namespace)) == []


def test_what_cannot_be_kept_is_refused_and_nothing_is_put(store: MemoryStore) -> None:
    for namespace, key, error in (
        (ANNA, "a\x00b", RecordError),
        (ANNA, "\ud800", RecordError),
        ((" ",), "k", NamespaceError),
    ):
        with pytest.raises(error):
            store.batch([PutOp(BERT, "k", {"text": "bert"}), PutOp(namespace, key, {"text": "anna"})])
    assert store.search(("users",)) == []
    with pytest.raises(NotImplementedError, match="TTL"):
        store.put(ANNA, "k", {"text": "anna"}, ttl=5)
    with pytest.raises(ConfigError, match="'k' has a ttl of 5"):
        store.batch([PutOp(ANNA, "k", {"text": "anna"}, ttl=5)])


def test_what_the_model_cannot_read_is_refused_and_nothing_is_put() -> None:
    with (
        ModelServer(everything, context=2_000) as server,
        Memory(LinearReader(ChatVLLM(base_url=server.base_url), max_tokens=10), store=InMemoryStore()) as memory,
    ):
        store = MemoryStore(memory)
        with pytest.raises(ContextOverflow):
            store.put(ANNA, "k", {"text": "anna " * 2_000})
        assert store.get(ANNA, "k") is None
        assert memory.namespaces() == {}
