"""The embedded folder: what may be opened, what is refused, and what stays on disk."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.sqlite import SqliteStore

from linmem_langgraph import ConfigError, Memory, MemoryRecord, Reader
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.folder import Changes, Folder
from linmem_langgraph.log import Head, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers import READERS, create_reader


def everything(path: Path) -> dict[str, bytes | None]:
    return {str(found.relative_to(path)): found.read_bytes() if found.is_file() else None for found in path.rglob("*")}


def files_with(path: Path, token: str) -> list[str]:
    """The files that hold the token.

    Not counted is the graph file of Chroma's index: its library writes unused slots as it finds them in memory, and now
    and then a text of the process is among them.
    """
    held = {name: content for name, content in everything(path).items() if not name.endswith("data_level0.bin")}
    return [name for name, content in held.items() if content and token.encode() in content]


def open_lexical(path: str | Path) -> Memory:
    return Memory.open(path, embeddings=LexicalEmbeddings(256))


def test_a_folder_is_made_with_its_parents_and_keeps_what_is_written(tmp_path: Path, namespace: Namespace) -> None:
    path = tmp_path / "new" / "memory"
    with open_lexical(path) as memory:
        keys = memory.write(namespace, ["Anna sleeps", MemoryRecord(text="Bert reads", metadata={"where": "hall"})])
    with open_lexical(str(path)) as memory:
        assert [record.key for record in memory.records(namespace)] == keys
        assert memory.read(namespace, "reads", limit=1).text == "[1] Bert reads"


@pytest.mark.parametrize("at", range(len(SqliteStore.MIGRATIONS)))
def test_who_is_killed_while_a_folder_is_made_leaves_one_that_opens(
    folder: Path, namespace: Namespace, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    def killed(store: SqliteStore) -> None:
        store.conn.execute("CREATE TABLE store_migrations (v INTEGER PRIMARY KEY)")
        for version, sql in enumerate(store.MIGRATIONS[: at + 1]):
            store.conn.executescript(sql)
            if version == at:
                raise KeyboardInterrupt  # between the table and the note that it is there
            store.conn.execute("INSERT INTO store_migrations (v) VALUES (?)", (version,))

    monkeypatch.setattr(SqliteStore, "setup", killed)
    with pytest.raises(KeyboardInterrupt):
        Memory.open(folder, embeddings=LexicalEmbeddings())
    monkeypatch.undo()

    with Memory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        memory.write(namespace, "Anna lives in Oslo.")
        assert [record.text for record in memory.records(namespace)] == ["Anna lives in Oslo."]


def test_a_write_is_on_disk_when_it_returns(
    open_memory: Callable[..., Memory], folder: Path, tmp_path: Path, namespace: Namespace
) -> None:
    memory = open_memory()
    memory.write(namespace, "Anna sleeps")
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("chroma"))
    with open_lexical(tmp_path / "copy") as copy:
        assert copy.read(namespace, "Anna").text == "[0] Anna sleeps"


@pytest.mark.parametrize("calls", range(5))
def test_a_write_that_fails_midway_leaves_nothing(
    open_memory: Callable[..., Memory], namespace: Namespace, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """3,000 records are six calls of the store: whichever fails, the log is as it was, and takes the next write."""
    memory = open_memory()
    memory.write(namespace, "Anna sleeps")
    left = iter(range(calls))
    whole = SqliteStore.batch

    def failing(store: SqliteStore, ops: Any) -> Any:
        if isinstance(store, Changes) and next(left, None) is None:
            raise sqlite3.OperationalError("database or disk is full")
        return whole(store, ops)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "batch", failing)
        with pytest.raises(ConfigError, match="disk is full"):
            memory.write(namespace, [MemoryRecord(text="Bert reads", key=f"key {place}") for place in range(3_000)])
    assert [record.text for record in memory.records(namespace)] == ["Anna sleeps"]
    memory.write(namespace, "Carl runs")
    assert [(record.position, record.text) for record in memory.records(namespace)] == [
        (0, "Anna sleeps"),
        (1, "Carl runs"),
    ]
    assert memory.namespaces() == {namespace: 2}


def test_nobody_waits_for_a_change_or_sees_half_of_it(folder: Path, namespace: Namespace) -> None:
    opened = Folder(folder)
    log = Log(opened.store, namespace)
    log.write([MemoryRecord(text="Anna sleeps")])
    with ThreadPoolExecutor(1) as another, opened.store.turn():
        opened.store.put(namespace, "key", {"text": "Bert reads", "position": 1, "order": 1})
        assert len(log.records()) == 2
        assert len(another.submit(log.records).result(timeout=10)) == 1
    assert len(log.records()) == 2
    opened.close()


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["write", "replace", "forget", "fail"])), max_size=20))
@settings(max_examples=20, deadline=None)
def test_two_who_change_one_folder_in_turn_know_of_each_other(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, str]]
) -> None:
    path, namespace = tmp_path_factory.mktemp("folder"), ("users", "anna")
    folders = [Folder(path), Folder(path)]
    logs = [Log(opened.store, namespace) for opened in folders]
    held, given_out = dict[str, int](), 0
    for who, change in changes:
        if change == "write":
            ((key,), _) = logs[who].write([MemoryRecord(text="Anna sleeps")])
            held[key], given_out = given_out, given_out + 1
        elif change == "replace" and held:
            logs[who].write([MemoryRecord(text="Anna wakes", key=min(held))])
        elif change == "forget" and held:
            logs[who].remove([min(held)])
            del held[min(held)]
        elif change == "fail":
            with pytest.raises(ZeroDivisionError):
                change_halfway(folders[who], namespace)
        for log in logs:
            assert {record.key: record.position for record in log.records()} == held
            assert log.head().count == len(held)
    for opened in folders:
        opened.close()


def change_halfway(opened: Folder, namespace: Namespace) -> None:
    with opened.store.turn() as known:
        known[namespace] = Head("lost", 99, 99, 99)
        opened.store.put(namespace, "lost", {"text": "lost", "position": 99, "order": 99})
        raise ZeroDivisionError


def test_the_log_waits_for_the_disk_and_overwrites_what_is_deleted(folder: Path) -> None:
    opened = Folder(folder)
    pragmas = [
        opened.store.conn.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "secure_delete")
    ]
    opened.close()
    assert pragmas == ["wal", 2, 1]


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    open_lexical("~/memory").close()
    assert (tmp_path / "memory" / "linmem.json").exists()


# What is refused


@pytest.mark.parametrize("content", ["notes.txt", ".hidden", "log.sqlite", "src/"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    if content.endswith("/"):
        (tmp_path / content).mkdir()
    else:
        (tmp_path / content).write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(ConfigError, match=rf"{content.rstrip('/')}.*choose a new or an empty folder") as refused:
        open_lexical(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert everything(tmp_path) == before


def test_a_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "below"):
        with pytest.raises(ConfigError, match=str(file)):
            open_lexical(path)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("path", ["/proc/linmem", "a\x00b", "x" * 300, "loop/memory"])
def test_a_path_that_cannot_be_a_folder_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    with pytest.raises(ConfigError):
        open_lexical(path)
    assert [found.name for found in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_folder_without_permission_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(mode)
    tmp_path.chmod(0o755)
    code = f"""
import os
from linmem_langgraph import ConfigError, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
import linmem_langgraph.folder, linmem_langgraph.readers.chroma
if os.geteuid() == 0:
    os.setuid(65534)
try:
    Memory.open({str(folder)!r}, embeddings=LexicalEmbeddings(256))
except ConfigError as exc:
    print(exc)
"""
    if os.geteuid() == 0:
        for parent in tmp_path.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    folder.chmod(0o700)
    assert "ermission denied" in done.stdout or "readonly" in done.stdout, done.stderr
    assert str(folder) in done.stdout
    assert everything(folder) == {}


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ('{"format": 2}', "format 2.*reads 1.*upgrade"),
        ('{"format": "99"}', "format '99'.*upgrade"),
        ("", r"linmem\.json cannot be read"),
        ('{"form', r"linmem\.json cannot be read"),
        ("[]", r"linmem\.json cannot be read"),
        ("{}", r"linmem\.json cannot be read"),
        ("\udcff", r"linmem\.json cannot be read"),
    ],
)
def test_a_mark_of_another_format_is_refused(tmp_path: Path, mark: str, message: str) -> None:
    (tmp_path / "linmem.json").write_text(mark, errors="surrogateescape")
    with pytest.raises(ConfigError, match=message):
        open_lexical(tmp_path)
    assert list(everything(tmp_path)) == ["linmem.json"]


@pytest.mark.parametrize("damage", ["not a database", "empty pages", "cut in half", "garbage after the header"])
def test_a_damaged_log_is_a_clear_error_and_left_alone(tmp_path: Path, namespace: Namespace, damage: str) -> None:
    with open_lexical(tmp_path) as memory:
        memory.write(namespace, [f"word{place} " * 30 for place in range(300)])
    log = tmp_path / "log.sqlite"
    content = log.read_bytes()
    damaged = {
        "not a database": b"garbage" * 2_000,
        "empty pages": bytes(len(content)),
        "cut in half": content[: len(content) // 2],
        "garbage after the header": content[:8192] + bytes(range(256)) * ((len(content) - 8192) // 256),
    }[damage]
    log.write_bytes(damaged)
    with pytest.raises(ConfigError, match=str(tmp_path)), open_lexical(tmp_path) as memory:
        memory.records(namespace)
    assert log.read_bytes() == damaged


def test_an_unknown_reader_or_option_makes_no_folder(folder: Path) -> None:
    with pytest.raises(ConfigError, match="unknown reader 'chrom'; choose chroma"):
        Memory.open(folder, "chrom")
    with pytest.raises(ConfigError, match=r"unknown option 'embedings'.*choose .*embeddings"):
        Memory.open(folder, embedings=LexicalEmbeddings())
    with pytest.raises(ConfigError, match="by is 'clip'"):
        Memory.open(folder, by="clip")
    assert not folder.exists()


def test_a_reader_of_ones_own(folder: Path, namespace: Namespace) -> None:
    reader = create_reader("chroma", folder.parent / "elsewhere", {"embeddings": LexicalEmbeddings(256)})
    with Memory.open(folder, reader) as memory:
        memory.write(namespace, "Anna sleeps")
        assert memory.read(namespace, "Anna").text == "[0] Anna sleeps"
    with pytest.raises(ConfigError, match="limit"):
        Memory.open(folder, reader, limit=3)


@pytest.mark.parametrize("name", READERS)
def test_every_named_reader_is_one(name: str) -> None:
    from importlib import import_module

    module, _, attribute = READERS[name].partition(":")
    assert issubclass(getattr(import_module(module), attribute), Reader)


# What stays on disk


def test_a_forgotten_text_is_in_no_file_any_more(
    open_memory: Callable[..., Memory], folder: Path, namespace: Namespace
) -> None:
    memory = open_memory()
    first = memory.write(namespace, "the code is zanzibar4711")[0]
    memory.write(namespace, MemoryRecord(text="the code is quetzal0815", key="k"))
    memory.write(namespace, MemoryRecord(text="the code is xylophone99", key="k"))
    memory.write(namespace, [f"padding number {place}" for place in range(200)])
    memory.flush()
    assert files_with(folder, "zanzibar4711")
    memory.forget(namespace, [first, "k"])
    for token in ("zanzibar4711", "quetzal0815", "xylophone99"):
        assert files_with(folder, token) == []
    memory.close()
    for token in ("zanzibar4711", "quetzal0815", "xylophone99"):
        assert files_with(folder, token) == []


@pytest.mark.parametrize("whole", [False, True])
def test_forgotten_metadata_is_in_no_file_any_more(
    open_memory: Callable[..., Memory], folder: Path, whole: bool
) -> None:
    """Keys are Chroma's ids, and its files may name them until it compacts; `forget` says so."""
    memory, namespace = open_memory(), ("owner-zanzibar4711",)
    memory.write(namespace, MemoryRecord(text="x", key="k", metadata={"who": "xylophone99", "quetzal0815": True}))
    memory.write(namespace, "stays")
    memory.flush()
    memory.forget(namespace, None if whole else "k")
    memory.close()
    tokens = ["quetzal0815", "xylophone99", *(["zanzibar4711"] if whole else [])]
    assert {token: found for token in tokens if (found := files_with(folder, token))} == {}


def test_the_texts_are_in_the_log_and_not_in_the_index(
    open_memory: Callable[..., Memory], folder: Path, namespace: Namespace
) -> None:
    memory = open_memory()
    memory.write(namespace, "the code is zanzibar4711")
    memory.flush()
    assert all(name.startswith("log.sqlite") for name in files_with(folder, "zanzibar4711"))


@settings(max_examples=5)
@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1), max_size=5))
def test_any_text_survives_a_folder(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("any")
    given: list[Any] = [text for text in texts if text.strip()]
    with open_lexical(path) as memory:
        memory.write(("a",), given)
    with open_lexical(path) as memory:
        assert [record.text for record in memory.records(("a",))] == given


def test_the_mark_names_the_format(folder: Path) -> None:
    open_lexical(folder).close()
    assert json.loads((folder / "linmem.json").read_text()) == {"format": 1}


def test_a_reader_of_the_file_delays_the_scrub_and_the_receipt_says_so(
    open_memory: Callable[..., Memory], folder: Path, namespace: Namespace
) -> None:
    memory = open_memory()
    key = memory.write(namespace, "the code is zanzibar4711")[0]
    other = sqlite3.connect(folder / "log.sqlite")
    try:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM store").fetchall()
        assert not memory.forget(namespace, key).scrubbed
        memory.write(namespace, "nobody waits for the other reader")
    finally:
        other.close()
    assert memory.forget(namespace).scrubbed
    assert files_with(folder, "zanzibar4711") == []


def test_another_memory_over_the_same_store_keeps_the_folders_promises(
    open_memory: Callable[..., Memory], folder: Path, namespace: Namespace
) -> None:
    memory = open_memory()
    with Memory(
        create_reader("chroma", folder / "other", {"embeddings": LexicalEmbeddings(64)}), store=memory.store
    ) as other:
        key = other.write(namespace, "the code is zanzibar4711")[0]
        assert other.forget(namespace, key).scrubbed
    assert files_with(folder, "zanzibar4711") == []
