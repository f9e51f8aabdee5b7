"""`linmem import-langmem`: what langmem has kept in a LangGraph store, as records."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from linmem_langgraph.cli import output
from linmem_langgraph.cli.arguments import Json, Labels, format_namespace, parse_namespace
from linmem_langgraph.errors import ConfigError, RecordError

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore, Item

    from linmem_langgraph.records import MemoryRecord

_EVERYTHING = 2**31 - 1
_POSTGRES = ("postgres://", "postgresql://")
_COPY = ".before-import"
_HEADS = "%linmem"  # the log's own items, where an import in place has been before


class Found(NamedTuple):
    """What lies in a namespace: the records to import, how many are there already, how many of these have another text
    here, and how many items are left out."""

    new: "list[MemoryRecord]"
    known: int
    changed: int
    left_out: int


def import_langmem(
    source: Annotated[
        str, typer.Argument(metavar="STORE", help="The store's SQLite file, or the URL of a Postgres database.")
    ],
    folder: Annotated[str | None, typer.Argument(metavar="FOLDER", help="The memory's folder.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Into the store itself, instead of a FOLDER.")] = False,
    under: Annotated[
        str | None, typer.Option(metavar="NAMESPACE", help="Only what is in this namespace and below it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Json = False,
) -> None:
    """Take over what langmem has remembered.

    Namespaces, keys and dates are kept. What is there already is left as it is here, so that a second run changes
    nothing; items that are not langmem's are left out and counted. The agents that write to the store should stand
    still meanwhile.

    Into a FOLDER, the store is only read. With --in-place each item is replaced by a record, which langmem does not
    know; of an SQLite file, a copy with the ending .before-import is kept.

    \b
    linmem import-langmem memories.sqlite my_memory --under memories
    """
    if in_place == (folder is not None):
        raise ConfigError("where to import: name the memory's FOLDER, or give --in-place, one of them")
    prefix = parse_namespace(under) if under else ()
    with _opened(source) as store:
        items = _items(store, prefix)
    with _target(source, folder, dry_run) as target:
        found = {namespace: _found(target, namespace, items[namespace]) for namespace in sorted(items)}
        if target is not None and not dry_run and any(each.new for each in found.values()):
            if folder is None:
                _keep_a_copy(source)
            _write(target, found)
    if as_json:
        output.print_json({"dry_run": dry_run, "namespaces": [_row(*each) for each in found.items()]})
    else:
        _show(found, dry_run)


def _found(target: "BaseStore | None", namespace: Labels, items: "list[Item]") -> Found:
    from linmem_langgraph.log import Log

    there = Log(target, namespace).get([item.key for item in items]) if target is not None else []
    texts = {record.key: record.text for record in there}
    records = {
        item.key: _record(namespace, item) for item in sorted(items, key=lambda item: (item.created_at, item.key))
    }
    valid = [record for record in records.values() if record]
    return Found(
        new=[record for record in valid if record.key not in texts],
        known=len(texts),
        changed=sum(texts.get(record.key, record.text) != record.text for record in valid),
        left_out=sum(record is None and key not in texts for key, record in records.items()),
    )


def _record(namespace: Labels, item: "Item") -> "MemoryRecord | None":
    """The item as a record; None if it is not langmem's, or cannot be remembered, which a warning tells."""
    from linmem_langgraph.langmem import as_record

    try:
        return as_record(item)
    except RecordError as exc:
        output.report("warning", f"{format_namespace(namespace)}, key {item.key} is left out: {exc}")
        return None


def _write(target: "BaseStore", found: dict[Labels, Found]) -> None:
    from linmem_langgraph.log import Log

    for namespace, each in found.items():
        Log(target, namespace).write(each.new)


def _items(store: "BaseStore", prefix: Labels) -> "dict[Labels, list[Item]]":
    """The store's items by namespace."""
    found: dict[Labels, dict[str, Item]] = {}
    offset = 0
    try:
        while page := store.search(prefix, limit=_EVERYTHING, offset=offset, refresh_ttl=False):
            for item in page:
                # Some stores' search returns siblings: ("memories2",) for ("memories",).
                if tuple(item.namespace[: len(prefix)]) == prefix and item.namespace[0] != _HEADS:
                    found.setdefault(tuple(item.namespace), {})[item.key] = item
            offset += len(page)
    except (sqlite3.DatabaseError, ValueError) as exc:
        raise ConfigError(f"the store cannot be read: {exc}. Is it one of LangGraph's?") from exc
    return {namespace: list(items.values()) for namespace, items in found.items()}


@contextmanager
def _opened(source: str) -> "Iterator[BaseStore]":
    """The store to read; an SQLite file is copied, since LangGraph's store would bring its tables up to date."""
    if source.startswith(_POSTGRES):
        with _postgres(source) as store:
            yield store
        return
    from langgraph.store.sqlite import SqliteStore

    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as copy:  # a temporary file
        _copied(source, copy)
        yield SqliteStore(copy)


def _copied(source: str, copy: sqlite3.Connection) -> None:
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f"there is no file {source}: name the SQLite file of LangGraph's store, or a postgres:// URL")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as original:
            original.backup(copy)
        tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as exc:
        raise ConfigError(f"cannot read {source}: {exc}") from exc
    if "store" not in tables:
        raise ConfigError(f"{source} holds no store of LangGraph, which has a table named store: choose another file")


@contextmanager
def _target(source: str, folder: str | None, dry_run: bool) -> "Iterator[BaseStore | None]":
    """The store to write to; None if a folder is not there and is not to be made."""
    from linmem_langgraph.folder import Folder, resolved

    if folder is not None:
        path = resolved(folder)
        if dry_run and not (path / "log.sqlite").is_file():
            yield None
            return
        with closing(Folder(path)) as opened:
            yield opened.store
    elif source.startswith(_POSTGRES):
        with _postgres(source) as store:
            yield store
    else:
        from langgraph.store.sqlite import SqliteStore

        with SqliteStore.from_conn_string(source) as store:
            yield store


@contextmanager
def _postgres(url: str) -> "Iterator[BaseStore]":
    try:
        postgres, psycopg = import_module("langgraph.store.postgres"), import_module("psycopg")
    except ImportError as exc:
        wanted = "pip install langgraph-checkpoint-postgres 'psycopg[binary]'"
        raise ConfigError(f"a store in Postgres needs: {wanted}") from exc
    try:
        with postgres.PostgresStore.from_conn_string(url) as store:
            yield store
    except psycopg.Error as exc:
        raise ConfigError(f"the store in Postgres cannot be read or written: {exc}") from exc


def _keep_a_copy(source: str) -> None:
    """Once: the oldest copy is the one without any change."""
    if source.startswith(_POSTGRES) or Path(source + _COPY).exists():
        return
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(source + _COPY)) as copy:
        original.backup(copy)


def _row(namespace: Labels, found: Found) -> dict[str, object]:
    return {"namespace": namespace, **found._asdict(), "new": len(found.new)}


def _show(found: dict[Labels, Found], dry_run: bool) -> None:
    counts = list(found.values())
    if not counts:
        output.report("warning", "there is nothing to import: the store has no items there")
        return
    output.print_table(
        {
            "namespace": [format_namespace(namespace) for namespace in found],
            "to import" if dry_run else "imported": [len(each.new) for each in counts],
            "there already": [each.known for each in counts],
            "of these changed": [each.changed or "" for each in counts],
            "left out": [each.left_out for each in counts],
        }
    )
    total = sum(len(each.new) for each in counts)
    output.print_lines([f"{total} records would be imported" if dry_run else f"{total} records imported"])
