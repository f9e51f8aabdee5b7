"""`linmem import-langmem`: what is taken over, what is left out, and that nothing is done twice."""

import json
import sqlite3
import warnings
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langgraph.store.base import PutOp
from langgraph.store.sqlite import SqliteStore

from linmem_langgraph import Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from tests.cli.running import HOSTILE, document, error_of, invoke, kept, linmem

ANNA, BOB = ("memories", "anna"), ("memories", "bob")


@pytest.fixture(scope="module")
def langmem() -> ModuleType:
    """The real one; what it imports is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module("langmem")


@pytest.fixture
def source(tmp_path: Path, langmem: ModuleType) -> Path:
    """A store with what langmem's tools and managers keep, and with what is not langmem's."""
    file = tmp_path / "memories.sqlite"
    with SqliteStore.from_conn_string(str(file)) as store:
        store.setup()
        manage = langmem.create_manage_memory_tool(("memories", "{langgraph_user_id}"), store=store)
        for user, text in (("anna", "Anna drinks tea."), ("bob", "Bob drinks rum.")):
            manage.invoke({"content": text}, {"configurable": {"langgraph_user_id": user}})
        store.put(ANNA, "manager", {"kind": "Memory", "content": {"content": "Anna lives in Oslo."}})
        store.put(ANNA, "profile", {"content": {"name": "Änna", "age": 60}})
        store.put(ANNA, "cart", {"items": ["mug"]})
        store.put(ANNA, "more", {"content": "Text.", "score": 1})
        store.put(("memories2",), "sibling", {"content": "Not under memories."})
    return file


def everything(file: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT * FROM store ORDER BY prefix, key").fetchall()


def counted(*arguments: object) -> dict[str, list[int]]:
    """By namespace: new, known, changed, left out."""
    found = document(invoke("import-langmem", *arguments, "--json"))["namespaces"]
    return {
        "/".join(row["namespace"]): [row[name] for name in ("new", "known", "changed", "left_out")] for row in found
    }


def test_texts_kinds_keys_and_dates_are_kept(source: Path, folder: Path) -> None:
    before = source.read_bytes()

    done = linmem("import-langmem", source, folder)

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().endswith("5 records imported\n")
    records = {record.key: record for record in kept(folder, *ANNA)}
    assert {record.text for record in records.values()} == {
        "Anna drinks tea.",
        "Anna lives in Oslo.",
        '{"name": "Änna", "age": 60}',
    }
    assert records["manager"].kind == "Memory"
    assert records["profile"].kind == "episodic"
    assert [record.position for record in records.values()] == [0, 1, 2]
    with SqliteStore.from_conn_string(str(source)) as store:
        for key, record in records.items():
            item = store.get(ANNA, str(key))
            assert item is not None
            assert record.created_at == item.created_at.replace(tzinfo=UTC)
    assert source.read_bytes() == before


def test_order_is_that_of_the_dates(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "store.sqlite"
    with SqliteStore.from_conn_string(str(file)) as store:
        store.setup()
        for key in "abc":
            store.put(ANNA, key, {"content": f"Text {key}."})
    with closing(sqlite3.connect(file)) as connection, connection:
        for key, date in (("a", "2026-03-01 00:00:00"), ("b", "2026-01-01 00:00:00"), ("c", "2026-02-01 00:00:00")):
            connection.execute("UPDATE store SET created_at = ? WHERE key = ?", (date, key))

    invoke("import-langmem", file, folder)

    records = kept(folder, *ANNA)
    assert [record.key for record in records] == ["b", "c", "a"]
    assert records[0].created_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_second_run_changes_nothing(source: Path, folder: Path) -> None:
    first = counted(source, folder)
    log = everything(folder / "log.sqlite")
    second = counted(source, folder)

    assert first == {"memories/anna": [3, 0, 0, 2], "memories/bob": [1, 0, 0, 0], "memories2": [1, 0, 0, 0]}
    assert second == {"memories/anna": [0, 3, 0, 2], "memories/bob": [0, 1, 0, 0], "memories2": [0, 1, 0, 0]}
    assert everything(folder / "log.sqlite") == log


def test_what_was_changed_here_stays_and_is_counted(source: Path, folder: Path) -> None:
    invoke("import-langmem", source, folder)
    with Memory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        memory.write(ANNA, memory.get(ANNA, ["manager"])[0].model_copy(update={"text": "Anna moved to Bergen."}))

    assert counted(source, folder)["memories/anna"] == [0, 3, 1, 2]
    assert "Anna moved to Bergen." in [record.text for record in kept(folder, *ANNA)]


def test_only_what_is_under_a_namespace(source: Path, folder: Path) -> None:
    assert counted(source, folder, "--under", "memories") == {
        "memories/anna": [3, 0, 0, 2],
        "memories/bob": [1, 0, 0, 0],
    }
    assert kept(folder, "memories2") == []
    assert invoke("import-langmem", source, folder, "--under", "nobody").stderr == (
        "warning: there is nothing to import: the store has no items there\n"
    )


@pytest.mark.parametrize("to", ["folder", "--in-place"])
def test_a_dry_run_only_counts(source: Path, tmp_path: Path, to: str) -> None:
    target, before = tmp_path / "memory" if to == "folder" else to, everything(source)

    done = invoke("import-langmem", source, target, "--dry-run")

    assert done.stdout.endswith("5 records would be imported\n")
    assert everything(source) == before
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_in_place_items_become_records_and_a_copy_is_kept(source: Path) -> None:
    before = everything(source)

    first, second = counted(source, "--in-place"), counted(source, "--in-place")

    assert first == {"memories/anna": [3, 0, 0, 2], "memories/bob": [1, 0, 0, 0], "memories2": [1, 0, 0, 0]}
    assert second == {"memories/anna": [0, 3, 0, 2], "memories/bob": [0, 1, 0, 0], "memories2": [0, 1, 0, 0]}
    assert everything(source.with_name(f"{source.name}.before-import")) == before
    with SqliteStore.from_conn_string(str(source)) as store:
        item, cart = store.get(ANNA, "manager"), store.get(ANNA, "cart")
    assert item is not None
    assert cart is not None
    assert item.value["text"] == "Anna lives in Oslo."
    assert cart.value == {"items": ["mug"]}


def test_what_cannot_be_remembered_is_left_out_with_a_warning(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "store.sqlite"
    with SqliteStore.from_conn_string(str(file)) as store:
        store.setup()
        for key, content in {"none": None, "blank": " ", "long": "x" * 100_001, "fine": HOSTILE}.items():
            store.put(BOB, key, {"content": content})
        store.put(BOB, "kind", {"kind": 7, "content": "Text."})

    done = invoke("import-langmem", file, folder, "--json")

    assert document(done)["namespaces"] == [{"namespace": [*BOB], "new": 1, "known": 0, "changed": 0, "left_out": 4}]
    assert [line.partition(" is left out: ")[0] for line in done.stderr.splitlines()] == [
        f"warning: memories/bob, key {key}" for key in ("blank", "kind", "long", "none")
    ]
    assert [record.text for record in kept(folder, *BOB)] == [HOSTILE]


def test_many_items_are_all_taken(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "store.sqlite"
    with SqliteStore.from_conn_string(str(file)) as store:
        store.setup()
        store.batch([PutOp(BOB, f"{number:04}", {"content": f"Number {number}."}) for number in range(1_200)])

    assert counted(file, folder) == {"memories/bob": [1_200, 0, 0, 0]}
    assert [record.key for record in kept(folder, *BOB)] == [f"{number:04}" for number in range(1_200)]


@pytest.mark.parametrize("arguments", [(), ("memory", "--in-place")])
def test_one_place_to_import_to_is_named(source: Path, arguments: tuple[str, ...]) -> None:
    done = invoke("import-langmem", source, *arguments)

    assert done.exit_code == 2
    assert "--in-place, one of them" in error_of(done)


@pytest.mark.parametrize("content", [None, b"no database at all, but long enough to be read as one" * 9, b""])
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "other"
    if content is not None:
        file.write_bytes(content)

    done = invoke("import-langmem", file, tmp_path / "memory")

    assert done.exit_code == 2
    assert str(file) in error_of(done)
    assert [path.name for path in tmp_path.iterdir()] == ([] if content is None else ["other"])
    assert content is None or file.read_bytes() == content


def test_a_damaged_item_is_one_line(source: Path, folder: Path) -> None:
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("UPDATE store SET value = '{\"content\": ' WHERE key = 'manager'")

    done = invoke("import-langmem", source, folder)

    assert done.exit_code == 2
    assert "cannot be read" in error_of(done)


@pytest.mark.skipif(find_spec("langgraph.store.postgres") is not None, reason="Postgres's store is installed")
def test_a_postgres_url_names_what_to_install(folder: Path) -> None:
    done = invoke("import-langmem", "postgresql://localhost/langgraph", folder)

    assert done.exit_code == 2
    assert "langgraph-checkpoint-postgres" in error_of(done)


def test_its_help_has_an_example_and_json_is_one_document(source: Path, folder: Path) -> None:
    assert "linmem import-langmem memories.sqlite my_memory" in invoke("import-langmem", "--help").stdout
    shown = document(invoke("import-langmem", source, folder, "--dry-run", "--json"))
    assert shown["dry_run"] is True
    assert json.dumps(shown["namespaces"][2]["namespace"]) == '["memories2"]'
