"""The log: the ordered, durable records of one namespace, kept in a LangGraph store.

A record is one item of the store, under the namespace itself and the record's key. Beside it, under `%linmem` (a label
no namespace can have, since `%` is encoded), a head counts the records, hands out positions and names the log's
version, a random token that every change replaces; readers compare it with the version their index was built from.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from langgraph.store.base import BaseStore, GetOp, Item, Op, PutOp, SearchItem
from langgraph.store.base.batch import AsyncBatchedBaseStore

from linmem_langgraph import namespaces
from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.filters import Filter, matches
from linmem_langgraph.records import MAX_POSITION, MemoryRecord

_BATCH = 1_000
"""Items per call of the store: one statement, below SQLite's limit on parameters."""

HEADS = "%linmem"
"""The first label of where heads lie."""

_EVERYTHING = 2**31 - 1

_KEY = 20
"""Hexadecimal digits of a key made here: short, since models read and repeat keys; 80 bits."""

_PATIENCE = 1_000

_KINDS = {"text": str, "position": int, "order": int}
"""What every record has."""

Heads = dict[namespaces.Namespace, "Head"]

_stripes: WeakKeyDictionary[BaseStore, list[Lock]] = WeakKeyDictionary()
_stripes_lock = Lock()


@dataclass(frozen=True)
class Head:
    """What is known of a log without listing it; an empty version is an empty log's."""

    version: str = ""
    count: int = 0
    next_position: int = 0
    next_order: int = 0


@dataclass(frozen=True)
class Change:
    """What a write or a removal did: it turned version `base` into `version`.

    `appended`: all it did was to put new records behind the last one, in the order of `written`.
    """

    base: str
    version: str
    written: tuple[MemoryRecord, ...] = ()
    removed: tuple[str, ...] = ()
    appended: bool = False


def joined(changes: Sequence[Change]) -> Change:
    """Changes that follow each other, as one; at least one."""
    if len(changes) == 1:
        return changes[0]
    written: dict[str, MemoryRecord] = {}
    removed: dict[str, None] = {}
    for change in changes:
        for record in change.written:
            written[str(record.key)] = record
            removed.pop(str(record.key), None)
        for key in change.removed:
            written.pop(key, None)
            removed[key] = None
    return Change(
        base=changes[0].base,
        version=changes[-1].version,
        written=tuple(written.values()),
        removed=tuple(removed),
        appended=all(change.appended for change in changes),
    )


class Log:
    """The log of one namespace.

    Args:
        store: any LangGraph store. Several processes may write to one folder (`Memory.open`); over another store let
            one process write a namespace: LangGraph's stores have no compare-and-set.
        namespace: whose memory it is.
    Raises:
        NamespaceError: the namespace is invalid.
    """

    def __init__(self, store: BaseStore, namespace: namespaces.Namespace) -> None:
        self.namespace = namespace
        # A `MemoryStore` keeps logs in the store beneath it, and whoever writes to one of them must hold its lock.
        self.store = innermost(store)
        self._place = namespaces.encode(namespace)
        self._head_place = (HEADS, *self._place)
        with _stripes_lock:
            # Each store has its own: an async store's writer waits for its loop, and nobody else may wait for that.
            locks = _stripes.get(self.store) or _stripes.setdefault(self.store, [Lock() for _ in range(64)])
        self._lock = locks[hash(self._place) % len(locks)]

    def head(self) -> Head:
        """The log's head now: one `get` of the store."""
        refuse_own_loop(self.store)
        return self._read([])[0]

    def records(self, *, until: int | None = None, filter: Filter | None = None) -> list[MemoryRecord]:
        """The records up to position `until`, inclusive, that match `filter`: by position, then as written."""
        refuse_own_loop(self.store)
        items: dict[str, Item] = {}
        offset = most = 0
        while page := self._page(offset):
            # A store's search is by prefix: only what lies in this very namespace is ours.
            # Other programs may keep items of their own there; those are not records.
            items.update((item.key, item) for item in page if tuple(item.namespace) == self._place and is_record(item))
            if len(page) < most:
                break  # a store that gives so many at a time had no more; what others write on and on has no end
            offset, most = offset + len(page), len(page)
        ordered = sorted(items.values(), key=_in_order)
        records = (_to_record(item) for item in ordered if until is None or item.value["position"] <= until)
        return [record for record in records if matches(record, filter)]

    def get(self, keys: Sequence[str]) -> list[MemoryRecord]:
        """The records of those keys that are in the log, in log order."""
        refuse_own_loop(self.store)
        return [_to_record(item) for item in sorted(self._read(keys)[1].values(), key=_in_order)]

    def write(self, records: Iterable[MemoryRecord]) -> tuple[list[str], Change | None]:
        """Add or replace records durably; the keys in the order given, and the change, None if there was none.

        A record without position gets the next one; one whose key is known and whose content is the same changes
        nothing. In a folder all of it is one transaction; in another store, each 1,000 records are one call.
        """
        refuse_own_loop(self.store)
        records, keys, changes = _with_derived_keys(records), list[str](), list[Change]()
        with self._changing() as heads:
            for start in range(0, len(records), _BATCH):
                written, change = self._write(records[start : start + _BATCH], heads)
                keys += written
                changes += [change] if change else []
        return keys, joined(changes) if changes else None

    def remove(self, keys: Iterable[str] | None = None) -> Change:
        """Remove the records of those keys, or all of them and the head.

        The change's `removed` are the keys that were in the log. Their positions are not handed out again, unless all
        of the log is removed.
        """
        refuse_own_loop(self.store)
        with self._changing() as heads:
            heads.pop(self._place, None)
            head, found = self._read([] if keys is None else list(keys))
            gone = [str(record.key) for record in self.records()] if keys is None else list(found)
            after = head
            for start in range(0, max(len(gone), keys is None), _BATCH):
                batch = gone[start : start + _BATCH]
                count = after.count - len(batch)
                after = replace(after, version=uuid4().hex, count=count)
                if keys is None and start + _BATCH >= len(gone):
                    after = Head()
                self.store.batch([*(PutOp(self._place, key, None) for key in batch), self._head_op(after)])
            return Change(base=head.version, version=after.version, removed=tuple(gone))

    @contextmanager
    def _changing(self) -> Iterator[Heads]:
        # A folder's store has transactions, and tells whether what one of them left still holds; others do not.
        turn = getattr(self.store, "turn", None)
        with self._lock, turn() if turn else nullcontext({}) as heads:
            yield heads

    def _page(self, offset: int) -> list[SearchItem]:
        for _ in range(_PATIENCE):
            try:
                return self.store.search(self._place, limit=_EVERYTHING, offset=offset, refresh_ttl=False)
            except RuntimeError as exc:
                # InMemoryStore iterates over dictionaries that other threads may be writing to.
                if "changed size during iteration" not in str(exc):
                    raise
        raise ReaderUnavailable(f"{type(self.store).__name__} was written to without a pause: try again")

    def _read(self, keys: Sequence[str], head: Head | None = None) -> tuple[Head, dict[str, Item]]:
        """The head, read unless it is given, and the items of those keys that are records."""
        gets: list[Op] = [] if head else [GetOp(self._head_place, "head", refresh_ttl=False)]
        gets += [GetOp(self._place, key, refresh_ttl=False) for key in dict.fromkeys(keys)]
        items: list[Any] = []
        for start in range(0, len(gets), _BATCH):
            items += self.store.batch(gets[start : start + _BATCH])
        if not head:
            first, *items = items
            head = Head(**first.value) if first else Head()
        return head, {item.key: item for item in items if item and is_record(item)}

    def _write(self, records: Sequence[MemoryRecord], heads: Heads) -> tuple[list[str], Change | None]:
        head, found = self._read([record.key for record in records if record.key], heads.get(self._place))
        values = {key: dict(item.value) for key, item in found.items()}
        position, order, keys, written = head.next_position, head.next_order, list[str](), dict[str, MemoryRecord]()
        appended = True
        for given in records:
            old = values.get(given.key or "")
            place = given.position if given.position is not None else old["position"] if old else position
            key = given.key or uuid4().hex[:_KEY]
            record = given.model_copy(update={"key": key, "position": place})
            behind = place + 1 >= position if position < MAX_POSITION else place == MAX_POSITION
            appended = appended and behind and not old
            position = min(max(position, place + 1), MAX_POSITION)
            keys.append(key)
            value = record.model_dump(mode="json", exclude={"key"})
            if old and _canonical({**value, "order": old["order"]}) == _canonical(old):
                continue
            same_place = old is not None and old["position"] == place
            values[key] = {**value, "order": old["order"] if old and same_place else order}
            written[key] = record
            order += 0 if same_place else 1
        if not written:
            return keys, None
        after = Head(
            version=uuid4().hex,
            count=head.count + sum(key not in found for key in written),
            next_position=position,
            next_order=order,
        )
        puts: list[Op] = [PutOp(self._place, key, values[key], index=False) for key in written]
        # The head last: a store without transactions must not show the new version before the records.
        self.store.batch([*puts, self._head_op(after)])
        heads[self._place] = after
        done = Change(base=head.version, version=after.version, written=tuple(written.values()), appended=appended)
        return keys, done

    def _head_op(self, head: Head) -> Op:
        return PutOp(self._head_place, "head", dict(vars(head)) if head.version else None, index=False)


def counts(store: BaseStore) -> dict[namespaces.Namespace, int]:
    """The namespaces that have a log in `store`, sorted, and how many records each has."""
    places = store.list_namespaces(prefix=(HEADS,), limit=_EVERYTHING)
    found = sorted(namespaces.decode(tuple(labels)) for _, *labels in places)
    heads = {namespace: Log(store, namespace).head() for namespace in found}
    return {namespace: head.count for namespace, head in heads.items() if head.version}


def refuse_own_loop(store: BaseStore) -> None:
    """An async-only store waits for its event loop: called on that loop's thread it would wait for ever.

    Raises:
        ConfigError: this is that thread.
    """
    holder = innermost(store)
    if not isinstance(holder, AsyncBatchedBaseStore):
        return
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return
    if running is holder._loop:
        raise ConfigError(
            f"{type(holder).__name__} is an async store and this is its event loop: use awrite, aread, aforget, "
            "aflush; of a MemoryStore aput, aget, asearch, adelete, alist_namespaces"
        )


def innermost(store: BaseStore) -> BaseStore:
    """The store that holds the items where `store` is a `MemoryStore` over another."""
    while isinstance(inner := getattr(store, "beneath", None), BaseStore):
        store = inner
    return store


def _in_order(item: Item) -> tuple[int, int, str]:
    return item.value["position"], item.value["order"], item.key


def is_record(item: Item) -> bool:
    """Whether an item of a store is a record of a log."""
    # Other programs' items may have the same names.
    return all(type(item.value.get(name)) is kind for name, kind in _KINDS.items())


def _to_record(item: Item) -> MemoryRecord:
    # What lies in the log was validated when it was written; validating it at every read would cost as much as SQLite.
    value = item.value
    return MemoryRecord.model_construct(
        text=value["text"],
        position=value["position"],
        key=item.key,
        kind=value.get("kind", "episodic"),
        created_at=datetime.fromisoformat(value["created_at"]) if value.get("created_at") else None,
        # A copy: a store in memory hands out its own objects, and editing a record must not edit the log.
        metadata=deepcopy(value["metadata"]) if value.get("metadata") else {},
    )


def _canonical(value: dict[str, Any]) -> str:
    """Text that tells apart what Python holds equal: 1, 1.0 and true."""
    return json.dumps(value, sort_keys=True)


def _with_derived_keys(records: Iterable[MemoryRecord]) -> list[MemoryRecord]:
    """Records that have a position but no key get one from their content, so that writing them again is idempotent.

    The same content twice in one call is two records.
    """
    seen: dict[str, int] = {}
    named = []
    for record in records:
        if record.key is None and record.position is not None:
            content = _canonical(record.model_dump(mode="json"))
            seen[content] = seen.get(content, -1) + 1
            digest = hashlib.sha256(f"{seen[content]}:{content}".encode()).hexdigest()[:_KEY]
            record = record.model_copy(update={"key": digest})
        named.append(record)
    return named
