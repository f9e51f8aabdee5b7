"""What LangSmith receives of a memory, as a local server of its API got it."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.store.memory import InMemoryStore
from langsmith import trace, tracing_context

from linmem_langgraph import (
    ChromaReader,
    LinearReader,
    Memory,
    MemoryRecord,
    NamespaceError,
    ReaderUnavailable,
    Reading,
    create_manage_memory_tool,
    create_search_memory_tool,
)
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.testing import LangSmithServer, langsmith_server
from linmem_langgraph.vllm import ChatVLLM
from tests.graphs.scripted import calling, scripted
from tests.model_server import ModelServer

__all__ = ["langsmith_server"]

ANNA, BOB = ("users", "anna"), ("users", "bob")
LONG = "Anna waters the plants in the kitchen. " * 40
SECRET = "xylophone"
TOLD = MemoryRecord(text=f"The word is {SECRET}.", position=3, key="k3", metadata={"of": f"{SECRET}_meta"})


class TracedEmbeddings(LexicalEmbeddings):
    """Lexical; each call is a run."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        with trace("index", "embedding"):
            return [super(TracedEmbeddings, self).embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        with trace("query", "embedding"):
            return super().embed_query(text)


@pytest.fixture
def models() -> Iterator[ModelServer]:
    with ModelServer("Anna lives in Oslo [1].") as server:
        yield server


@pytest.fixture
def chroma(tmp_path: Path) -> Iterator[Memory]:
    reader = ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256))
    with Memory(reader, store=InMemoryStore()) as memory:
        yield memory


@pytest.fixture
def linear(models: ModelServer) -> Iterator[Memory]:
    reader = LinearReader(ChatVLLM(base_url=models.base_url, max_retries=0))
    with Memory(reader, store=InMemoryStore()) as memory:
        yield memory


def agent(memory: Memory) -> Any:
    search = create_search_memory_tool(memory, namespace=("users", "{user_id}"))
    return create_agent(scripted(calling("Where?"), AIMessage("In Oslo."), forever=True), tools=[search])


async def ask(memory: Memory, *, use_async: bool, **options: Any) -> Any:
    if use_async:
        return await memory.aread(ANNA, "Where does Anna live?", **options)
    return memory.read(ANNA, "Where does Anna live?", **options)


both = pytest.mark.parametrize("use_async", [False, True])


# --- reads


@both
async def test_a_read_is_a_retriever_run_with_documents(
    langsmith_server: LangSmithServer, chroma: Memory, use_async: bool
) -> None:
    chroma.write(ANNA, [MemoryRecord(text="Anna lives in Oslo.", position=1, key="k1", metadata={"by": "Bob"}), "x"])
    reading = await ask(chroma, use_async=use_async, limit=1, until=4, exclude={"k9"}, filter={"kind": "episodic"})
    (run,) = langsmith_server.runs("memory.read")
    assert (run.run_type, run.error) == ("retriever", None)
    query = {"query": "Where does Anna live?", "limit": 1, "until": 4, "exclude": ["k9"]}
    assert run.inputs == {**query, "filter": {"kind": "episodic"}}
    told = {"by": "Bob", "kind": "episodic", "key": "k1", "position": 1, "score": reading.records[0].score}
    assert run.outputs == {"documents": [{"page_content": "Anna lives in Oslo.", "type": "Document", "metadata": told}]}
    metadata = {"namespace": "users/anna", "reader": "chroma", "until": 4, "found": 1}
    assert metadata.items() <= run.metadata.items()


@both
async def test_the_models_call_is_an_llm_run_below_it(
    langsmith_server: LangSmithServer, linear: Memory, use_async: bool
) -> None:
    linear.write(ANNA, [LONG, "Anna lives in Oslo."])
    linear.flush()
    reading = await ask(linear, use_async=use_async)
    assert reading.usage.cached_tokens > 1_000
    (read,) = langsmith_server.runs("memory.read")
    assert read.text() == "memory.read (retriever)\n  linear_read (llm)\n"
    (call,) = read.children
    assert {"ls_provider": "vllm", "ls_model_name": "tiny"}.items() <= call.metadata.items()
    used = call.metadata["usage_metadata"]
    tokens = {"prompt_tokens": used["input_tokens"], "cached_tokens": used["input_token_details"]["cache_read"]}
    assert {**tokens, "completion_tokens": used["output_tokens"]} == reading.usage.model_dump()
    assert reading.usage.model_dump().items() <= read.metadata.items()
    assert (read.metadata["model"], read.metadata["invented"]) == ("tiny", 0)
    assert read.outputs is not None
    assert read.outputs["text"] == reading.text
    assert [document["metadata"]["position"] for document in read.outputs["documents"]] == [1]


@both
async def test_a_reader_that_is_down_is_an_errored_run(
    langsmith_server: LangSmithServer, models: ModelServer, linear: Memory, use_async: bool
) -> None:
    linear.write(ANNA, "Anna lives in Oslo.")
    linear.flush()
    models.stop()
    with pytest.raises(ReaderUnavailable):
        await ask(linear, use_async=use_async)
    (read,) = langsmith_server.runs("memory.read")
    assert read.error is not None
    assert "ReaderUnavailable" in read.error
    assert models.base_url in read.error
    assert read.text() == "memory.read (retriever) error\n  linear_read (llm) error\n"


def test_a_namespace_that_is_none_is_refused_as_without_traces(
    langsmith_server: LangSmithServer, chroma: Memory
) -> None:
    for nobody in ((), ("langgraph", "x"), ("", "a")):
        with pytest.raises(NamespaceError):
            chroma.read(nobody, "who?")
    assert langsmith_server.runs() == []


def test_a_label_with_a_slash_is_told_from_two(langsmith_server: LangSmithServer, chroma: Memory) -> None:
    for namespace in (("a", "b"), ("a/b",), ("[a",)):
        chroma.write(namespace, "x")
    told = [run.metadata["namespace"] for run in langsmith_server.runs("memory.write")]
    assert told == ["a/b", '["a/b"]', '["[a"]']


# --- writes and forgetting


@both
async def test_a_write_is_a_run_with_keys_and_counts(
    langsmith_server: LangSmithServer, chroma: Memory, use_async: bool
) -> None:
    records = [MemoryRecord(text=f"Day {day}.", position=day, key=f"k{day}") for day in range(150)]
    keys = await chroma.awrite(ANNA, records) if use_async else chroma.write(ANNA, records)
    (run,) = langsmith_server.runs()
    assert (run.name, run.run_type, run.metadata["records"]) == ("memory.write", "chain", 150)
    assert run.outputs == {"keys": keys[:100]}
    assert run.inputs["records"][7]["text"] == "Day 7."
    assert len(run.inputs["records"]) == 100
    assert run.metadata["namespace"] == "users/anna"


@both
async def test_forgetting_is_a_run_with_its_receipt(
    langsmith_server: LangSmithServer, chroma: Memory, use_async: bool
) -> None:
    chroma.write(ANNA, TOLD)
    asked = ["k3", "k4"]
    receipt = await chroma.aforget(ANNA, asked) if use_async else chroma.forget(ANNA, asked)
    chroma.forget(ANNA)
    some, all = langsmith_server.runs("memory.forget")
    assert (some.inputs, all.inputs) == ({"keys": asked}, {"keys": "all"})
    assert some.outputs == receipt.model_dump(mode="json", exclude={"namespace", "reader"})
    assert (some.outputs["forgotten"], some.outputs["unknown"]) == (["k3"], ["k4"])


def test_what_follows_a_write_is_no_run_of_anybody(
    langsmith_server: LangSmithServer, models: ModelServer, linear: Memory
) -> None:
    def work(text: str) -> str:
        linear.write(ANNA, text)
        linear.flush()
        return linear.read(ANNA, "Where?").text

    RunnableLambda(work, name="around").invoke(LONG)
    assert models.asked("prime")
    assert langsmith_server.text() == (
        "around (chain)\n  memory.write (chain)\n  memory.read (retriever)\n    linear_read (llm)\n"
    )


def test_indexing_that_is_traced_is_no_part_of_the_run_that_wrote(
    langsmith_server: LangSmithServer, tmp_path: Path
) -> None:
    reader = ChromaReader(tmp_path, embeddings=TracedEmbeddings(256))
    with Memory(reader, store=InMemoryStore()) as memory:

        def work(text: str) -> str:
            memory.write(ANNA, text)
            memory.flush()
            return memory.read(ANNA, "Who sings?").text

        RunnableLambda(work, name="around").invoke("Anna sings.")
    around, index = sorted(langsmith_server.roots(), key=lambda run: run.name)
    assert around.text() == "around (chain)\n  memory.write (chain)\n  memory.read (retriever)\n    query (embedding)\n"
    assert index.text() == "index (embedding)\n"


# --- in graphs


@both
async def test_an_agents_read_is_below_its_tools_run(
    langsmith_server: LangSmithServer, linear: Memory, use_async: bool
) -> None:
    linear.write(ANNA, ["x", "Anna lives in Oslo."])
    langsmith_server.clear()
    asked: Any = {"messages": [HumanMessage("Where?")]}
    config: Any = {"configurable": {"user_id": "anna", "thread_id": "thread-7"}}
    if use_async:
        await agent(linear).ainvoke(asked, config)
    else:
        agent(linear).invoke(asked, config)
    (root,) = langsmith_server.roots()
    (tool,) = root.within("search_memory")
    assert tool.text() == "search_memory (tool)\n  memory.read (retriever)\n    linear_read (llm)\n"
    for run in (tool.children[0], *tool.within("linear_read")):
        assert {"thread_id": "thread-7", "user_id": "anna", "namespace": "users/anna"}.items() <= run.metadata.items()


def test_what_a_model_writes_is_below_its_tools_run(langsmith_server: LangSmithServer, chroma: Memory) -> None:
    manage = create_manage_memory_tool(chroma, namespace=ANNA)
    manage.invoke({"content": "Anna sings.", "action": "create"})
    assert langsmith_server.text() == "manage_memory (tool)\n  memory.write (chain)\n"


def test_no_trace_of_one_namespace_holds_what_another_has(langsmith_server: LangSmithServer, linear: Memory) -> None:
    words = {ANNA: "aquamarine", BOB: "burgundy"}
    for namespace, word in words.items():
        linear.write(namespace, [f"My colour is {word}."] * 3)

    def work(number: int) -> None:
        namespace = (ANNA, BOB)[number % 2]
        RunnableLambda[str, Reading](partial(linear.read, namespace), name=namespace[1]).invoke("Colour?")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(24)))
    runs = langsmith_server.runs()
    assert sum(run.name == "linear_read" for run in runs) == 24
    for namespace, other in ((ANNA, BOB), (BOB, ANNA)):
        traces = [root for root in langsmith_server.roots() if root.name == namespace[1]]
        below = [run for root in traces for run in (*root.within("memory.read"), *root.within("linear_read"))]
        assert len(below) == 24
        assert all(words[namespace] in str(run.fields) for run in below if run.name == "linear_read")
        assert not [run for run in below if words[other] in str(run.fields)]
        assert {run.metadata["namespace"] for run in below} == {f"users/{namespace[1]}"}


# --- contents left out


@pytest.fixture
def silent(tmp_path: Path, models: ModelServer) -> Iterator[Callable[[str], Memory]]:
    """Memories that leave contents out, by reader."""
    opened: list[Memory] = []
    models.says = f"It is {SECRET} [3]."
    vllm = ChatVLLM(base_url=models.base_url, max_retries=0)
    makers: dict[str, Callable[[], Memory]] = {
        "chroma": lambda: Memory.open(tmp_path / "m", embeddings=LexicalEmbeddings(), trace_content=False),
        "linear": lambda: Memory(LinearReader(vllm), store=InMemoryStore(), trace_content=False),
        "other": lambda: Memory(
            LinearReader(scripted(f"It is {SECRET} [3].", forever=True)), store=InMemoryStore(), trace_content=False
        ),
        "failing": lambda: Memory(
            LinearReader(scripted(RuntimeError(SECRET))), store=InMemoryStore(), trace_content=False
        ),
    }

    def make(reader: str) -> Memory:
        opened.append(makers[reader]())
        return opened[-1]

    yield make
    for memory in opened:
        memory.close()


def read_with(memory: Memory, question: str) -> None:
    memory.read(ANNA, question, filter={"of": f"{SECRET}_meta"}, until=5)


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("reader", ["chroma", "linear", "other"])
def test_contents_can_be_left_out(
    langsmith_server: LangSmithServer, silent: Callable[[str], Memory], reader: str, within: bool
) -> None:
    memory = silent(reader)

    def work(_: str) -> str:
        memory.write(ANNA, TOLD)
        memory.flush()
        read_with(memory, f"Is {SECRET} the word?")
        memory.forget(ANNA, ["k3"])
        return "done"

    if within:
        RunnableLambda(work, name="around").invoke("go")
    else:
        work("go")
    names = [run.name for run in langsmith_server.runs()]
    model = [] if reader == "chroma" else ["linear_read"]
    assert names == [*(["around"] if within else []), "memory.write", "memory.read", *model, "memory.forget"]
    assert SECRET.encode() not in b"".join(langsmith_server.received)
    (read,) = langsmith_server.runs("memory.read")
    (document,) = (read.outputs or {})["documents"]
    assert read.inputs == {"until": 5}
    assert (document["page_content"], document["metadata"]["key"], document["metadata"]["position"]) == ("", "k3", 3)
    assert read.metadata["namespace"] == "users/anna"
    (write,) = langsmith_server.runs("memory.write")
    assert write.inputs == {"records": [{"position": 3, "key": "k3"}]}


@pytest.mark.parametrize("reader", ["linear", "other"])
async def test_contents_can_be_left_out_of_what_is_read_side_by_side(
    langsmith_server: LangSmithServer, silent: Callable[[str], Memory], linear: Memory, reader: str
) -> None:
    memory = silent(reader)
    await memory.awrite(ANNA, TOLD)
    await linear.awrite(BOB, "Bob sings.")

    async def work(_: str) -> str:
        silently = [memory.aread(ANNA, f"Is {SECRET} the word?") for _ in range(3)]
        await asyncio.gather(*silently, linear.aread(BOB, "Who sings?"))
        return "done"

    await RunnableLambda[str, str](work, name="around").ainvoke("go")
    (root,) = langsmith_server.runs("around")
    assert [child.text() for child in root.children] == ["memory.read (retriever)\n  linear_read (llm)\n"] * 4
    for read in root.children:
        told = str([read.fields, read.children[0].fields])
        is_loud = read.metadata["namespace"] == "users/bob"
        assert ("sings" in told, SECRET in told) == (is_loud, is_loud)


def test_a_model_is_named_and_its_tokens_are_counted_without_contents(
    langsmith_server: LangSmithServer, silent: Callable[[str], Memory]
) -> None:
    memory = silent("linear")
    memory.write(ANNA, [LONG, TOLD])
    memory.flush()
    usage = memory.read(ANNA, SECRET).usage
    (call,) = langsmith_server.runs("linear_read")
    assert {"ls_provider": "vllm", "ls_model_name": "tiny"}.items() <= call.metadata.items()
    used = call.metadata["usage_metadata"]
    assert used["input_token_details"]["cache_read"] == usage.cached_tokens > 1_000
    assert (call.run_type, call.inputs, call.outputs or {}) == ("llm", {}, {})


def test_an_error_may_quote_so_only_its_name_is_sent(
    langsmith_server: LangSmithServer, silent: Callable[[str], Memory]
) -> None:
    memory = silent("failing")
    memory.write(ANNA, TOLD)
    with pytest.raises(ReaderUnavailable, match=SECRET):
        memory.read(ANNA, "?")
    (read,) = langsmith_server.runs("memory.read")
    (call,) = read.children
    assert (read.error, call.error) == ("ReaderUnavailable", "ReaderUnavailable")
    assert SECRET.encode() not in b"".join(langsmith_server.received)


def test_the_contents_are_there_unless_they_are_left_out(langsmith_server: LangSmithServer, linear: Memory) -> None:
    linear.write(ANNA, TOLD)
    linear.flush()
    read_with(linear, f"Is {SECRET} the word?")
    for name in ("memory.write", "memory.read", "linear_read"):
        (run,) = langsmith_server.runs(name)
        assert SECRET in str(run.fields)
    assert SECRET.encode() in b"".join(langsmith_server.received)


# --- on and off


def test_nothing_is_sent_when_tracing_is_off(langsmith_server: LangSmithServer, chroma: Memory, linear: Memory) -> None:
    with tracing_context(enabled=False):
        for memory in (chroma, linear):
            memory.write(ANNA, "Anna lives in Oslo.")
            memory.read(ANNA, "Where?")
            memory.forget(ANNA)
    assert langsmith_server.roots() == []
    assert langsmith_server.received == []
