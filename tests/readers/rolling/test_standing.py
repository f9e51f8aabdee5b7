"""The standing note: what it may have read, what is kept of it, and what becomes of it when the memory changes."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, Memory, ReaderUnavailable
from linmem_langgraph.log import Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._rolling.kept import MOST, Checkpoint, thinned
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer, said
from tests.readers.rolling.conftest import Remember, clip, clips, reader
from tests.readers.rolling.words import calls, everything, is_note, note, notes, positions, shown


def read_positions(memory: Memory, namespace: Namespace, **options: Any) -> list[int | None]:
    return [hit.record.position for hit in memory.read(namespace, "Where?", **options).records]


def firsts(messages: list[str]) -> list[int]:
    """The first position of each part."""
    return [shown(message)[0] for message in messages]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rolling"


@pytest.fixture
def kept(server: ModelServer, remember: Remember, path: Path, namespace: Namespace) -> Memory:
    """A memory of 5 segments with its standing note, in files; the requests so far are forgotten."""
    server.says = everything
    memory = remember(standing=True, path=path, note_tokens=5_000)
    memory.write(namespace, clips(15))
    memory.flush()
    assert firsts(notes(server)) == [0, 3, 6, 9]
    server.clear()
    return memory


def files(path: Path) -> list[Path]:
    return sorted((path / "notes").glob("*.json"))


def contents(path: Path) -> str:
    """All that lies there, as text."""
    return "".join(file.read_bytes().decode(errors="replace") for file in path.rglob("*") if file.is_file())


# Killed and started again

CODE = """
import sys
from linmem_langgraph import Memory
from tests.readers.rolling.conftest import clips, reader
from tests.model_server import ModelServer

server, folder, count, namespace = ModelServer(), sys.argv[1], int(sys.argv[3]), ("killed",)
server.port = int(sys.argv[2])
with Memory.open(folder, reader(server, standing=True, path=folder + "/rolling")) as memory:
    memory.write(namespace, clips(count))
    memory.flush()
"""


@contextmanager
def process(server: ModelServer, folder: Path, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that writes so many clips and makes the standing note on them."""
    root = Path(__file__).parents[3]
    arguments = [sys.executable, "-c", CODE, str(folder), str(server.port), str(count)]
    with subprocess.Popen(arguments, cwd=root) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.parametrize("reads", [True, False])
def test_a_killed_update_is_gone_on_with_where_it_was(server: ModelServer, folder: Path, reads: bool) -> None:
    server.holds = lambda request: is_note(request) and len(notes(server)) > 7
    with process(server, folder, 60) as killed:
        server.wait_until(lambda: len(notes(server)) == 8)
        killed.kill()  # SIGKILL, in the middle of the eighth note
        killed.wait()
    server.release()
    assert firsts(notes(server)) == [*range(0, 24, 3)]
    server.clear()
    with Memory.open(folder, reader(server, standing=True, path=folder / "rolling")) as memory:
        if reads:
            assert read_positions(memory, ("killed",)) == [*range(60)]
        else:
            memory.write(("killed",), clip(60))
            memory.flush()
        # What the seven notes hold is not read again; the eighth, which was under way, is.
        assert firsts(notes(server)) == [*range(21, 57 if reads else 60, 3)]
        assert note(notes(server)[0]) == [" ".join(f"[{position}]" for position in range(21))]
        assert read_positions(memory, ("killed",)) == [*range(60 if reads else 61)]


def test_a_file_that_was_half_written_leaves_the_older_note_valid(
    server: ModelServer, kept: Memory, path: Path, namespace: Namespace
) -> None:
    (file,) = files(path)
    file.with_suffix(".new").write_text(file.read_text()[:100])  # as a kill in the middle of a write leaves it
    assert read_positions(kept, namespace) == [*range(15)]
    assert len(calls(server)) == 1
    kept.write(namespace, clips(3, start=15))
    kept.flush()
    assert not file.with_suffix(".new").exists()
    assert firsts(notes(server)) == [12]


# As of a position


@pytest.mark.parametrize("until", [0, 2, 3, 5, 6, 11, 12, 13, 14, 99])
def test_a_read_as_of_a_position_is_one_call_from_the_note_before_it(
    server: ModelServer, kept: Memory, namespace: Namespace, until: int
) -> None:
    assert read_positions(kept, namespace, until=until) == [*range(min(until, 14) + 1)]
    assert len(calls(server)) == 1
    later = [f"clip{position} " for position in range(until + 1, 15)]
    assert not [word for word in later if word in calls(server)[0]]


def test_nothing_beyond_until_is_read_where_the_note_is_behind(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    store = InMemoryStore()
    remember(store=store).write(namespace, clips(15))
    behind = remember(store=store, standing=True)
    assert read_positions(behind, namespace, until=7) == [*range(8)]
    assert [shown(message) for message in calls(server)] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    server.clear()
    # What that made is gone on with.
    assert read_positions(behind, namespace) == [*range(15)]
    assert firsts(calls(server)) == [6, 9, 12]


def test_the_notes_of_a_long_memory_are_few_and_evenly_spaced(
    server: ModelServer, remember: Remember, path: Path, namespace: Namespace
) -> None:
    memory = remember(standing=True, path=path)
    memory.write(namespace, clips(300))
    memory.flush()
    (file,) = files(path)
    checkpoints = json.loads(file.read_text())["checkpoints"]
    assert [each["segments"] for each in checkpoints] == [*range(4, 100, 4), 99]
    assert [each["records"] for each in checkpoints] == [3 * each["segments"] for each in checkpoints]
    assert [each["position"] for each in checkpoints] == [3 * each["segments"] - 1 for each in checkpoints]
    assert len(checkpoints) <= MOST
    server.clear()
    assert read_positions(memory, namespace, until=3 * 43 + 1) == [*range(131)]
    # From the note on 40 segments: three more, and the answer.
    assert firsts(calls(server)) == [120, 123, 126, 129]
    assert len(calls(server)) == 4
    assert [each["segments"] for each in json.loads(file.read_text())["checkpoints"]] == [*range(4, 100, 4), 99]


@pytest.mark.parametrize("count", [0, 1, MOST, MOST + 1, 2 * MOST + 1, 1_000])
def test_few_notes_are_kept_and_always_the_last(count: int) -> None:
    def checkpoint(segments: int) -> Checkpoint:
        return Checkpoint(setup="", segments=segments, records=segments, position=segments, digest="", note="")

    all_at_once = thinned([checkpoint(segments) for segments in range(1, count + 1)])
    one_by_one: tuple[Checkpoint, ...] = ()
    for segments in range(1, count + 1):
        one_by_one = thinned([*one_by_one, checkpoint(segments)])
    assert all_at_once == one_by_one
    assert min(count, MOST // 2) <= len(all_at_once) <= MOST + 1
    assert [each.segments for each in all_at_once[-1:]] == ([count] if count else [])


# Forgotten, changed, inserted


@pytest.mark.parametrize(("gone", "from_note"), [(0, 0), (2, 0), (3, 1), (8, 2), (11, 3)])
def test_a_note_that_read_what_was_forgotten_is_made_anew_from_before_it(
    server: ModelServer, kept: Memory, path: Path, namespace: Namespace, gone: int, from_note: int
) -> None:
    before = contents(path)
    assert f"clip{gone} " in before
    receipt = kept.forget(namespace, f"k{gone}")
    assert receipt.from_index >= 4 - from_note
    assert f"clip{gone} " not in contents(path)
    assert calls(server) == []
    assert read_positions(kept, namespace) == [position for position in range(15) if position != gone]
    assert firsts(calls(server))[0] == min(3 * from_note + (gone == 3 * from_note), 12)
    assert not [message for message in calls(server) if f"clip{gone} " in message]
    server.clear()
    assert len(read_positions(kept, namespace)) == 14
    assert len(calls(server)) == 1


def test_what_no_note_has_read_is_forgotten_without_a_call(
    server: ModelServer, kept: Memory, namespace: Namespace
) -> None:
    assert kept.forget(namespace, "k14").from_log == 1
    assert read_positions(kept, namespace) == [*range(14)]
    assert len(calls(server)) == 1


def test_a_forgotten_namespace_leaves_no_note(kept: Memory, path: Path, namespace: Namespace) -> None:
    assert kept.forget(namespace).from_index >= 4
    assert files(path) == []
    assert "clip" not in contents(path)


def test_what_is_forgotten_while_the_model_reads_it_is_in_no_note(
    server: ModelServer, kept: Memory, path: Path, namespace: Namespace
) -> None:
    server.holds = is_note
    kept.write(namespace, clips(3, start=15))
    server.wait_until(lambda: len(notes(server)) == 1)
    assert "clip13 " in notes(server)[0]
    with Memory(reader(server, path=path), store=kept.store) as other:  # as another process would
        other.forget(namespace, "k13")
    server.release()
    kept.flush()
    assert "clip13 " not in contents(path)
    assert "clip4 " in contents(path)
    assert read_positions(kept, namespace) == [position for position in range(18) if position != 13]


def test_a_note_of_what_was_forgotten_meanwhile_is_not_gone_on_with(
    server: ModelServer, kept: Memory, namespace: Namespace
) -> None:
    server.holds = is_note
    kept.write(namespace, clips(30, start=15))
    server.wait_until(lambda: len(notes(server)) == 1)
    with ThreadPoolExecutor(1) as pool:
        forgetting = pool.submit(kept.forget, namespace, "k1")
        server.wait_until(lambda: len(kept.records(namespace)) == 44)
        server.release()
        forgetting.result(timeout=60)
    # Only the request that was under way had the word that was forgotten.
    assert len(notes(server)) == 1
    server.clear()
    assert read_positions(kept, namespace) == [position for position in range(45) if position != 1]
    assert not [message for message in calls(server) if "clip1 " in message]


def test_a_note_that_came_too_late_leaves_the_one_that_was_made_meanwhile(
    server: ModelServer, remember: Remember, kept: Memory, path: Path, namespace: Namespace
) -> None:
    server.holds = lambda request: is_note(request) and "clip13 " in said(request)
    kept.write(namespace, clips(3, start=15))
    server.wait_until(lambda: len(notes(server)) == 1)
    other = remember(store=kept.store, standing=True, path=path, note_tokens=5_000)
    other.forget(namespace, "k13")
    left = [position for position in range(18) if position != 13]
    assert read_positions(other, namespace) == left
    server.release()
    kept.flush()
    server.clear()
    assert read_positions(other, namespace) == left
    assert len(calls(server)) == 1


@pytest.mark.parametrize("left", [0, 2, 7])
@pytest.mark.parametrize("then", ["read", "written"])
def test_what_was_forgotten_before_a_kill_is_in_no_note_after_the_next_use(
    kept: Memory, path: Path, namespace: Namespace, left: int, then: str
) -> None:
    # The log has forgotten; whoever was to drop the notes was killed before.
    Log(kept.store, namespace).remove([f"k{position}" for position in range(left, 15)])
    assert "clip11 " in contents(path)
    if then == "read":
        assert read_positions(kept, namespace) == [*range(left)]
    else:
        kept.write(namespace, clip(15))
        kept.flush()
    assert [position for position in range(15) if f"clip{position} " in contents(path)] == [*range(left // 3 * 3)]


def test_half_a_file_that_a_kill_left_is_gone_after_a_forget(kept: Memory, path: Path, namespace: Namespace) -> None:
    (file,) = files(path)
    half = file.with_suffix(".new")
    half.write_text("clip13 ")  # which no note in the file has read
    kept.forget(namespace, "k13")
    assert "clip13 " not in contents(path)
    assert not half.exists()
    assert "clip1 " in contents(path)


@pytest.mark.parametrize("by_another", [True, False])
@pytest.mark.parametrize("changed", [1, 7])
def test_a_record_that_was_changed_is_read_anew(
    server: ModelServer, kept: Memory, path: Path, namespace: Namespace, changed: int, by_another: bool
) -> None:
    new = clip(changed, "new")
    if by_another:
        with Memory(reader(server), store=kept.store) as other:  # which keeps no notes
            other.write(namespace, new)
    else:
        kept.write(namespace, new)
        kept.flush()
        assert f"clip{changed} " not in contents(path)
    reading = kept.read(namespace, "Where?")
    assert f"new{changed} " in reading.text
    assert f"clip{changed} " not in reading.text
    assert f"clip{changed} " not in contents(path)
    assert firsts(notes(server)) == [*range(changed // 3 * 3, 12, 3)]


def test_what_a_changed_record_said_is_gone_though_no_note_can_be_made(
    server: ModelServer, kept: Memory, path: Path, namespace: Namespace
) -> None:
    server.says = " "
    kept.write(namespace, clip(7, "new"))
    with pytest.raises(ReaderUnavailable):
        kept.flush()
    assert "clip7 " not in contents(path)
    assert "clip4 " in contents(path)


def test_a_record_that_was_inserted_earlier_is_read(server: ModelServer, kept: Memory, namespace: Namespace) -> None:
    kept.write(namespace, clip(4, "late").model_copy(update={"key": "late"}))
    reading = kept.read(namespace, "Where?")
    assert "late4 " in reading.text
    assert [shown(message) for message in calls(server)] == [[3, 4, 4], [5, 6, 7], [8, 9, 10], [11, 12, 13], [14]]


@pytest.mark.parametrize(
    "options",
    [{"note_tokens": 4_999}, {"segment_tokens": 299}, {"model": "another"}],
    ids=lambda options: next(iter(options)),
)
def test_a_note_of_another_set_up_is_not_gone_on_with(
    server: ModelServer, remember: Remember, kept: Memory, path: Path, namespace: Namespace, options: dict[str, object]
) -> None:
    if "model" in options:
        options = {"model": ChatVLLM(base_url=server.base_url, model="another", max_retries=0)}
    other = remember(store=kept.store, standing=True, path=path, **{"note_tokens": 5_000, **options})
    assert read_positions(other, namespace) == [*range(15)]
    assert firsts(calls(server))[0] == 0
    assert len(calls(server)) >= 5
    server.clear()
    assert read_positions(other, namespace) == [*range(15)]
    assert len(calls(server)) == 1


def test_rebuild_makes_the_note_anew(server: ModelServer, kept: Memory, namespace: Namespace) -> None:
    kept.rebuild(namespace)
    assert firsts(notes(server)) == [0, 3, 6, 9]
    assert read_positions(kept, namespace) == [*range(15)]


# Files


def test_files_say_nothing_of_whose_they_are_and_are_the_owners_alone(
    kept: Memory, path: Path, namespace: Namespace
) -> None:
    kept.write(("users", "zoe"), clips(6))
    kept.flush()
    assert len(files(path)) == 2
    names = [each.name for each in (path / "notes").iterdir()]
    assert not [name for name in names if "zoe" in name or namespace[-1] in name]
    assert "zoe" not in contents(path)
    assert namespace[-1] not in contents(path)
    assert stat.S_IMODE((path / "notes").stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path / "notes").iterdir()} == {0o600}


def test_a_file_says_how_far_the_note_has_come(kept: Memory, path: Path, namespace: Namespace) -> None:
    (file,) = files(path)
    saved = json.loads(file.read_text())
    assert saved["version"] == Log(kept.store, namespace).head().version
    assert [(each["segments"], each["records"], each["position"]) for each in saved["checkpoints"]] == [
        (1, 3, 2),
        (2, 6, 5),
        (3, 9, 8),
        (4, 12, 11),
    ]


def test_a_namespaces_file_is_of_no_use_to_another(
    server: ModelServer, kept: Memory, path: Path, namespace: Namespace
) -> None:
    (mine,) = files(path)
    other = (*namespace, "other")
    kept.write(other, [clip(position, "other") for position in range(6)])
    kept.flush()
    (theirs,) = set(files(path)) - {mine}
    theirs.write_bytes(mine.read_bytes())
    server.clear()
    reading = kept.read(other, "Where?")
    assert "clip" not in reading.text
    assert [shown(message) for message in calls(server)] == [[0, 1, 2], [3, 4, 5]]
    assert "clip" not in theirs.read_text()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not JSON",
        b"[]",
        b'{"format": 2, "version": "", "checkpoints": []}',
        b'{"format": 1, "version": "", "checkpoints": [{"note": 3}]}',
        b"\x80\x04\x95",
        b"\xff" * 100,
    ],
)
def test_a_damaged_file_is_lost_and_made_again(
    server: ModelServer, kept: Memory, path: Path, namespace: Namespace, damage: bytes
) -> None:
    (file,) = files(path)
    file.write_bytes(damage)
    assert read_positions(kept, namespace) == [*range(15)]
    assert firsts(calls(server)) == [0, 3, 6, 9, 12]
    assert len(json.loads(file.read_text())["checkpoints"]) == 4


def test_a_damaged_file_is_gone_after_a_forget(kept: Memory, path: Path, namespace: Namespace) -> None:
    (file,) = files(path)
    file.write_bytes(b'{"note": "clip1 ')
    kept.forget(namespace, "k1")
    assert not file.exists()


def test_a_folder_that_is_none_is_named(
    server: ModelServer, remember: Remember, path: Path, namespace: Namespace
) -> None:
    path.mkdir()
    (path / "notes").write_text("a file")
    memory = remember(standing=True, path=path)
    memory.write(namespace, clips(6))
    with pytest.raises(ConfigError, match=r"notes cannot be kept in .*delete it"):
        memory.read(namespace, "?")


@pytest.mark.parametrize("path_given", [True, False])
def test_another_reader_goes_on_with_what_is_kept(
    server: ModelServer, remember: Remember, path: Path, namespace: Namespace, path_given: bool
) -> None:
    store = InMemoryStore()
    options = {"standing": True, **({"path": path} if path_given else {})}
    remember(store=store, **options).write(namespace, clips(15))
    server.wait_until(lambda: len([request for request in server.asked("read") if request.ended]) == 4)
    reopened = remember(store=store, **options)
    # Without a path the notes are this reader's alone.
    server.clear()
    assert read_positions(reopened, namespace) == [*range(15)]
    assert len(calls(server)) <= 2 if path_given else len(calls(server)) == 5


def test_a_reader_without_standing_notes_forgets_those_of_one_with(
    server: ModelServer, remember: Remember, kept: Memory, path: Path, namespace: Namespace
) -> None:
    other = remember(store=kept.store, path=path)
    other.forget(namespace, "k4")
    assert "clip4 " not in contents(path)
    assert "clip1 " in contents(path)


def test_notes_that_cannot_be_made_leave_the_older_ones(
    server: ModelServer, kept: Memory, path: Path, namespace: Namespace
) -> None:
    before = contents(path / "notes")
    server.says = " "
    kept.write(namespace, clips(9, start=15))
    with pytest.raises(ReaderUnavailable):
        kept.flush()
    assert contents(path / "notes") == before
    server.says = positions
    server.clear()
    assert read_positions(kept, namespace) == [*range(24)]
    assert firsts([said(request) for request in server.asked("read")]) == [12, 15, 18, 21]


def test_the_named_reader_keeps_its_notes_in_the_memorys_folder(
    server: ModelServer, folder: Path, namespace: Namespace
) -> None:
    options: dict[str, Any] = {"base_url": server.base_url, "standing": True, "segment_tokens": 300}
    with Memory.open(folder, "rolling", **options) as memory:
        memory.write(namespace, clips(15))
    assert len(files(folder / "rolling")) == 1
    server.clear()
    with Memory.open(folder, "rolling", **options) as memory:
        assert read_positions(memory, namespace) == [*range(15)]
    assert len(calls(server)) == 1
