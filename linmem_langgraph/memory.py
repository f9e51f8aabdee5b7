"""The facade: one log, any reader."""

import json
import time
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from langchain_core.runnables import run_in_executor
from langgraph.config import get_store
from langgraph.store.base import BaseStore
from pydantic import ValidationError

from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.filters import Filter, conditions
from linmem_langgraph.jsonl import read_jsonl, write_jsonl
from linmem_langgraph.log import Log, counts, refuse_own_loop
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers import create_reader
from linmem_langgraph.readers.base import Query, Reader
from linmem_langgraph.records import ForgetReceipt, MemoryRecord, Reading, as_record, is_key
from linmem_langgraph.traces import Traces
from linmem_langgraph.updates import Updates

Records = Iterable[MemoryRecord | str] | MemoryRecord | str


class Memory:
    """Long-term memory: writes go to the log, reads go to the reader.

    Safe to share between threads. Use it as a context manager, or call `close`.

    Args:
        reader: answers the queries; it serves this memory alone, and is closed with it.
        store: the LangGraph store that keeps the log; None = the store of the graph that is running. Several processes
            may write to one folder (`Memory.open`); over another store let one process write a namespace.
        trace_content: whether LangSmith, where it traces, is sent texts, queries, answers, filters and metadata.
            Without them the runs of memory and of its reader's model tell keys, positions, scores, counts, tokens and
            the namespace. What the agent around it sends itself (its messages, its tools' arguments and results) is out
            of reach here: `LANGSMITH_HIDE_INPUTS=true` and `LANGSMITH_HIDE_OUTPUTS=true` hold back that of all runs.

    Raises (all methods):
        NamespaceError: the namespace is invalid.
        ConfigError: `store=None` outside a graph, or in a graph compiled without a store.
    """

    def __init__(self, reader: Reader, *, store: BaseStore | None = None, trace_content: bool = True) -> None:
        self.reader = reader
        self._store = store
        self._traces = Traces(reader.name, content=trace_content)
        self._updates = Updates(reader)
        self._closed = False
        self._closing = ExitStack()
        self._closing.callback(reader.close)

    @classmethod
    def open(
        cls, path: str | Path, reader: str | Reader = "chroma", *, trace_content: bool = True, **options: Any
    ) -> Self:
        """A memory in a folder, made if it is not there: an SQLite log and the reader's files.

        Args:
            reader: a reader's name, or a reader.
            trace_content: as of `Memory`.
            options: the named reader's own arguments.

        Raises:
            ConfigError: the folder is not a memory or cannot be opened, or the reader or an option is unknown.
        """
        from linmem_langgraph.folder import Folder, resolved

        where = resolved(path)
        chosen = create_reader(reader, where, options)
        with ExitStack() as undo:
            undo.callback(chosen.close)
            folder = Folder(where)
            undo.pop_all()
        memory = cls(chosen, store=folder.store, trace_content=trace_content)
        memory._closing.callback(folder.close)
        return memory

    def write(self, namespace: Namespace, records: Records) -> list[str]:
        """Remember `records`; their keys, in the order given.

        Returns when the log has them durably. No model is called: indexing and priming follow in the background.
        Writing a known key replaces its record. Writing a record again changes nothing if it has a key or a position;
        without either it is another record at the next position.

        Raises:
            RecordError: a record is invalid; nothing was written.
            ContextOverflow: a record is larger than the reader's model can read; nothing was written.
        """
        log = self._log(namespace)
        given = [records] if isinstance(records, (str, MemoryRecord)) else records
        valid = [as_record(record) for record in given]
        with self._traces.write(namespace, valid) as told:
            self.reader.check(valid)
            keys, change = log.write(valid)
            if change:
                self._updates.submit(log, change)
            told(keys)
        return keys

    def read(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int | None = None,
        until: int | None = None,
        exclude: Collection[int | str] = (),
        filter: Filter | None = None,
    ) -> Reading:
        """Answer `query` from the memory of `namespace`.

        Args:
            query: a question or a search text, not empty.
            limit: at most this many records (positions, for a reader that reads by position); None = the reader's own.
            until: the as-of bound, a position, inclusive: nothing later influences the reading.
            exclude: what was already seen: positions (integers) or keys (strings).
            filter: conditions on the record's fields and metadata, in the operators of LangGraph's stores.

        Raises:
            ReaderUnavailable: the reader's index or server cannot be reached.
            ConfigError: an argument is invalid, or the index was built by another set-up.
        """
        started = time.perf_counter()
        asked = as_query(query, limit, until, exclude, filter)
        with self._traces.read(namespace, asked) as told:
            reading = self.reader.read(self._readable(namespace), asked)
            told(reading)
        return reading.model_copy(update={"seconds": time.perf_counter() - started})

    def records(self, namespace: Namespace, *, until: int | None = None) -> list[MemoryRecord]:
        """All records up to position `until`, inclusive: by position, and as written within one."""
        return self._log(namespace).records(until=until)

    def namespaces(self) -> dict[Namespace, int]:
        """The namespaces that have been written to and not been forgotten, sorted, and how many records each has."""
        return counts(self._open_store())

    def get(self, namespace: Namespace, keys: Iterable[str]) -> list[MemoryRecord]:
        """The records of those keys that are there, in log order."""
        return self._log(namespace).get([key for key in dict.fromkeys(keys) if is_key(key)])

    def forget(self, namespace: Namespace, keys: Iterable[str] | str | None = None) -> ForgetReceipt:
        """Forget records by key, or the whole namespace; not the namespaces below it.

        Log and index are cleaned before this returns, and in a folder the log's files are, too. The index never holds
        texts, readable metadata or namespaces. Keys and vectors may linger in Chroma's files until it compacts them, so
        choose keys that say nothing (the ones made here are random or hashes); and its library writes unused slots of
        its graph as it finds them in memory, which can be anything the process has read.

        Raises:
            ReaderUnavailable: the log has forgotten, but the reader's index could not be reached and still holds
                entries: call it again with the same keys once it can.
        """
        log = self._log(namespace)
        wanted = None if keys is None else [keys] if isinstance(keys, str) else list(dict.fromkeys(keys))
        with self._traces.forget(namespace, wanted) as told:
            receipt = self._forget(log, wanted)
            told(receipt)
        return receipt

    def export_jsonl(self, namespace: Namespace, path: str | Path) -> int:
        """Write all records to a JSON Lines file, a row a record in log order; how many there are.

        Imported elsewhere and exported again, the file is the same to the byte.

        Raises:
            ConfigError: the file cannot be written; what was there before is left as it was.
        """
        return write_jsonl(Path(path), self.records(namespace))

    def import_jsonl(self, namespace: Namespace, path: str | Path) -> list[str]:
        """`write` the records of a file that `export_jsonl` wrote; their keys.

        Raises:
            ConfigError: the file cannot be read.
            RecordError: a row is cut off or wrong; nothing was written.
        """
        return self.write(namespace, read_jsonl(Path(path)))

    def rebuild(self, namespace: Namespace) -> None:
        """Drop what the reader derived for `namespace` and derive it anew from the log."""
        log = self._log(namespace)
        self._updates.wait(namespace)
        self.reader.rebuild(log)

    def flush(self) -> None:
        """Wait until everything written has been indexed or primed.

        Raises:
            LinmemError: the first failure since the last flush; the log has the records, the next read tries again.
        """
        self._refuse_to_wait_on_own_loop()
        self._updates.flush()

    def close(self) -> None:
        """Finish what is pending, then release the reader and, if it was opened here, the folder."""
        self._refuse_to_wait_on_own_loop()
        self._closed = True
        self._updates.close()
        self._closing.close()

    async def awrite(self, namespace: Namespace, records: Records) -> list[str]:
        """`write`, without blocking the event loop."""
        return await run_in_executor(None, self.write, namespace, records)

    async def aread(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int | None = None,
        until: int | None = None,
        exclude: Collection[int | str] = (),
        filter: Filter | None = None,
    ) -> Reading:
        """`read`, without blocking the event loop; if it is cancelled, so is what a model reader asks its server."""
        started = time.perf_counter()
        asked = as_query(query, limit, until, exclude, filter)
        with self._traces.read(namespace, asked) as told:
            reading = await self.reader.aread(await run_in_executor(None, self._readable, namespace), asked)
            told(reading)
        return reading.model_copy(update={"seconds": time.perf_counter() - started})

    async def aforget(self, namespace: Namespace, keys: Iterable[str] | str | None = None) -> ForgetReceipt:
        """`forget`, without blocking the event loop."""
        return await run_in_executor(None, self.forget, namespace, keys)

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await run_in_executor(None, self.close)

    async def aflush(self) -> None:
        """`flush`, without blocking the event loop."""
        await run_in_executor(None, self.flush)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def store(self) -> BaseStore:
        """The store that keeps the log; without one of its own, the running graph's."""
        return _running_store() if self._store is None else self._store

    def _readable(self, namespace: Namespace) -> Log:
        """The log, once it may be read."""
        log = self._log(namespace)
        if self.reader.waits_for_updates:
            self._updates.wait(namespace)
        return log

    def _forget(self, log: Log, wanted: list[str] | None) -> ForgetReceipt:
        namespace = log.namespace
        known = None if wanted is None else [key for key in wanted if is_key(key)]
        if self.reader.waits_for_updates:
            self._updates.wait(namespace)
        change = log.remove(known)
        gone = frozenset(change.removed)
        scrub = getattr(log.store, "scrub", None)
        scrubbed = scrub is None or scrub()
        self._updates.wait(namespace)
        try:
            from_index = self.reader.forget(log, known, change)
        except ReaderUnavailable as exc:
            raise ReaderUnavailable(
                f"{len(gone)} record(s) of {namespace!r} are gone from the log, but the index could not be cleaned: "
                f"{exc}. Call forget again with the same keys when it is back"
            ) from exc
        return ForgetReceipt(
            namespace=namespace,
            forgotten=change.removed,
            unknown=tuple(key for key in wanted or () if key not in gone),
            from_log=len(gone),
            from_index=from_index,
            scrubbed=scrubbed,
            reader=self.reader.name,
            forgotten_at=datetime.now(UTC),
        )

    def _log(self, namespace: Namespace) -> Log:
        return Log(self._open_store(), namespace)

    def _open_store(self) -> BaseStore:
        if self._closed:
            raise ConfigError("this memory is closed: make or open another")
        store = self.store
        refuse_own_loop(store)
        return store

    def _refuse_to_wait_on_own_loop(self) -> None:
        for log in self._updates.pending():
            refuse_own_loop(log.store)


def _running_store() -> BaseStore:
    try:
        store = get_store()
    except (RuntimeError, KeyError):
        store = None
    if store is None:
        raise ConfigError(
            "this memory has no store of its own and no graph with a store is running: pass Memory(reader, store=...), "
            "use Memory.open(folder), or compile the graph with store=..."
        )
    return store


def as_query(
    text: str,
    limit: int | None = None,
    until: int | None = None,
    exclude: Collection[int | str] = (),
    filter: Filter | None = None,
) -> Query:
    """The arguments of `Memory.read` as a query.

    Raises:
        ConfigError: one of them is invalid.
    """
    conditions(filter)
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"the query is {text!r}: give a question or a search text")
    try:
        json.dumps([text, filter], ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as exc:
        raise ConfigError("the query or the filter has a lone surrogate: decode it as UTF-8 first") from exc
    seen = [exclude] if isinstance(exclude, str) else exclude
    if not isinstance(seen, Collection):
        raise ConfigError(f"exclude is {exclude!r}: give a collection of positions and keys")
    try:
        return Query(text=text, limit=limit, until=until, exclude=frozenset(seen), filter=dict(filter or {}) or None)
    except ValidationError as exc:
        problem = exc.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"read: {place} is {problem['input']!r}: {problem['msg']}") from exc
