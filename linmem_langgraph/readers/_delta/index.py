"""The state of one namespace in memory and on disk, following the log."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers._delta.codes import Codes
from linmem_langgraph.readers._delta.files import Files
from linmem_langgraph.readers._delta.keys import Array, Vectors
from linmem_langgraph.readers._delta.listing import Listing, link
from linmem_langgraph.readers._delta.rules import Rule
from linmem_langgraph.readers._delta.state import PORTION, State, empty, marks
from linmem_langgraph.records import MemoryRecord

_PATIENCE = 1_000
_DECODED = 2

Portion = Callable[[int, int], Sequence[MemoryRecord]]
"""The records from one number in the log to before another."""


class Scores(NamedTuple):
    """The keys of records in log order, and what the memory answers for each."""

    keys: list[str]
    scores: Array


class LogMoved(Exception):
    """The log is not any more what was listed."""


class DeltaIndex:
    """What is kept for one namespace.

    A state belongs to the beginning of the log whose digest it carries. Whatever has happened to the log, the longest
    state that still is one of a beginning is gone on from: the last one, a checkpoint, or nothing.

    Args:
        checkpoints: at most so many.
    """

    def __init__(self, files: Files, vectors: Vectors, rule: Rule, values: int, checkpoints: int) -> None:
        self._files, self._vectors, self._rule, self._values = files, vectors, rule, values
        self._most = checkpoints
        self._codes = Codes(values)
        self._lock, self._closed = RLock(), False
        self._listing = Listing()
        # The last change that `update` was told of, and in which store; what is listed was listed there and after it.
        self._followed: tuple[int, str] | None = None
        self._state: State | None = None
        self._bounded: State | None = None
        self._decoded = OrderedDict[bytes, Array]()

    def scores(self, log: Log, until: int | None, vector: Array) -> Scores:
        """What the memory of all records up to `until` answers to the query's vector."""
        with self._alone():
            state = self._as_of(log, until)
            if state is None:
                return Scores([], vector[:0])
            state.check(len(vector))
            keys = self._listing.keys[: state.count]
            return Scores(keys, self._codes.scores(keys, self._decoded_of(state) @ state.query(vector)))

    def update(self, log: Log, change: Change) -> None:
        """Follow a change: write what was put behind the last record, else look at the whole log."""
        with self._alone():
            new = self._unlisted(log, change)
            if new is None:
                self._follow(log)
            elif new or log.head().version == change.version:
                before = len(self._listing)
                self._listing.extend(new, change.version)
                self._advance(log, lambda start, stop: new[start - before : stop - before])
            self._followed = id(log.store), change.version

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Drop every state that holds what the log has forgotten; how many entries went.

        The next read goes on from what is left, which may be nothing: a state cannot be relieved of a record whose text
        nobody has any more.
        """
        with self._alone():
            held, in_step = self._held(), self._is_current() and self._listing.version == change.base
            # One of them may be back with another text.
            self._vectors.forget(change.removed)
            self._list(log)
            # Looked for while nobody saves: what another process is about to save would not be found.
            self._files.delete(lambda file: not self._fits(self._usable(file)))
            if keys is None:
                return held
            return len(change.removed) if in_step else max(0, held - len(self._listing))

    def rebuild(self, log: Log) -> None:
        """Make the state anew."""
        with self._alone():
            self._files.delete(lambda file: True)
            self._vectors.clear()
            self._drop()
            self._follow(log)

    def close(self) -> None:
        """Wait for what is under way and let go of everything; nothing is made or saved afterwards."""
        with self._lock:
            self._drop()
            self._closed = True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise closed()
            yield

    def _drop(self) -> None:
        self._listing, self._followed, self._state, self._bounded = Listing(), None, None, None
        self._codes = Codes(self._values)
        self._decoded.clear()

    def _unlisted(self, log: Log, change: Change) -> Sequence[MemoryRecord] | None:
        """What the change has put behind the last record listed; None where only the log can tell.

        All that came before the change must be listed. A read may have listed some of the change itself, too.
        """
        in_step = change.base == self._listing.version or (id(log.store), change.base) == self._followed
        return self._listing.rest(change.written) if in_step and change.appended and self._is_current() else None

    def _is_current(self) -> bool:
        return (self._state.chain if self._state else b"") == self._listing.chain[-1]

    def _fits(self, state: State | None) -> bool:
        """Whether the state is that of a beginning of the log."""
        chain = self._listing.chain
        return state is not None and state.count < len(chain) and chain[state.count] == state.chain

    def _held(self) -> int:
        """How many records the state was made of, in memory or on disk."""
        found = self._state or next(filter(None, map(self._usable, self._files.all())), None)
        return found.count if found else 0

    def _usable(self, file: Path) -> State | None:
        try:
            return self._files.load(file)
        except ConfigError:
            return None

    def _list(self, log: Log) -> None:
        """See what the log holds, and let go of what it does not hold any more.

        If it moves meanwhile, the version is the earlier one, so that whoever comes next looks again: to look until
        nobody writes could take for ever.
        """
        version, listing = log.head().version, Listing()
        listing.extend(log.records() if version else (), version)
        if gone := self._listing.known - listing.known:
            self._vectors.forget(gone)
            self._codes = Codes(self._values)
        self._listing = listing
        self._state, self._bounded = (each if self._fits(each) else None for each in (self._state, self._bounded))
        held = {each.chain for each in (self._state, self._bounded) if each}
        self._decoded = OrderedDict((chain, found) for chain, found in self._decoded.items() if chain in held)
        if self._followed and self._followed[0] != id(log.store):
            self._followed = None

    def _follow(self, log: Log) -> None:
        """Bring the state to what the log holds now."""
        for _ in range(_PATIENCE):
            self._list(log)
            self._state = self._base(len(self._listing))
            try:
                self._advance(log, self._portion(log))
                return
            except LogMoved:
                continue
        raise _restless(log)

    def _advance(self, log: Log, portion: Portion) -> None:
        """Write what is listed and not yet in the state, and save it."""
        kept = marks(len(self._listing), self._most)
        for state in self._written(self._state, len(self._listing), portion, kept):
            self._state = state
            if state.count in kept:
                self._save_checkpoint(log, state)
        if self._state is not None:
            self._save(log, self._state, kept)

    def _as_of(self, log: Log, until: int | None) -> State | None:
        """The state of all records up to `until`; None of no record."""
        for _ in range(_PATIENCE):
            if self._listing.version != log.head().version or not self._is_current():
                self._follow(log)
            count = self._listing.until(until)
            if count == len(self._listing):
                return self._state
            try:
                return self._bounded_to(log, count)
            except LogMoved:
                self._list(log)
        raise _restless(log)

    def _bounded_to(self, log: Log, count: int) -> State | None:
        if count and not (self._bounded and self._bounded.count == count and self._fits(self._bounded)):
            self._bounded = self._base(count)
            for state in self._written(self._bounded, count, self._portion(log)):
                self._bounded = state
        return self._bounded if count else None

    def _base(self, count: int) -> State | None:
        """The longest state of a beginning of at most `count` records."""
        held = [each for each in (self._state, self._bounded) if each and each.count <= count and self._fits(each)]
        best = max(held, key=lambda state: state.count, default=None)
        for file in self._files.all(most=count):
            found = self._files.load(file)
            if found and found.count <= count and self._fits(found) and (best is None or found.count > best.count):
                return found
        return best

    def _written(self, state: State | None, count: int, portion: Portion, stops: range = range(0)) -> Iterator[State]:
        """The state after each portion, up to `count` records, with a portion's end at each of `stops`."""
        while (done := state.count if state else 0) < count:
            stop = min([count, done + PORTION, *(mark for mark in stops if mark > done)])
            records = portion(done, stop)
            if link(self._listing.chain[done], records)[-1:] != [self._listing.chain[stop]]:
                raise LogMoved
            vectors = self._vectors.of(records)
            state = state or empty(self._rule, self._values, vectors.shape[1])
            state.check(vectors.shape[1])
            state.write(records, vectors)
            yield state

    def _portion(self, log: Log) -> Portion:
        keys = self._listing.keys
        return lambda start, stop: log.get(keys[start:stop])

    # Whoever forgets changes the log first and then deletes here: what it has forgotten is not saved after it.

    def _save(self, log: Log, state: State, kept: range) -> None:
        with self._files.changing():
            if log.head().version == self._listing.version:
                self._files.save(state, checkpoint=False)
                self._files.thin(kept)

    def _save_checkpoint(self, log: Log, state: State) -> None:
        """Save what will not come again, also while others write behind it."""
        with self._files.changing():
            moved = log.head().version != self._listing.version
            if not moved or link(b"", self._portion(log)(0, state.count))[-1:] == [state.chain]:
                self._files.save(state, checkpoint=True)

    def _decoded_of(self, state: State) -> Array:
        if state.chain not in self._decoded:
            keys = self._listing.keys[: state.count]
            self._decoded[state.chain] = self._codes.decoded(keys, self._rule.memory(state.arrays))
        self._decoded.move_to_end(state.chain)
        if len(self._decoded) > _DECODED:
            self._decoded.popitem(last=False)
        return self._decoded[state.chain]


def closed() -> ConfigError:
    """What is raised after `close`."""
    return ConfigError("this DeltaReader is closed: make another")


def _restless(log: Log) -> ReaderUnavailable:
    return ReaderUnavailable(f"the log of {log.namespace!r} was written to without a pause: try again")
