"""linmem-tiny in `LinearReader`: primed by reading on, its states kept, forgotten and never another's."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.store.memory import InMemoryStore

from evals.benchmarks import household
from evals.config import ReaderConfig
from evals.readers import configured_reader
from evals.tiny.chat import TinyChatModel
from evals.tiny.runtime import Runtime, followed_by
from linmem_langgraph import (
    ConfigError,
    HybridReader,
    LinearReader,
    Memory,
    MemoryRecord,
    ReaderUnavailable,
    RollingReader,
    UnsafeFile,
)
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.view import View

pytestmark = pytest.mark.timeout(600)

HOME = household.load(None).memories["home_00"][:40]
QUESTION = "Where is Noah?"
SALTS = ("a", "ab", "a.npz", "a.npz.b", "*", "[a]")


def remember(folder: Path, states: Path | None = None, **options: Any) -> Memory:
    reader = LinearReader(TinyChatModel(folder=folder, states=states), max_tokens=8, **options)
    return Memory(reader, store=InMemoryStore())


def test_a_primed_read_reads_only_the_question_and_says_the_same(untaught_folder: Path, namespace: Namespace) -> None:
    with remember(untaught_folder) as primed, remember(untaught_folder, prime="off") as anew:
        for memory in (primed, anew):
            memory.write(namespace, HOME)
            memory.flush()
        for until in (None, 3, 11, 3, None):
            one, other = (memory.read(namespace, QUESTION, until=until) for memory in (primed, anew))
            assert one.text == other.text
            assert other.usage.cached_tokens == 0
        assert one.usage.prompt_tokens - one.usage.cached_tokens < 15
        assert one.model == other.model == "linmem-tiny-hybrid"


def test_a_memory_that_grows_is_read_on_from_where_it_was(untaught_folder: Path) -> None:
    model = TinyChatModel(folder=untaught_folder)
    lines = [f"[{place}] Noah enters the kitchen.\n" for place in range(9)]
    whole = [HumanMessage("MEMORY:\n" + "".join(lines))]
    assert model.prime([HumanMessage("MEMORY:\n" + "".join(lines[:6]))], cache_salt="a").cached_tokens == 0
    grown = model.prime(whole, cache_salt="a")
    assert 0 < grown.cached_tokens < grown.prompt_tokens
    assert model.prime(whole, cache_salt="a").cached_tokens == grown.prompt_tokens
    assert model.prime(whole, cache_salt="another").cached_tokens == 0


def test_a_state_is_found_by_the_next_process(untaught_folder: Path, tmp_path: Path) -> None:
    prompt = [HumanMessage("MEMORY:\n[0] Noah enters the kitchen.\n")]
    asked = [HumanMessage(f"{prompt[0].content}\nQuestion: {QUESTION}")]
    said = []
    for _ in range(2):
        model = TinyChatModel(folder=untaught_folder, states=tmp_path)
        model.prime(prompt, cache_salt="a")
        said.append(model.invoke(asked, cache_salt="a", max_tokens=5))
    del model
    third = TinyChatModel(folder=untaught_folder, states=tmp_path).invoke(asked, cache_salt="a", max_tokens=5)
    assert {message.content for message in [*said, third]} == {said[0].content}
    assert isinstance(third, AIMessage)
    assert third.usage_metadata is not None
    assert third.usage_metadata["input_token_details"]["cache_read"] > 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


KILLED = """
import os, signal, sys
from pathlib import Path

from langchain_core.messages import HumanMessage

from evals.tiny.chat import TinyChatModel

folder, states, when = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
model = TinyChatModel(folder=folder, states=states)
model.prime([HumanMessage(sys.argv[4])], cache_salt="a")
end = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if when == "while it saves more":
    Path.replace = end
    model.prime([HumanMessage(sys.argv[4] + "[1] Noah enters the hall.\\n")], cache_salt="a")
end()
"""


@pytest.mark.parametrize("when", ["when it has saved", "while it saves more"])
def test_a_process_that_is_killed_loses_no_state(untaught_folder: Path, tmp_path: Path, when: str) -> None:
    told = "MEMORY:\n[0] Noah enters the kitchen.\n"
    arguments = [str(untaught_folder), str(tmp_path), when, told]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    asked = [HumanMessage(f"{told}\nQuestion: {QUESTION}")]
    said = TinyChatModel(folder=untaught_folder, states=tmp_path).invoke(asked, cache_salt="a", max_tokens=5)
    assert said.content == TinyChatModel(folder=untaught_folder).invoke(asked, max_tokens=5).content
    assert isinstance(said, AIMessage)
    assert said.usage_metadata is not None
    assert said.usage_metadata["input_token_details"]["cache_read"] > 5
    TinyChatModel(folder=untaught_folder, states=tmp_path).forget("a")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "another model", "another format", "another shape"])
def test_a_state_that_is_damaged_or_anothers_is_refused_and_made_again(
    untaught_folder: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = [HumanMessage("MEMORY:\n[0] Noah enters the kitchen.\n")]
    wanted = TinyChatModel(folder=untaught_folder).invoke(prompt, max_tokens=5).content
    file, runtime = tmp_path / "a.npz", Runtime(untaught_folder)
    state = runtime.read(runtime.empty(), [1, 2, 3])
    with monkeypatch.context() as patched:
        if damage == "another model":
            patched.setattr(runtime, "fingerprint", "0" * 64)
        elif damage == "another format":
            patched.setattr("evals.tiny.runtime.FORMAT", 2)
        elif damage == "another shape":
            state = state._replace(parts=tuple(part[..., :1] for part in state.parts))
        runtime.save(state, file)
    content = file.read_bytes()
    file.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"a state"}.get(damage, content))
    with pytest.raises(UnsafeFile, match=r"a\.npz .*delete it"):
        Runtime(untaught_folder).load(file)
    model = TinyChatModel(folder=untaught_folder, states=tmp_path)
    assert model.invoke(prompt, cache_salt="a", max_tokens=5).content == wanted
    model.prime(prompt, cache_salt="a")
    assert Runtime(untaught_folder).load(file).tokens > 3


def test_a_state_of_another_transcript_is_not_gone_on_from(untaught_folder: Path, tmp_path: Path) -> None:
    kitchen, hall = ([HumanMessage(f"MEMORY:\n[0] Noah enters the {room}.\n")] for room in ("kitchen", "hall"))
    TinyChatModel(folder=untaught_folder, states=tmp_path).prime(kitchen, cache_salt="a")
    model = TinyChatModel(folder=untaught_folder, states=tmp_path)
    assert model.prime(hall, cache_salt="a").cached_tokens == 0
    wanted = TinyChatModel(folder=untaught_folder).invoke(hall, max_tokens=5)
    assert model.invoke(hall, cache_salt="a", max_tokens=5).content == wanted.content


@given(st.lists(st.integers(0, 300), max_size=30), st.integers(0, 30))
@settings(max_examples=15, deadline=None)
def test_a_state_is_a_value(
    untaught_folder: Path, tmp_path_factory: pytest.TempPathFactory, tokens: list[int], at: int
) -> None:
    """Cut anywhere, saved and loaded, it goes on as if never cut; and going on from it leaves it as it is."""
    runtime, file = Runtime(untaught_folder), tmp_path_factory.mktemp("states") / "state.npz"
    whole = runtime.read(runtime.empty(), tokens)
    runtime.save(runtime.read(runtime.empty(), tokens[:at]), file)
    cut = runtime.load(file)
    for _ in range(2):
        found = runtime.read(cut, tokens[at:])
        assert (found.tokens, found.transcript) == (whole.tokens, whole.transcript)
        assert [found.transcript] == ["", *followed_by("", tokens)][-1:]
        assert all(np.array_equal(one, other) for one, other in zip(found.parts, whole.parts, strict=True))
    assert [path.name for path in file.parent.iterdir()] == ["state.npz"]


def test_a_save_that_fails_leaves_the_state_that_was(
    untaught_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, file = Runtime(untaught_folder), tmp_path / "state.npz"
    runtime.save(runtime.read(runtime.empty(), [1]), file)

    def fail(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        runtime.save(runtime.read(runtime.empty(), [1, 2]), file)
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    assert runtime.load(file).tokens == 1


@pytest.mark.parametrize("forgotten", SALTS)
def test_forgetting_leaves_the_files_of_others(untaught_folder: Path, tmp_path: Path, forgotten: str) -> None:
    model = TinyChatModel(folder=untaught_folder, states=tmp_path)
    for salt in SALTS:
        for end in ("", f".{uuid4().hex}.new"):
            (tmp_path / f"{salt}.npz{end}").touch()
    model.forget(forgotten)
    assert len([*tmp_path.iterdir()]) == 2 * (len(SALTS) - 1)
    assert all((tmp_path / f"{salt}.npz").exists() for salt in SALTS if salt != forgotten)


def test_what_is_forgotten_while_it_is_saved_is_gone(
    untaught_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TinyChatModel(folder=untaught_folder, states=tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: model.forget("a"))
    model.prime([HumanMessage("MEMORY:\n[0] Noah enters the kitchen.\n")], cache_salt="a")
    assert [*tmp_path.iterdir()] == []


def test_only_the_state_of_attention_grows(untaught_folder: Path) -> None:
    runtime = Runtime(untaught_folder)
    few, many = (runtime.read(runtime.empty(), [7] * count) for count in (10, 110))
    fixed = [one.shape == other.shape for one, other in zip(few.parts, many.parts, strict=True)]
    assert fixed == [True] * 6 + [False] * 2
    assert many.bytes - few.bytes == 100 * 2 * 64 * 4  # a key and a value of 64 numbers of 4 bytes a token


def test_what_is_forgotten_leaves_no_state(untaught_folder: Path, tmp_path: Path, namespace: Namespace) -> None:
    with remember(untaught_folder, tmp_path) as memory:
        memory.write(namespace, HOME)
        memory.write(("another",), HOME)
        memory.flush()
        assert len([*tmp_path.iterdir()]) == 2
        memory.forget(namespace)
        assert len([*tmp_path.iterdir()]) == 1
        memory.write(namespace, HOME[:20])
        memory.flush()
        assert memory.read(namespace, QUESTION).usage.prompt_tokens < 400


@pytest.mark.parametrize("at", ["prime", "read"])
def test_a_read_that_was_under_way_leaves_no_state_of_what_was_forgotten(
    untaught_folder: Path, tmp_path: Path, namespace: Namespace, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    begun, go = Event(), Event()
    name = {"prime": "prime", "read": "_generate"}[at]
    whole: Any = getattr(TinyChatModel, name)

    def waiting(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert go.wait(30)
        return whole(*args, **kwargs)

    with remember(untaught_folder, tmp_path) as memory, ThreadPoolExecutor(1) as other:
        memory.write(namespace, HOME)
        memory.flush()
        memory.read(namespace, QUESTION)
        with monkeypatch.context() as patched:
            patched.setattr(TinyChatModel, name, waiting)
            reading = other.submit(memory.read, namespace, QUESTION, until=19)
            assert begun.wait(30)
            memory.forget(namespace)
            go.set()
            assert reading.result(timeout=60).text
        assert_no_states(memory, tmp_path)


def test_a_view_that_was_being_made_leaves_no_state_of_what_was_forgotten(
    untaught_folder: Path, tmp_path: Path, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, go, whole = Event(), Event(), View.of

    def waiting(log: Log) -> View:
        view = whole(log)
        made.set()
        assert go.wait(30)
        return view

    with remember(untaught_folder, tmp_path) as memory, ThreadPoolExecutor(1) as other:
        memory.write(namespace, HOME)
        memory.flush()
        with remember(untaught_folder, tmp_path) as another:  # another process, that has no view yet
            another = Memory(another.reader, store=memory.store)
            with monkeypatch.context() as patched:
                patched.setattr(View, "of", waiting)
                reading = other.submit(another.read, namespace, QUESTION)
                assert made.wait(30)
            another.forget(namespace)
            go.set()
            assert reading.result(timeout=60).text
            assert_no_states(another, tmp_path)


def assert_no_states(memory: Memory, folder: Path) -> None:
    assert isinstance(memory.reader, LinearReader)
    model = memory.reader._model._model
    assert isinstance(model, TinyChatModel)
    assert not model._kept
    assert [*folder.iterdir()] == []


def test_other_memories_keep_their_states_however_many_there_are(
    untaught_folder: Path, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linmem_langgraph.readers._linear.views.MOST", 1)
    with remember(untaught_folder) as memory:
        for name in (namespace, ("another",)):
            memory.write(name, HOME)
            memory.flush()
        memory.read(namespace, QUESTION)
        memory.read(("another",), QUESTION)
        assert memory.read(namespace, QUESTION).usage.cached_tokens > 0


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("The ferry to Oslo leaves at dawn.", "'ferry'"),
        (MemoryRecord(text="Noah enters the kitchen.", position=128), "128"),
    ],
)
def test_what_is_not_its_language_is_refused(
    untaught_folder: Path, namespace: Namespace, record: MemoryRecord, said: str
) -> None:
    with remember(untaught_folder, prime="off") as memory:
        memory.write(namespace, [record])
        with pytest.raises(ReaderUnavailable, match=rf"positions up to \[127\], and nothing else: .*{said}"):
            memory.read(namespace, QUESTION)


def test_what_it_was_not_taught_to_do_is_refused(untaught_folder: Path, namespace: Namespace) -> None:
    by = {
        "keep a note": RollingReader(TinyChatModel(folder=untaught_folder), segment_tokens=64, note_tokens=64),
        "was read alone": HybridReader(
            TinyChatModel(folder=untaught_folder),
            embeddings=LexicalEmbeddings(),
            mode="routed",
            segment_tokens=64,
            budget_tokens=128,
        ),
    }
    for task, reader in by.items():
        with Memory(reader, store=InMemoryStore()) as memory:
            memory.write(namespace, HOME)
            with pytest.raises(ReaderUnavailable, match=f"was not taught this one: .*{task}"):
                memory.read(namespace, QUESTION)


def test_namespaces_do_not_find_each_others_states(untaught_folder: Path, namespace: Namespace) -> None:
    with remember(untaught_folder) as memory:
        memory.write(namespace, HOME)
        memory.flush()
        memory.write(("another",), HOME)
        assert memory.read(("another",), QUESTION, filter={"position": {"$lte": 100}}).usage.cached_tokens == 0


def test_a_config_names_the_model(untaught_folder: Path, tmp_path: Path, namespace: Namespace) -> None:
    config = ReaderConfig(name="linear", options={"model": f"tiny:{untaught_folder}", "max_tokens": 4})
    with Memory(configured_reader(config, tmp_path), store=InMemoryStore()) as memory:
        memory.write(namespace, HOME)
        assert memory.read(namespace, QUESTION).model == "linmem-tiny-hybrid"
    unknown = ReaderConfig(name="linear", options={"model": "tiny:large"})
    with pytest.raises(ConfigError, match=r"there is no linmem-tiny 'large': choose .*or the folder of one"):
        configured_reader(unknown, tmp_path)
