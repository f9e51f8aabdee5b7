"""The facade over every store: writing, reading, forgetting, and arguments that are refused."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, ConfigError, Memory, MemoryRecord, NamespaceError, RecordError
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace


@pytest.fixture
def memory(store: BaseStore, tmp_path: Path) -> Iterator[Memory]:
    with Memory(ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256)), store=store) as memory:
        yield memory


def test_a_memory_over_any_store(memory: Memory, namespace: Namespace) -> None:
    keys = memory.write(namespace, ["Anna puts the red mug on the shelf", MemoryRecord(text="Bert sleeps", position=7)])
    below = (*namespace, "below")
    memory.write(below, "Anna hides the blue mug")
    reading = memory.read(namespace, "where is the mug", limit=1)
    assert reading.text == "[0] Anna puts the red mug on the shelf"
    assert [hit.record.key for hit in reading.records] == keys[:1]
    assert reading.records[0].score is not None
    assert reading.usage.prompt_tokens == 0
    assert memory.read(namespace, "mug", until=-1).records == ()
    receipt = memory.forget(namespace, keys[0])
    assert (receipt.namespace, receipt.forgotten, receipt.unknown) == (namespace, (keys[0],), ())
    assert (receipt.from_log, receipt.from_index, receipt.reader) == (1, 1, "chroma")
    assert "mug" not in memory.read(namespace, "mug").text
    assert memory.forget(namespace).from_index == 1
    assert memory.records(namespace) == []
    assert [record.text for record in memory.records(below)] == ["Anna hides the blue mug"]
    assert memory.read(below, "mug").text == "[0] Anna hides the blue mug"


def test_a_memory_between_threads(memory: Memory, namespace: Namespace) -> None:
    def work(worker: int) -> None:
        for place in range(5):
            memory.write(namespace, f"worker{worker} lifts crate{place}")
            assert f"worker{worker} lifts crate{place}" in memory.read(namespace, f"worker{worker} crate{place}").text

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    memory.flush()
    assert [record.position for record in memory.records(namespace)] == list(range(20))


def test_forgetting_a_key_twice_names_it_as_unknown(memory: Memory, namespace: Namespace) -> None:
    key = memory.write(namespace, "x")[0]
    memory.flush()
    assert memory.forget(namespace, [key, key, "absent"]).model_dump(
        include={"forgotten", "unknown", "from_log", "from_index"}
    ) == {"forgotten": (key,), "unknown": ("absent",), "from_log": 1, "from_index": 1}
    again = memory.forget(namespace, key)
    assert (again.forgotten, again.unknown, again.from_index) == ((), (key,), 0)


def test_forgetting_no_keys_is_not_forgetting_everything(memory: Memory, namespace: Namespace) -> None:
    memory.write(namespace, "x")
    assert memory.forget(namespace, []).forgotten == ()
    assert len(memory.records(namespace)) == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("x" * 1_000_000, "split"),
        ("a\x00", "NUL"),
        ("a\ud800", "surrogate"),
        (b"bytes", "not int"),
        (7, "."),
        (None, "."),
    ],
    ids=["empty", "blank", "1MB", "nul", "surrogate", "bytes", "int", "none"],
)
def test_bad_input_writes_nothing(memory: Memory, namespace: Namespace, bad: Any, message: str) -> None:
    records: Any = bad if isinstance(bad, bytes) else ["good", bad, "good too"]
    with pytest.raises(RecordError, match=f"(?s){message}"):
        memory.write(namespace, records)
    assert memory.records(namespace) == []
    assert memory.write(namespace, "fine")
    assert memory.read(namespace, "fine").text == "[0] fine"


@pytest.mark.parametrize("namespace", [(), "users", ("users", ""), ("users", 7), ("a", "\ud800"), ("langgraph",), None])
def test_a_bad_namespace_is_refused_everywhere(namespace: Any, tmp_path: Path) -> None:
    with Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        for act in (
            lambda: memory.write(namespace, "x"),
            lambda: memory.read(namespace, "x"),
            lambda: memory.records(namespace),
            lambda: memory.forget(namespace),
            lambda: memory.rebuild(namespace),
        ):
            with pytest.raises(NamespaceError):
                act()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"query": "x", "limit": 0}, "limit"),
        ({"query": "x", "limit": "many"}, "limit"),
        ({"query": "x", "limit": 10**12}, "limit"),
        ({"query": "x", "until": "now"}, "until"),
        ({"query": "x", "until": 1.5}, "until"),
        ({"query": "x", "exclude": [1.5]}, "exclude"),
        ({"query": "x", "exclude": 3}, "exclude"),
        ({"query": "x", "filter": {"a": {"$nin": [1]}}}, r"\$nin.*choose"),
        ({"query": "x", "filter": {"kind": "\ud800"}}, "filter|surrogate"),
        ({"query": "x", "filter": "kind"}, "filter"),
    ],
)
def test_a_bad_argument_of_read_is_a_config_error(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        memory.write(("a",), "x")
        with pytest.raises(ConfigError, match=message):
            memory.read(("a",), **arguments)


def test_bounds_beyond_every_position_are_no_error(tmp_path: Path) -> None:
    with Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        memory.write(("a",), "x")
        assert memory.read(("a",), "x", until=2**70, exclude=[2**70, -5], limit=1_000).text == "[0] x"
        assert memory.read(("a",), "x", until=-(2**70)).records == ()


def test_one_key_to_exclude_may_be_given_alone(tmp_path: Path) -> None:
    with Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        key = memory.write(("a",), "x")[0]
        with suppress(ConfigError):  # refusing it is as good
            assert memory.read(("a",), "x", exclude=key).records == ()


def test_forgetting_a_key_no_store_takes_is_unknown(open_memory: Callable[..., Memory], namespace: Namespace) -> None:
    memory = open_memory()
    memory.write(namespace, "x")
    assert memory.forget(namespace, ["\ud800", "\x00", ""]).forgotten == ()
    assert len(memory.records(namespace)) == 1


def test_namespaces_are_listed_until_they_are_forgotten(memory: Memory) -> None:
    for namespace in (("b",), ("a", "x.y/%"), ("a",), ("b",)):
        memory.write(namespace, "anna sleeps")
    memory.read(("never", "written"), "anna")
    assert memory.namespaces() == {("a",): 1, ("a", "x.y/%"): 1, ("b",): 2}
    memory.forget(("a",))
    assert memory.namespaces() == {("a", "x.y/%"): 1, ("b",): 2}
