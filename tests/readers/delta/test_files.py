"""What is kept on disk: little, of constant size, without texts, and never trusted blindly."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, DeltaReader, Memory, MemoryRecord, ReaderUnavailable
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.readers._delta.files import _digest
from linmem_langgraph.readers._delta.state import marks
from linmem_langgraph.testing.readers import essence
from tests.fakes import CountingEmbeddings, WaitingEmbeddings
from tests.readers.delta.conftest import NAMESPACE, forget_what_is_in_memory, notes, states


def test_the_state_is_as_large_after_many_records_as_after_few(memory: Memory, folder: Path) -> None:
    memory.write(NAMESPACE, notes(0, 2))
    memory.flush()
    (after_few,) = states(folder)
    few = after_few.stat().st_size
    memory.write(NAMESPACE, notes(2, 300))
    memory.flush()
    memory.write(NAMESPACE, notes(300, 3_000))
    memory.flush()
    assert {file.name.split(".")[1] for file in states(folder)} == {"1024", "2048", "delta"}
    sizes = [file.stat().st_size for file in states(folder)]
    # Its numbers: 32 bits for 64 x 64, 64 bits for half a symmetric 64 x 64 and the sum of the vectors.
    assert 0 < few - (4 * 64 * 64 + 8 * (64 * 65 // 2) + 8 * 64) < 500
    assert max(sizes) - few < 10


@pytest.mark.parametrize("most", [0, 1, 4, 5])
def test_checkpoints_are_few_and_evenly_spaced(most: int) -> None:
    for count in (0, 1, 255, 256, 300, 1_024, 1_300, 5_000, 123_456):
        found = marks(count, most)
        assert len(found) <= most
        assert set(found) <= set(range(256, count + 1, 256))
        assert not found or count - found[-1] < found.step
        # None is made that was thinned out before.
        assert set(marks(count, most)) <= set(marks(count - 1, most)) | {count}


def test_it_can_be_told_to_keep_no_checkpoints(open_delta: Callable[..., Memory], folder: Path) -> None:
    memory = open_delta(checkpoints=0)
    memory.write(NAMESPACE, notes(0, 600))
    memory.flush()
    assert len(states(folder)) == 1
    read = [hit.record.text for hit in memory.read(NAMESPACE, "topic17", until=100, limit=600).records]
    assert sorted(read) == sorted(notes(0, 101))


def test_a_checkpoint_is_left_while_others_write(folder: Path) -> None:
    log = Log(InMemoryStore(), NAMESPACE)
    reader = DeltaReader(folder / "delta", embeddings=LexicalEmbeddings(64), values=64)
    _, change = log.write(MemoryRecord(text=text, key=f"k{number}") for number, text in enumerate(notes(0, 600)))
    assert change is not None
    log.write([MemoryRecord(text="one more")])
    log.write([MemoryRecord(text="topic300 was changed", key="k300")])
    reader.update(log, change)
    assert [file.name.split(".")[1] for file in states(folder)] == ["256"]


def test_a_write_does_not_look_through_the_folder(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.write(NAMESPACE, notes(0, 300))
    memory.flush()
    with monkeypatch.context() as looked:
        looked.setattr(Path, "glob", _is_not_called)
        memory.write(NAMESPACE, notes(300, 400))
        memory.flush()


def _is_not_called(*given: Any) -> None:
    raise AssertionError("the folder was looked through")


def test_a_thing_in_the_way_of_a_checkpoint_is_named(memory: Memory, folder: Path) -> None:
    memory.write(NAMESPACE, notes(0, 3))
    memory.flush()
    (file,) = states(folder)
    file.with_name(f"{file.stem}.77.delta").mkdir()
    forget_what_is_in_memory(memory)
    memory.write(NAMESPACE, "one more")
    with pytest.raises(ReaderUnavailable, match=r"delta.*cannot be written.*77"):
        memory.flush()


def test_no_text_key_or_namespace_is_in_a_file(memory: Memory, folder: Path) -> None:
    keys = memory.write(NAMESPACE, notes(0, 300))
    memory.flush()
    assert len(states(folder)) == 2
    for file in states(folder):
        data = file.read_bytes()
        assert b"topic" not in data
        assert b"anna" not in data
        assert "anna" not in file.name
        assert not any(key.encode() in data for key in keys)


def test_another_process_goes_on_from_the_file(open_delta: Callable[..., Memory]) -> None:
    first = open_delta()
    first.write(NAMESPACE, notes(0, 20))
    before = essence(first.read(NAMESPACE, "topic7"))
    counting = CountingEmbeddings(64)
    second = open_delta(embeddings=_named(counting))
    assert essence(second.read(NAMESPACE, "topic7")) == before
    assert counting.documents == 0
    second.write(NAMESPACE, notes(20, 25))
    assert second.read(NAMESPACE, "topic23").records[0].record.text == notes(23, 24)[0]
    assert counting.documents == 5
    assert first.read(NAMESPACE, "topic23").records[0].record.text == notes(23, 24)[0]


def _named(counting: CountingEmbeddings) -> LexicalEmbeddings:
    """The same under the name of what it counts: names tell states apart."""
    counting.__class__ = type("LexicalEmbeddings", (CountingEmbeddings,), {})
    return counting


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1_000] ^= 1
    file.write_bytes(data)


def _other_count(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"count": 30', b'"count": 29'))


def _later_format(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"state 1\n", b"state 2\n", 1))


def _deep(file: Path) -> None:
    file.write_bytes(b"linmem delta state 1\n%s\n" % (b"[" * 100_000))


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _forged(header: Any) -> Callable[[Path], None]:
    def forge(file: Path) -> None:
        made = {**header, "digest": _digest(header, b"")} if isinstance(header, dict) else header
        file.write_bytes(b"linmem delta state 1\n%s\n" % json.dumps(made).encode())

    return forge


@pytest.mark.parametrize(
    "damage",
    [_cut, _empty, _flip, _other_count, _later_format, _deep, _forged({}), _forged([]), _forged(7), _forged("digest")],
)
def test_a_damaged_file_is_made_anew(memory: Memory, folder: Path, damage: Callable[[Path], None]) -> None:
    memory.write(NAMESPACE, notes(0, 30))
    before = essence(memory.read(NAMESPACE, "topic7"))
    (file,) = states(folder)
    whole = file.read_bytes()
    forget_what_is_in_memory(memory)
    damage(file)
    assert essence(memory.read(NAMESPACE, "topic7")) == before
    assert file.read_bytes() == whole


def test_a_file_of_the_right_set_up_and_a_wrong_body_is_made_anew(memory: Memory, folder: Path) -> None:
    memory.write(NAMESPACE, notes(0, 30))
    before = essence(memory.read(NAMESPACE, "topic7"))
    (file,) = states(folder)
    whole = file.read_bytes()
    header = json.loads(whole.split(b"\n", 2)[1])
    for changed in ({"dimension": 63}, {"dimension": 10**12}, {"dimension": "64"}, {"dimension": -1}, {"chain": "x"}):
        forget_what_is_in_memory(memory)
        forged = {name: value for name, value in {**header, **changed}.items() if name != "digest"}
        _forged(forged)(file)
        assert essence(memory.read(NAMESPACE, "topic7")) == before
        assert file.read_bytes() == whole


def test_a_state_of_other_records_is_not_used(memory: Memory, folder: Path) -> None:
    other = ("users", "bert")
    memory.write(NAMESPACE, notes(0, 30))
    memory.flush()
    (of_anna,) = states(folder)
    memory.write(other, notes(30, 60))
    before = essence(memory.read(other, "topic37"))
    (of_bert,) = set(states(folder)) - {of_anna}
    forget_what_is_in_memory(memory)
    shutil.copy(of_anna, of_bert)
    assert essence(memory.read(other, "topic37")) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rule": "delta"}, "'rule': 'delta'"),
        ({"values": 128}, "'values': 128"),
        ({"options": {"ridge": 3.0}}, "'ridge': 3.0"),
        ({"embeddings": LexicalEmbeddings(128)}, "LexicalEmbeddings:128"),
    ],
)
def test_a_state_of_another_set_up_is_refused_until_rebuilt(
    open_delta: Callable[..., Memory], options: dict[str, Any], named: str
) -> None:
    first = open_delta()
    first.write(NAMESPACE, notes(0, 10))
    first.flush()
    second = open_delta(**options)
    with pytest.raises(ConfigError, match=rf"{named}.*memory\.rebuild\(\('users', 'anna'\)\)"):
        second.read(NAMESPACE, "topic7")
    second.write(NAMESPACE, "one more")
    with pytest.raises(ConfigError, match="rebuild"):
        second.flush()
    second.rebuild(NAMESPACE)
    assert second.read(NAMESPACE, "topic7").records[0].record.text == notes(7, 8)[0]


def test_an_embedding_that_changes_its_size_is_refused(open_delta: Callable[..., Memory]) -> None:
    embeddings = LexicalEmbeddings(64)
    memory = open_delta(embeddings=embeddings)
    memory.write(NAMESPACE, notes(0, 10))
    memory.read(NAMESPACE, "topic7")
    embeddings.dimensions = 72
    with pytest.raises(ConfigError, match=r"64 dimensions, the embedding gives 72.*rebuild"):
        memory.read(NAMESPACE, "topic7")
    memory.write(NAMESPACE, "one more")
    with pytest.raises(ConfigError, match="64 dimensions"):
        memory.flush()


def test_an_embedding_that_changes_its_size_is_refused_beside_vectors_kept(open_delta: Callable[..., Memory]) -> None:
    embeddings = LexicalEmbeddings(64)
    memory = open_delta(embeddings=embeddings)
    memory.write(NAMESPACE, [MemoryRecord(text=text, key=f"k{number}") for number, text in enumerate(notes(0, 10))])
    memory.flush()
    embeddings.dimensions = 72
    memory.write(NAMESPACE, MemoryRecord(text="other", key="k3"))
    with pytest.raises(ConfigError, match=r"64 and of 72 dimensions: call memory\.rebuild"):
        memory.flush()
    with pytest.raises(ConfigError, match="64 and of 72"):
        memory.read(NAMESPACE, "topic7")
    memory.rebuild(NAMESPACE)
    assert len(memory.read(NAMESPACE, "topic7", limit=20).records) == 10


@pytest.mark.parametrize("given", [[float("nan")] * 64, [0.0] * 63 + [float("-inf")], []])
def test_what_is_no_vector_enters_no_state(
    memory: Memory, folder: Path, monkeypatch: pytest.MonkeyPatch, given: list[float]
) -> None:
    memory.write(NAMESPACE, notes(0, 3))
    memory.flush()
    (before,) = (file.read_bytes() for file in states(folder))
    with monkeypatch.context() as broken:
        broken.setattr(LexicalEmbeddings, "embed_query", lambda *_: given)
        with pytest.raises(ReaderUnavailable, match="embedding"):
            memory.read(NAMESPACE, "topic1")
        memory.write(NAMESPACE, notes(3, 5))
        with pytest.raises(ReaderUnavailable, match="embedding"):
            memory.flush()
        assert [file.read_bytes() for file in states(folder)] == [before]
    assert memory.read(NAMESPACE, "topic4").records[0].record.text == notes(4, 5)[0]


def test_a_folder_that_cannot_be_written_is_named(memory: Memory, folder: Path) -> None:
    (folder / "delta").write_text("in the way")
    memory.write(NAMESPACE, notes(0, 3))
    with pytest.raises(ReaderUnavailable, match=r"delta.*cannot be written.*derived from the log"):
        memory.flush()
    (folder / "delta").unlink()
    assert len(memory.read(NAMESPACE, "topic1", limit=9).records) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"values": 100}, "values is 100: give a multiple of 8"),
        ({"values": 0}, "values is 0"),
        ({"values": 64.0}, "values is 64.0"),
        ({"limit": 0}, "limit is 0 and checkpoints 4"),
        ({"checkpoints": -1}, "checkpoints -1"),
        ({"rule": "oja"}, "rule is 'oja'"),
        ({"embeddings": 3}, "embeddings is 3"),
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DeltaReader(**options)


def test_without_a_path_its_folder_goes_when_it_is_closed() -> None:
    reader = DeltaReader(embeddings=LexicalEmbeddings(64))
    folder = reader._folder
    assert folder.is_dir()
    reader.close()
    reader.close()
    assert not folder.exists()


def test_closing_waits_for_what_is_under_way() -> None:
    embeddings, log = WaitingEmbeddings(64), Log(InMemoryStore(), NAMESPACE)
    reader = DeltaReader(embeddings=embeddings, values=64)
    _, change = log.write(MemoryRecord(text=text) for text in notes(0, 3))
    assert change is not None
    updates, closes = Thread(target=reader.update, args=(log, change)), Thread(target=reader.close)
    updates.start()
    assert embeddings.waiting.wait(60)
    index = reader._index(log)
    closes.start()
    closes.join(0.2)
    embeddings.go.set()
    updates.join()
    closes.join()
    # And who was about to begin does not.
    with pytest.raises(ConfigError, match="closed: make another"):
        index.update(log, change)
    assert not reader._folder.exists()


def test_a_closed_reader_says_so(memory: Memory) -> None:
    memory.write(NAMESPACE, notes(0, 3))
    memory.flush()
    memory.reader.close()
    with pytest.raises(ConfigError, match="closed: make another"):
        memory.read(NAMESPACE, "topic1")


def test_many_namespaces_are_served_from_their_files(memory: Memory) -> None:
    for number in range(20):
        memory.write(("many", str(number)), notes(number, number + 3))
    for number in range(20):
        texts = [hit.record.text for hit in memory.read(("many", str(number)), "note", limit=9).records]
        assert sorted(texts) == sorted(notes(number, number + 3))
    reader = memory.reader
    assert isinstance(reader, DeltaReader)
    assert len(reader._indexes) == 16
