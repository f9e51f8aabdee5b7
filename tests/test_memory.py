"""The facade: over every store, inside a graph, under asyncio, and between threads and processes."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import AsyncSqliteStore

from linmem_langgraph import (
    ChromaReader,
    ConfigError,
    ContextOverflow,
    Memory,
    MemoryRecord,
    NamespaceError,
    Reading,
    RecordError,
)
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.base import Query
from tests.fakes import WaitingEmbeddings
from tests.stores import HostileStore


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
        ({"query": "x", "filter": {"a": {"$in": [1]}}}, r"\$in.*choose"),
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


# What a reader may say before a write, and how it is asked under asyncio


class Refusing(ChromaReader):
    """Refuses long texts; counts what it is shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, embeddings=LexicalEmbeddings(256))
        self.checked: list[MemoryRecord] = []

    def check(self, records: Sequence[MemoryRecord]) -> None:
        self.checked += records
        if any(len(record.text) > 9 for record in records):
            raise ContextOverflow("too long")


def test_what_the_reader_refuses_is_not_written(tmp_path: Path, namespace: Namespace) -> None:
    reader = Refusing(tmp_path)
    with Memory(reader, store=InMemoryStore()) as memory:
        memory.write(namespace, "short")
        before = memory.records(namespace)
        for write in (memory.write, lambda *given: asyncio.run(memory.awrite(*given))):
            with pytest.raises(ContextOverflow, match="too long"):
                write(namespace, ["short, too", MemoryRecord(text="much too long", key="long")])
        assert memory.records(namespace) == before
        memory.flush()
        assert [record.text for record in reader.checked] == ["short", *["short, too", "much too long"] * 2]


def test_a_reader_is_shown_valid_records_only(tmp_path: Path, namespace: Namespace) -> None:
    reader = Refusing(tmp_path)
    with Memory(reader, store=InMemoryStore()) as memory:
        with pytest.raises(RecordError):
            memory.write(namespace, ["short", " "])
        assert reader.checked == []
        keys = memory.write(namespace, (text for text in ("a", "b")))
        assert [record.text for record in reader.checked] == ["a", "b"]
        assert [record.key for record in memory.records(namespace)] == keys


def test_an_import_that_the_reader_refuses_is_not_written(tmp_path: Path, namespace: Namespace) -> None:
    rows = tmp_path / "rows.jsonl"
    with Memory(ChromaReader(tmp_path / "other", embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        memory.write(namespace, ["short", "much too long"])
        memory.export_jsonl(namespace, rows)
    with Memory(Refusing(tmp_path / "chroma"), store=InMemoryStore()) as memory:
        with pytest.raises(ContextOverflow):
            memory.import_jsonl(namespace, rows)
        assert memory.records(namespace) == []


class Native(ChromaReader):
    """Is read under asyncio in a way of its own."""

    async def aread(self, log: Log, query: Query) -> Reading:
        asyncio.get_running_loop()
        return Reading(text=f"{query.text} {len(log.records())}", reader="native")


async def test_a_readers_own_aread_is_used(tmp_path: Path, namespace: Namespace) -> None:
    memory = Memory(Native(tmp_path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore())
    await memory.awrite(namespace, ["a", "b"])
    reading = await memory.aread(namespace, "how many?")
    assert reading.text == "how many? 2"
    assert reading.seconds > 0
    with pytest.raises(ConfigError, match="query"):
        await memory.aread(namespace, "")
    with pytest.raises(NamespaceError):
        await memory.aread((), "x")
    await memory.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await memory.aread(namespace, "x")


async def test_an_async_read_says_what_a_sync_one_does(tmp_path: Path, namespace: Namespace) -> None:
    memory = Memory(ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256)), store=InMemoryStore())
    keys = await memory.awrite(namespace, ["red mug", "blue mug", "red coat"])
    for options in ({}, {"limit": 1}, {"until": 1}, {"exclude": keys[:1]}, {"filter": {"kind": "semantic"}}):
        asked: dict[str, Any] = {"query": "red mug", **options}
        one, other = memory.read(namespace, **asked), await memory.aread(namespace, **asked)
        assert one.model_copy(update={"seconds": 0.0}) == other.model_copy(update={"seconds": 0.0})
    await memory.aclose()


# The store of the running graph


class State(TypedDict):
    text: str


def graph_with(memory: Memory, namespace: Namespace, *, use_async: bool) -> StateGraph[State]:
    def node(state: State) -> State:
        memory.write(namespace, state["text"])
        return {"text": memory.read(namespace, state["text"]).text}

    async def anode(state: State) -> State:
        await memory.awrite(namespace, state["text"])
        return {"text": (await memory.aread(namespace, state["text"])).text}

    graph = StateGraph(State)
    graph.add_node("node", anode if use_async else node)
    graph.add_edge(START, "node")
    return graph


@pytest.fixture
def graph_memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256))) as memory:
        yield memory


def test_without_a_store_the_graphs_own_is_used(graph_memory: Memory, namespace: Namespace) -> None:
    store = InMemoryStore()
    graph = graph_with(graph_memory, namespace, use_async=False).compile(store=store)
    assert graph.invoke({"text": "Anna sleeps"}) == {"text": "[0] Anna sleeps"}
    assert len(store.search(namespace)) == 1


@pytest.mark.parametrize("use_async", [True, False])
async def test_without_a_store_the_graphs_own_is_used_async(
    graph_memory: Memory, namespace: Namespace, use_async: bool
) -> None:
    async with AsyncSqliteStore.from_conn_string(":memory:") as store:
        await store.setup()
        graph = graph_with(graph_memory, namespace, use_async=use_async).compile(store=store)
        assert await graph.ainvoke({"text": "Anna sleeps"}) == {"text": "[0] Anna sleeps"}
        assert len(await store.asearch(namespace)) == 1
        await graph_memory.aflush()


def test_no_store_anywhere_is_an_error_with_the_ways_out(graph_memory: Memory, namespace: Namespace) -> None:
    for act in (lambda: graph_memory.write(namespace, "x"), lambda: graph_memory.read(namespace, "x")):
        with pytest.raises(ConfigError, match=r"store=.*Memory\.open"):
            act()
    with pytest.raises(ConfigError, match="compile the graph with store"):
        graph_with(graph_memory, namespace, use_async=False).compile().invoke({"text": "x"})


# asyncio


@pytest.fixture
async def async_only(tmp_path: Path) -> AsyncIterator[tuple[Memory, WaitingEmbeddings]]:
    """A memory over an async store of this event loop, and the embeddings that hold its updates back."""
    embeddings = WaitingEmbeddings()
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "store.sqlite")) as store:
        await store.setup()
        memory = Memory(ChromaReader(tmp_path / "chroma", embeddings=embeddings), store=store)
        yield memory, embeddings
        embeddings.go.set()
        await asyncio.to_thread(memory.close)


async def test_the_async_methods(async_only: tuple[Memory, WaitingEmbeddings], namespace: Namespace) -> None:
    memory, embeddings = async_only
    embeddings.go.set()
    keys = await memory.awrite(namespace, ["Anna sleeps", "Bert reads"])
    await memory.aflush()
    assert (await memory.aread(namespace, "who reads", limit=1, until=5, exclude=[9])).text == "[1] Bert reads"
    assert (await memory.aforget(namespace, keys[1])).forgotten == (keys[1],)
    readings = await asyncio.gather(*(memory.aread(namespace, "Anna") for _ in range(5)))
    assert {reading.text for reading in readings} == {"[0] Anna sleeps"}


@pytest.mark.parametrize("method", ["write", "read", "records", "forget", "rebuild", "flush", "close"])
async def test_a_sync_method_on_the_stores_own_loop_is_an_error_and_no_deadlock(
    async_only: tuple[Memory, WaitingEmbeddings], namespace: Namespace, method: str
) -> None:
    memory, embeddings = async_only
    await memory.awrite(namespace, "Anna sleeps")
    await asyncio.to_thread(embeddings.waiting.wait, 30)  # the update runs, and will need this loop

    async def release() -> None:
        await asyncio.sleep(0)
        embeddings.go.set()

    # A method that waits here for the update would never let `release` run: fail instead of hanging.
    arguments: dict[str, tuple[Any, ...]] = {
        "write": (namespace, "x"),
        "read": (namespace, "x"),
        "flush": (),
        "close": (),
    }
    try:
        with fail_instead_of_hanging(embeddings), pytest.raises(ConfigError, match="async store"):
            getattr(memory, method)(*arguments.get(method, (namespace,)))
    finally:
        await release()


class fail_instead_of_hanging:
    """The update that is held back gives up after two seconds, and with it whoever waits for it."""

    def __init__(self, embeddings: WaitingEmbeddings) -> None:
        self._embeddings = embeddings

    def __enter__(self) -> None:
        from threading import Timer

        def give_up() -> None:
            self.hung = True
            self._embeddings.fails = True
            self._embeddings.go.set()

        self.hung = False
        self._timer = Timer(2, give_up)
        self._timer.start()

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        assert not self.hung, "the method waited for an update that needs this very event loop"


async def test_async_methods_do_not_block_the_loop(tmp_path: Path, namespace: Namespace) -> None:
    embeddings = WaitingEmbeddings()
    memory = Memory(ChromaReader(tmp_path, embeddings=embeddings), store=InMemoryStore())
    await memory.awrite(namespace, "Anna sleeps")
    reading = asyncio.create_task(memory.aread(namespace, "Anna"))
    await asyncio.sleep(0.05)
    assert not reading.done()
    embeddings.go.set()
    assert (await reading).text == "[0] Anna sleeps"
    await asyncio.to_thread(memory.close)


# Two memories on one folder, and more processes


def test_two_memories_of_one_process_on_one_folder(open_memory: Callable[..., Memory], namespace: Namespace) -> None:
    first, second = open_memory(), open_memory()
    for place in range(4):
        first.write(namespace, f"first page{place}")
        second.write(namespace, f"second page{place}")
        for memory in (first, second):
            assert f"first page{place}" in memory.read(namespace, f"first page{place}").text
            assert f"second page{place}" in memory.read(namespace, f"second page{place}").text
    assert [record.position for record in first.records(namespace)] == list(range(8))
    second.forget(namespace, str(first.records(namespace)[0].key))
    assert "first page0" not in first.read(namespace, "first page0", limit=20).text
    first.close()
    second.write(namespace, "first is closed")
    assert "first is closed" in second.read(namespace, "closed").text


def test_threads_of_two_memories_on_one_folder(open_memory: Callable[..., Memory], namespace: Namespace) -> None:
    memories = [open_memory(), open_memory()]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda place: memories[place % 2].write(namespace, f"page{place}"), range(60)))
    for memory in memories:
        memory.flush()
        records = memory.records(namespace)
        assert [record.position for record in records] == list(range(60))
        assert len(memory.read(namespace, "page", limit=100).records) == 60


def test_another_process_reads_what_this_one_wrote_and_the_reverse(
    open_memory: Callable[..., Memory], python: Callable[..., subprocess.Popen[str]], namespace: Namespace
) -> None:
    memory = open_memory()
    memory.write(namespace, "Anna hides the telescope")
    assert "telescope" in memory.read(namespace, "telescope").text
    other = python("print(memory.read(N, 'telescope').text); memory.write(N, 'Bert finds the compass')", N=namespace)
    out, err = other.communicate(timeout=60)
    assert (out.strip(), other.returncode) == ("[0] Anna hides the telescope", 0), err
    assert memory.read(namespace, "compass", limit=1).text == "[1] Bert finds the compass"
    forgetting = python("memory.forget(N, memory.records(N)[0].key)", N=namespace)
    _, err = forgetting.communicate(timeout=60)
    assert forgetting.returncode == 0, err
    assert memory.read(namespace, "telescope", limit=5).text == "[1] Bert finds the compass"


@pytest.mark.parametrize("attempt", range(3))
def test_processes_make_one_folder_together(
    python: Callable[..., subprocess.Popen[str]], namespace: Namespace, attempt: int
) -> None:
    workers = [python("memory.write(N, A)", N=namespace, A=f"attempt{attempt}") for _ in range(6)]
    for worker in workers:
        _, err = worker.communicate(timeout=100)
        assert worker.returncode == 0, err


@pytest.mark.parametrize("reading", [False, True])
def test_processes_write_to_one_folder_at_once(
    open_memory: Callable[..., Memory],
    python: Callable[..., subprocess.Popen[str]],
    namespace: Namespace,
    reading: bool,
) -> None:
    code = """
for place in range(25):
    memory.write(N, f"{ME} lifts crate{place}")
    if READING and place % 8 == 0:
        text = memory.read(N, f"{ME} lifts crate{place}", limit=3).text
        assert f"{ME} lifts crate{place}" in text, text
memory.flush()
"""
    # The folder is new: making it is part of the race.
    workers = [python(code, N=namespace, ME=name, READING=reading) for name in ("anna", "bert", "carl")]
    for worker in workers:
        _, err = worker.communicate(timeout=100)
        assert worker.returncode == 0, err
    memory = open_memory()
    records = memory.records(namespace)
    assert [record.position for record in records] == list(range(75))
    assert {record.text for record in records} == {
        f"{name} lifts crate{place}" for name in ("anna", "bert", "carl") for place in range(25)
    }
    assert len(memory.read(namespace, "lifts crate", limit=100).records) == 75


def test_a_killed_process_loses_nothing_it_was_told_is_kept(
    open_memory: Callable[..., Memory], python: Callable[..., subprocess.Popen[str]], namespace: Namespace
) -> None:
    worker = python(
        "for place in range(100_000):\n    memory.write(N, f'page{place}')\n    print(place, flush=True)", N=namespace
    )
    assert worker.stdout is not None
    acknowledged = [int(worker.stdout.readline()) for _ in range(40)][-1]
    worker.kill()
    rest = worker.communicate()[0].split()
    acknowledged = max([acknowledged, *map(int, rest[:-1])])
    memory = open_memory()
    records = memory.records(namespace)
    assert [record.text for record in records] == [f"page{place}" for place in range(len(records))]
    assert len(records) > acknowledged
    assert f"page{acknowledged}" in memory.read(namespace, f"page{acknowledged}", limit=3).text
    assert len(memory.read(namespace, "page", limit=1_000).records) == len(records)


# Export and import


def test_a_namespace_comes_back_from_jsonl_byte_for_byte(tmp_path: Path, namespace: Namespace) -> None:
    there, back = tmp_path / "there.jsonl", tmp_path / "back.jsonl"
    with Memory(ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256)), store=HostileStore()) as memory:
        given = [
            MemoryRecord(text="咖啡\nline \u2028 x", position=3, metadata={"who": "anna", "n": [1, 2.5, None]}),
            MemoryRecord(text="b", position=3, kind="semantic", key="a key"),
            MemoryRecord(text="c", position=1, created_at="2023-05-08T13:56:00+02:00"),
            MemoryRecord(text="d"),
        ]
        memory.write(namespace, given)
        assert memory.export_jsonl(namespace, there) == 4
        other = (*namespace, "other")
        keys = memory.import_jsonl(other, there)
        assert keys == [record.key for record in memory.records(namespace)]
        assert memory.records(other) == memory.records(namespace)
        memory.export_jsonl(other, back)
        assert back.read_bytes() == there.read_bytes()
        assert memory.import_jsonl(namespace, back) == keys
        assert memory.records(other) == memory.records(namespace)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": "cut o', r"line 2.*cut off"),
        ('{"position": 1}', r"line 2.*text"),
        ('{"text": "x", "position": -1}', r"line 2.*position"),
        ('{"text": "x", "speaker": "anna"}', r"line 2.*speaker"),
        ("[]", "line 2"),
        (json.dumps({"text": "x\x00"}), "line 2.*NUL"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_imported(tmp_path: Path, row: str, message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"text": "good"}}\n{row}\n')
    with Memory(ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        with pytest.raises(RecordError, match=message):
            memory.import_jsonl(("a",), file)
        assert memory.records(("a",)) == []


def test_namespaces_are_listed_until_they_are_forgotten(memory: Memory) -> None:
    for namespace in (("b",), ("a", "x.y/%"), ("a",), ("b",)):
        memory.write(namespace, "anna sleeps")
    memory.read(("never", "written"), "anna")
    assert memory.namespaces() == {("a",): 1, ("a", "x.y/%"): 1, ("b",): 2}
    memory.forget(("a",))
    assert memory.namespaces() == {("a", "x.y/%"): 1, ("b",): 2}
