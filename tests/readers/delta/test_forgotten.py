"""What is forgotten is nowhere: not in a file that is being written, and not in memory."""

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import DeltaReader, Memory, MemoryRecord
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.readers._delta.files import Files
from linmem_langgraph.readers._delta.index import DeltaIndex
from linmem_langgraph.readers._delta.keys import Array
from linmem_langgraph.readers._delta.state import State
from tests.readers.delta.conftest import NAMESPACE, notes, reader_of, states


@pytest.mark.parametrize("forgotten", [["k7"], None])
def test_not_in_what_another_process_was_saving(
    folder: Path, monkeypatch: pytest.MonkeyPatch, forgotten: list[str] | None
) -> None:
    """It looked at the log before the log forgot, and its file comes after."""
    log = Log(InMemoryStore(), NAMESPACE)
    writer, other = (DeltaReader(folder / "delta", embeddings=LexicalEmbeddings(64), values=64) for _ in range(2))
    _, change = log.write(MemoryRecord(text=text, key=f"k{number}") for number, text in enumerate(notes(0, 300)))
    assert change is not None
    forgets = Thread(target=lambda: other.forget(log, forgotten, log.remove(forgotten)))
    plain = Files.save

    def save(files: Files, state: State, checkpoint: bool) -> None:
        forgets.start()
        forgets.join(0.5)
        plain(files, state, checkpoint)

    monkeypatch.setattr(Files, "save", save)
    writer.update(log, change)
    forgets.join()
    assert states(folder) == []


@pytest.mark.parametrize("whole", [False, True])
def test_not_in_what_a_killed_process_has_left(memory: Memory, folder: Path, whole: bool) -> None:
    keys = memory.write(NAMESPACE, notes(0, 3))
    memory.flush()
    (file,) = states(folder)
    left = Path(shutil.copy(file, file.with_name(f"{file.stem}.{uuid4().hex}.partial")))
    of_another = Path(shutil.copy(file, file.with_name(f"linmem-{48 * '0'}.{uuid4().hex}.partial")))
    memory.forget(NAMESPACE, None if whole else keys[0])
    assert not left.exists()
    assert of_another.exists()


@pytest.mark.parametrize("forgotten", ["k7", None])
def test_not_in_the_memory_of_another_process_that_has_read_since(
    open_delta: Callable[..., Memory], forgotten: str | None
) -> None:
    this, other = open_delta(), open_delta()
    this.write(NAMESPACE, [MemoryRecord(text=text, key=f"k{number}") for number, text in enumerate(notes(0, 12))])
    for memory in (this, other):
        memory.read(NAMESPACE, "topic7")
        memory.read(NAMESPACE, "topic7", until=9)
    (index,) = reader_of(this)._indexes.values()
    (vector,) = index._vectors.of([MemoryRecord(text=notes(7, 8)[0], key="k7")])
    assert holds(index, vector)
    other.forget(NAMESPACE, forgotten)
    other.write(NAMESPACE, "something else")
    this.read(NAMESPACE, "topic7", until=3)
    assert not holds(index, vector)


def test_not_in_a_process_that_has_found_the_log_empty(open_delta: Callable[..., Memory]) -> None:
    this, other = open_delta(), open_delta()
    this.write(NAMESPACE, notes(0, 3))
    this.read(NAMESPACE, "topic1")
    other.forget(NAMESPACE)
    assert this.read(NAMESPACE, "topic1").records == ()
    assert not reader_of(this)._indexes


def holds(index: DeltaIndex, vector: Array) -> bool:
    """Whether an index has the seventh record, or its vector among others, anywhere."""
    kept = [row if row.base is None else row.base for _, row in index._vectors._kept.values()]
    states = [state for state in (index._state, index._bounded) if state]
    return (
        "k7" in {*index._vectors._kept, *index._codes._keys, *index._listing.keys}
        or any((row == vector).all(axis=-1).any() for row in kept)
        or any(state.chain not in index._listing.chain for state in states)
        or any(chain not in index._listing.chain for chain in index._decoded)
    )
