"""A LangGraph store whose `search(query=...)` is answered by a reader."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from threading import Lock
from typing import Any

from langchain_core.runnables import run_in_executor
from langchain_core.runnables.config import ContextThreadPoolExecutor
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    get_text_at_path,
)
from pydantic import ValidationError

from linmem_langgraph.errors import ConfigError, NamespaceError, RecordError
from linmem_langgraph.filters import Filter
from linmem_langgraph.log import HEADS, is_record, refuse_own_loop
from linmem_langgraph.memory import Memory
from linmem_langgraph.namespaces import ITEMS, Namespace, check, decode, encode
from linmem_langgraph.records import MAX_TEXT, ForgetReceipt, MemoryRecord, Reading, clean

_OURS = encode((ITEMS,))
"""The first label of where the items' texts lie: no namespace of a store has the dot that it encodes."""

_HIDDEN = (HEADS, *_OURS)

_EVERYTHING = 2**31 - 1
_MOST = 1_000_000
_PIECE = MAX_TEXT // 2
_AT_ONCE = 8


At = tuple[Namespace, str]


@dataclass(frozen=True)
class _Place:
    """A memory: its namespace, and the store's namespace in which the items lie that its records tell, or are."""

    log: Namespace
    items: Namespace

    @property
    def tells(self) -> bool:
        return self.log[0] == ITEMS

    def item(self, record: MemoryRecord) -> str:
        # What a `Memory` wrote among ours names no item.
        return str(record.metadata.get("item", "") if self.tells else record.key)

    def only(self, items: frozenset[str]) -> Filter:
        return {"item" if self.tells else "key": {"$in": items}}


@dataclass(frozen=True)
class _Change:
    """What a put does to the memory: the item's records are `records` from now on."""

    namespace: Namespace
    key: str
    records: tuple[MemoryRecord, ...]


Known = dict[At, list[tuple[_Place, MemoryRecord]]]


class MemoryStore(BaseStore):
    """Any store, read by any reader: for langmem's tools, for deepagents, for REST clients of a LangGraph server.

    Items, namespaces and filters pass through to the memory's store. The text of an item is written to the memory as
    well, so `search(query=...)` gives the items that the reader's reading rests on, with its scores, those of
    sub-namespaces too, as in every store; then, if there are fewer than `limit`, those that have no text
    (`index=False`). What a `Memory` or `MemoryMiddleware` over the same store wrote is found as well.

    Several items change at a time in one process; over a store other than a folder's let one process write a namespace.
    What was put before, or past this store, is found without a score until `rebuild` is called. There is no `ttl`: a
    text that expires in the store would stay in the memory.

    `beneath` is the memory's store.

    Args:
        memory: a memory with a store of its own: `Memory(reader, store=store)`, `Memory.open(folder)`. Close it when
            nobody uses the store any more.
        fields: paths of what is read of a value when a put names none, as in LangGraph's index configuration; "$" is
            all of it: its text, if there is but one, else its JSON.
        answers: let results begin with an item `reading`, which is not in the store: the reader's words, if a language
            model wrote them, as its `content`.

    Raises:
        ConfigError: the memory has no store of its own; when it is called: its store is an async one, and this is that
            one's event loop, where only the async methods do not wait for ever.
        RecordError: when an item is put: its key cannot be kept; nothing was put.
    """

    def __init__(self, memory: Memory, *, fields: Sequence[str] = ("$",), answers: bool = False) -> None:
        self.memory = memory
        self.beneath = memory.store
        self.fields = [fields] if isinstance(fields, str) else list(fields)
        self.answers = answers
        self._changing = Lock()

    def __getattr__(self, name: str) -> Any:
        # Only what is not here: a store's own methods, such as `setup`, or a folder's transactions.
        if name in ("beneath", "memory"):
            raise AttributeError(name)
        return getattr(self.beneath, name)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        refuse_own_loop(self.beneath)
        given = list(ops)
        if any(isinstance(op, PutOp) and op.namespace[0] == HEADS for op in given):
            return self.beneath.batch(given)  # a log, of a memory over a store that wraps this one
        asked = {place: op for place, op in enumerate(given) if isinstance(op, SearchOp) and _asks(op)}
        read: dict[int, Result] = {place: self._search(op) for place, op in asked.items()}
        passed = iter(self._passed([op for place, op in enumerate(given) if place not in asked]))
        return [read[place] if place in read else next(passed) for place in range(len(given))]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await run_in_executor(None, self.batch, list(ops))

    def rebuild(self, namespace_prefix: Namespace = ()) -> int:
        """Write to the memory what the store's items say, where it has something else; how many items that were.

        For a store that was filled before, or past this one. Which fields a put named is kept where it is known; that
        it said `index=False` is not.
        """
        refuse_own_loop(self.beneath)
        with self._changing:
            known = self._known(self._places(namespace_prefix))
            items = {_at(item): item for item in self._listed(namespace_prefix)}
            changes = [_Change(*at, ()) for at, told in known.items() if at not in items and told[0][0].tells]
            for at, item in items.items():
                if not self._is_told_whole(item, known):
                    fields = known[at][0][1].metadata.get("fields") if at in known else None
                    changes.append(self._change(PutOp(*at, item.value, fields)))  # type: ignore[arg-type]
            self._follow(changes)
        return len(changes)

    def forget(self, namespace_prefix: Namespace) -> list[ForgetReceipt]:
        """Forget all that lies below a prefix, items and what a `Memory` wrote: a receipt for each memory there.

        Raises:
            NamespaceError: the prefix is empty.
        """
        refuse_own_loop(self.beneath)
        check(namespace_prefix)
        with self._changing:
            receipts = [self.memory.forget(place.log) for place in self._places(namespace_prefix)]
            left = [_at(item) for item in self._listed(namespace_prefix)]
            self.beneath.batch([PutOp(*at, None) for at in left])
        # Stores in memory list namespaces that were only looked at.
        return [receipt for receipt in receipts if receipt.from_log or receipt.from_index]

    def _passed(self, ops: list[Op]) -> list[Result]:
        """What the memory's store gives, and the memory follows what is put."""
        if ours := next((op for op in ops if isinstance(op, PutOp) and tuple(op.namespace[:1]) == _OURS), None):
            raise NamespaceError(f"cannot put {ours.key!r} in {ours.namespace!r}: a MemoryStore keeps its own there")
        if not any(isinstance(op, PutOp) for op in ops):
            return [
                _narrowed(op, result) for op, result in zip(ops, self.beneath.batch(map(_widened, ops)), strict=True)
            ]
        with self._changing:
            last = {_at(op): op for op in ops if isinstance(op, PutOp)}
            records = self._records_among(last)
            if kept := next((at for at in records if last[at].value is not None), None):
                raise ConfigError(f"{kept[1]!r} in {kept[0]!r} is a record of a memory: change it by Memory.write")
            changes = [self._change(op) for at, op in last.items() if at not in records]
            self.memory.reader.check([record for change in changes for record in change.records])
            passed = [op for op in ops if not (isinstance(op, PutOp) and _at(op) in records)]
            results = iter(self.beneath.batch(map(_widened, passed)))
            for namespace, key in records:
                self.memory.forget(decode(namespace), key)
            self._follow(changes)
            return [
                None if isinstance(op, PutOp) and _at(op) in records else _narrowed(op, next(results)) for op in ops
            ]

    def _records_among(self, places: Iterable[At]) -> list[At]:
        """Those that hold a record which a `Memory` wrote; deleting its item alone would not forget it."""
        found = [at for at, item in zip(places, self._items(places), strict=True) if item and is_record(item)]
        heads = self._items([((HEADS, *namespace), "head") for namespace, _ in found])
        return [at for at, head in zip(found, heads, strict=True) if head]

    def _items(self, places: Iterable[At]) -> list[Item | None]:
        return self.beneath.batch([GetOp(*at, refresh_ttl=False) for at in places])  # type: ignore[return-value]

    def _change(self, op: PutOp) -> _Change:
        if op.ttl is not None:
            raise ConfigError(f"{op.key!r} has a ttl of {op.ttl!r}: a MemoryStore keeps items until they are deleted")
        encode((ITEMS, *op.namespace))
        texts = self._texts(op.value, op.index)
        named = {"item": op.key, "texts": len(texts), **({"fields": list(op.index)} if op.index else {})}
        try:
            records = tuple(
                MemoryRecord(text=text, key=_key(op.key, place), kind="semantic", metadata=named)
                for place, text in enumerate(texts)
            )
        except ValidationError as exc:
            raise RecordError(f"cannot put {op.key!r} in {op.namespace!r}: {exc.errors()[0]['msg']}") from exc
        return _Change(op.namespace, op.key, records)

    def _follow(self, changes: Sequence[_Change]) -> None:
        for namespace in dict.fromkeys(change.namespace for change in changes):
            here = [change for change in changes if change.namespace == namespace]
            log = (ITEMS, *namespace)
            old = self.memory.get(log, [_key(change.key, 0) for change in here])
            had = {str(record.metadata["item"]): int(str(record.metadata["texts"])) for record in old}
            gone = [
                _key(change.key, place)
                for change in here
                for place in range(len(change.records), had.get(change.key, 0))
            ]
            if gone:
                self.memory.forget(log, gone)
            if records := [record for change in here for record in change.records]:
                self.memory.write(log, records)

    def _texts(self, value: Mapping[str, Any] | None, index: Any) -> list[str]:
        """What a reader sees of a value, in pieces that a record can hold."""
        if value is None or index is False:
            return []
        found = [
            text
            for path in (self.fields if index is None else index)
            for text in ([_whole(value)] if path == "$" else get_text_at_path(value, path))
        ]
        cleaned = [clean(text) for text in found]
        pieces = (text[start : start + _PIECE] for text in cleaned for start in range(0, len(text), _PIECE))
        return [piece for piece in pieces if piece.strip()]

    def _search(self, op: SearchOp) -> list[SearchItem]:
        if op.limit < 1 or tuple(op.namespace_prefix[:1]) == _OURS:
            return []
        wanted = op.offset + op.limit
        places = self._places(op.namespace_prefix)
        admitted = self._admitted(op) if op.filter else None
        read = self._reads(places, op, min(wanted, _MOST), admitted)
        hits = [hit for each, _ in read for hit in each]
        hits.sort(key=lambda hit: (hit.score is None, -(hit.score or 0.0)))
        if len(hits) < wanted:
            hits += islice(self._untold(op, places), wanted - len(hits))
        told = [_told(place, reading) for place, (_, reading) in zip(places, read, strict=True) if reading.model]
        return [*(told if self.answers else ()), *hits][op.offset : wanted]

    def _reads(
        self, places: list[_Place], op: SearchOp, wanted: int, admitted: dict[Namespace, frozenset[str]] | None
    ) -> list[tuple[list[SearchItem], Reading]]:
        def read(place: _Place) -> tuple[list[SearchItem], Reading]:
            keys = None if admitted is None else admitted.get(place.items, frozenset())
            return self._read(place, str(op.query), wanted, keys)

        if len(places) < 2:
            return [read(place) for place in places]
        with ContextThreadPoolExecutor(_AT_ONCE) as executor:
            return list(executor.map(read, places))

    def _read(
        self, place: _Place, query: str, wanted: int, admitted: frozenset[str] | None
    ) -> tuple[list[SearchItem], Reading]:
        """The items that a reading rests on, `wanted` of them if there are so many."""
        limit, condition = wanted, None if admitted is None else place.only(admitted)
        while True:
            reading = self.memory.read(place.log, query, limit=limit, filter=condition)
            hits = self._still_there(place, reading)
            if len(hits) >= wanted or len(reading.records) < limit or limit == _MOST:
                return hits, reading
            limit = min(4 * limit, _MOST)

    def _still_there(self, place: _Place, reading: Reading) -> list[SearchItem]:
        """The items of a reading, each with its best record that has a text of it as it is now."""
        named = dict.fromkeys(place.item(hit.record) for hit in reading.records)
        items = dict(zip(named, self._items([(place.items, key) for key in named]), strict=True))
        best: dict[str, SearchItem] = {}
        for hit in reading.records:
            item = items[place.item(hit.record)]
            if item and item.key not in best and (not place.tells or self._says(hit.record, item)):
                best[item.key] = _scored(item, hit.score)
        return list(best.values())

    def _says(self, record: MemoryRecord, item: Item) -> bool:
        """Whether a record has a text of the item as it is now."""
        return record.text in self._texts(item.value, record.metadata.get("fields"))

    def _known(self, places: Iterable[_Place]) -> Known:
        """By item: the records that tell it, or are it."""
        known: Known = {}
        for place in places:
            for record in self.memory.records(place.log):
                known.setdefault((place.items, place.item(record)), []).append((place, record))
        return known

    def _is_told(self, item: Item, known: Known) -> bool:
        """Whether the memory has a text of the item as it is now."""
        return any(not place.tells or self._says(record, item) for place, record in known.get(_at(item), ()))

    def _is_told_whole(self, item: Item, known: Known) -> bool:
        """Whether it has all of them, and no other."""
        told = known.get(_at(item), [])
        if any(not place.tells for place, _ in told):
            return True
        texts = self._texts(item.value, told[0][1].metadata.get("fields") if told else None)
        return sorted(record.text for _, record in told) == sorted(texts)

    def _untold(self, op: SearchOp, places: Iterable[_Place]) -> Iterator[SearchItem]:
        """The items of which the memory has no text that they have now."""
        known = self._known(places)
        return (
            _scored(item, None)
            for item in self._listed(op.namespace_prefix, op.filter)
            if not self._is_told(item, known)
        )

    def _admitted(self, op: SearchOp) -> dict[Namespace, frozenset[str]]:
        """The keys that the store's own filter admits, by namespace."""
        found: dict[Namespace, set[str]] = {}
        for item in self._listed(op.namespace_prefix, op.filter):
            found.setdefault(item.namespace, set()).add(item.key)
        return {namespace: frozenset(keys) for namespace, keys in found.items()}

    def _listed(self, prefix: Namespace, filter: dict[str, Any] | None = None) -> list[SearchItem]:
        found = self.beneath.search(prefix, filter=filter, limit=_EVERYTHING, refresh_ttl=False)
        return [item for item in found if _within(item.namespace, prefix) and item.namespace[0] not in _HIDDEN]

    def _places(self, prefix: Namespace) -> list[_Place]:
        """The memories below a prefix, each by its log's head."""
        items = encode((ITEMS, *prefix))
        places = dict[Namespace, _Place]()
        for head in dict.fromkeys([(HEADS, *items), (HEADS, *prefix)]):
            for labels in self.beneath.list_namespaces(prefix=head, limit=_EVERYTHING):
                if not _within(labels, head):
                    continue
                log = decode(labels[1:])
                places[log] = _Place(log, log[1:] if log[0] == ITEMS else labels[1:])
        return [places[log] for log in sorted(places)]


def _asks(op: SearchOp) -> bool:
    return bool(op.query and op.query.strip())


def _at(what: Item | PutOp) -> At:
    return what.namespace, what.key


def _within(namespace: Namespace, prefix: Namespace) -> bool:
    # Stores have returned siblings for a prefix, and a label `*` matches any when namespaces are listed.
    return namespace[: len(prefix)] == tuple(prefix)


def _widened(op: Op) -> Op:
    """The same, unbounded, if what memory keeps in the store may be among what it finds."""
    if isinstance(op, SearchOp | ListNamespacesOp) and _may_show_ours(op):
        return op._replace(limit=_EVERYTHING, offset=0)
    return op


def _narrowed(op: Op, result: Any) -> Result:
    if isinstance(op, GetOp) and tuple(op.namespace[:1]) == _OURS:
        return None
    if not (isinstance(op, SearchOp | ListNamespacesOp) and _may_show_ours(op)):
        return result  # type: ignore[no-any-return]
    shown = [each for each in result if (each if isinstance(each, tuple) else each.namespace)[0] not in _HIDDEN]
    return shown[op.offset : op.offset + op.limit]


def _may_show_ours(op: SearchOp | ListNamespacesOp) -> bool:
    if isinstance(op, SearchOp):
        return tuple(op.namespace_prefix[:1]) in ((), _OURS)
    return not any(each.match_type == "prefix" and each.path[0] == HEADS for each in op.match_conditions or ())


def _whole(value: Mapping[str, Any]) -> str:
    """The text of a value that has but one, or else its JSON."""
    texts, others = list[str](), list[Any]([value])
    while others:
        part = others.pop()
        if isinstance(part, Mapping):
            others += part.values()
        elif isinstance(part, str):
            texts.append(part)
        else:
            texts += ["", ""]
    return texts[0] if len(texts) == 1 else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _key(item: str, place: int) -> str:
    """Of the record that holds an item's text number `place`: says nothing of the item, and fits any reader."""
    return hashlib.sha256(json.dumps([item, place]).encode()).hexdigest()[:20]


def _scored(item: Item, score: float | None) -> SearchItem:
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)


def _told(place: _Place, reading: Reading) -> SearchItem:
    now = datetime.now(UTC)
    said = {"content": reading.text, "reader": reading.reader, "model": reading.model}
    return SearchItem(place.items, "reading", said, now, now)
