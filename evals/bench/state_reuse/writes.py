"""How long a write takes to be acknowledged while the server is busy, against the bare store's `put`."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.keep_busy import busy
from evals.bench.state_reuse.results import Outcome, Row, Target, quantile
from evals.bench.state_reuse.stand import Stand
from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.folder import Folder

NO_SLOWER = Target(most=1.5)
READERS = 4
"""Reads in flight while the server is busy."""

READ = 8_000
"""Tokens of what they read, each from its beginning."""

NAMESPACES = 8
"""That are written to in turn, so that none becomes very long."""

PLACE = ("bare", "records")

Acts = Mapping[str, Callable[[int], object]]
Times = Mapping[str, list[float]]


def measure(stand: Stand) -> Outcome:
    """A folder's SQLite store and one in memory; the server busy, and idle."""
    rows, url = list[Row](), stand.servers["reuse"].base_url
    for kind in ("folder", "in memory"):
        with ExitStack() as opened:
            memory = opened.enter_context(Memory(stand.reader(), store=_store(stand, kind, opened)))
            acts = sides(stand, memory, _store(stand, kind, opened), _store(stand, kind, opened))
            settled, end = stand.scale.settled, stand.scale.settled + stand.scale.writes
            timed(acts, range(settled))
            with busy(url, readers=READERS, characters=round(READ * stand.per_token)):
                loaded = timed(acts, range(settled, end))
            memory.flush()
            idle = timed(acts, range(end, end + stand.scale.writes // 3), after=memory.flush)
        rows += [*compared(f"{kind}, busy", loaded, NO_SLOWER), *compared(f"{kind}, idle", idle)]
        rows += parts(f"{kind}, busy", loaded)
    return Outcome(
        name="writes",
        title=f"An acknowledged write of {stand.scale.written} characters",
        ours="Memory.write",
        theirs="store.put",
        ratio="ratio",
        rows=tuple(rows),
        notes=(
            f"Busy: another process keeps {READERS} reads of {READ:,} tokens in flight; and what is written is primed.",
            "A write is one transaction of two puts: the record, and the log's head, which counts records and hands "
            f"out their positions. {stand.scale.settled} of each go before, untimed: a new write-ahead log grows, and "
            "that costs more than writing over it.",
        ),
    )


def sides(stand: Stand, memory: Memory, bare: BaseStore, other: BaseStore) -> Acts:
    """What is timed, by name, called with the number of the run: both sides, and the puts of ours on another store."""
    scale, namespaces = stand.scale, [stand.namespace(f"writes {number}") for number in range(NAMESPACES)]
    records = [_record(stand, number) for number in range(scale.settled + 2 * scale.writes)]
    values = [_value(record, number) for number, record in enumerate(records)]
    return {
        "write": lambda run: memory.write(namespaces[run % NAMESPACES], records[run]),
        "put": lambda run: bare.put(PLACE, f"put {run}", values[run]),
        "puts": lambda run: other.batch([PutOp(PLACE, f"puts {run}", values[run]), PutOp(PLACE, "head", {"n": run})]),
    }


def timed(acts: Acts, runs: range, after: Callable[[], object] = lambda: None) -> Times:
    """Milliseconds of each act in each run, who goes first alternating; `after` follows, untimed."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    for run in runs:
        for name in list(acts)[:: 1 if run % 2 else -1]:
            started = time.perf_counter()
            acts[name](run)
            times[name].append(1e3 * (time.perf_counter() - started))
            after()
    return times


def compared(what: str, times: Times, target: Target | None = None) -> list[Row]:
    """p50 and p99 of both sides."""
    rows, n = list[Row](), len(times["write"])
    for share in (50, 99):
        ours, theirs = quantile(times["write"], share / 100), quantile(times["put"], share / 100)
        figures = {"ours": ours, "theirs": theirs, "ratio": ours / theirs}
        rows.append(Row(what=f"{what}: p{share}", unit="ms", n=n, target=target, **figures))
    return rows


def parts(what: str, times: Times) -> list[Row]:
    """Where the time of a write goes, by the medians."""
    whole, puts = (quantile(times[name], 0.5) for name in ("write", "puts"))
    named = {"two puts": puts, "the rest of the write": whole - puts}
    return [Row(what=f"{what}: {name}", unit="ms", n=len(times["write"]), ours=part) for name, part in named.items()]


def _record(stand: Stand, number: int) -> MemoryRecord:
    return MemoryRecord(text=texts.caption(stand.scale.written, seed=f"written {number}"))


def _value(record: MemoryRecord, number: int) -> dict[str, Any]:
    """What the log keeps of a record."""
    return {**record.model_dump(mode="json", exclude={"key"}), "position": number, "order": number}


def _store(stand: Stand, kind: str, opened: ExitStack) -> BaseStore:
    if kind == "in memory":
        return InMemoryStore()
    folder = Folder(stand.new_folder())
    opened.callback(folder.close)
    return folder.store
