"""The notes that are kept of each namespace, beside the digests of the transcripts they were made from.

A note is good for a log whose transcript begins with the text that the note has read, and for no other: so whatever
was forgotten, changed or inserted, by whichever process, makes it void without being told. Of each namespace there is
one JSON file, replaced as a whole; its name is a hash.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.view import View

logger = logging.getLogger(__name__)

MOST = 32
"""Notes of a namespace: at every segment of a small memory, at every second, fourth, ... of a larger one, and at the
last. A read as of a position goes on from the one before it."""

_MOST_BYTES = 64_000_000


class Checkpoint(BaseModel):
    """A note, and what it has read.

    Args:
        setup: a digest of what it was made with: the model, its instructions, the sizes of notes and segments.
        segments: how many it has read.
        records: how many records these are.
        position: of the last of them.
        digest: of their transcript.
        note: its text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    setup: str
    segments: int = Field(ge=1)
    records: int = Field(ge=1)
    position: int = Field(ge=0)
    digest: str
    note: str


class _Kept(BaseModel):
    """What a file holds; `version` is the log's when it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: str
    checkpoints: tuple[Checkpoint, ...]


class KeptNotes:
    """The notes of all namespaces.

    Args:
        folder: where the files lie, made when the first note is kept; None = in memory.

    Raises (all methods):
        ConfigError: a file cannot be read or written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._texts, self._lock = folder, dict[str, bytes](), Lock()

    def of(self, namespace: Namespace) -> tuple[Checkpoint, ...]:
        """What is kept of the namespace, good or not; what cannot be read counts as lost."""
        text = self._read(_name(namespace))
        try:
            return _Kept.model_validate_json(text).checkpoints if text else ()
        except ValidationError as exc:
            logger.warning("the notes of %r are damaged and are made anew: %s", namespace, exc.errors()[0]["msg"])
            return ()

    def revise(self, namespace: Namespace, current: Callable[[], View], new: Checkpoint | None = None) -> int:
        """Keep what is good for the log as it is now, and `new` if it is; how many notes went since they were not.

        `current` is called while nobody else changes the notes: whoever forgets a record calls this after the log has
        forgotten it, so that a note on it is either not kept any more, or dropped then.
        """
        if self._folder and not self._folder.exists() and new is None:
            return 0
        with self._alone(namespace):
            held = self.of(namespace)
            if not held and new is None:
                self._write(_name(namespace), None)  # nothing, or what cannot be read
                return 0
            view = current()
            good = _good(held, view)
            kept = thinned(_with(good, new) if new and _good([new], view) else good)
            if kept != held:
                self._write(_name(namespace), _Kept(version=view.version, checkpoints=kept) if kept else None)
            return len(held) - len(good)

    def mend(self, namespace: Namespace, view: View, current: Callable[[], View]) -> None:
        """`revise`, if a note is not good for `view`: who changed the log was killed, or does not know of the notes."""
        held = self.of(namespace)
        if len(_good(held, view)) < len(held):
            self.revise(namespace, current)

    def forget(self, namespace: Namespace) -> int:
        """Drop all notes of the namespace; how many there were."""
        if self._folder and not self._folder.exists():
            return 0
        with self._alone(namespace):
            count = len(self.of(namespace))
            self._write(_name(namespace), None)
            return count

    @contextmanager
    def _alone(self, namespace: Namespace) -> Iterator[None]:
        if self._folder is None:
            with self._lock:
                yield
            return
        with self._usable():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self._folder / f"{_name(namespace)}.lock", mode=0o600)
            lock.acquire(poll_interval=0.005)
        try:
            with self._usable():
                self._half(_name(namespace)).unlink(missing_ok=True)  # of a process that was killed
            yield
        finally:
            lock.release()

    def _half(self, name: str) -> Path:
        """What becomes the file when it is whole."""
        assert self._folder
        return self._folder / f"{name}.new"

    def _read(self, name: str) -> bytes:
        if self._folder is None:
            return self._texts.get(name, b"")
        file = self._folder / f"{name}.json"
        with self._usable():
            try:
                return file.read_bytes() if file.stat().st_size <= _MOST_BYTES else b"too large"
            except FileNotFoundError:
                return b""

    def _write(self, name: str, kept: _Kept | None) -> None:
        text = kept.model_dump_json().encode() if kept else b""
        if self._folder is None:
            self._texts.pop(name, None)
            self._texts |= {name: text} if text else {}
            return
        file, half = self._folder / f"{name}.json", self._half(name)
        with self._usable():
            if not text:
                file.unlink(missing_ok=True)
                return
            with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing:
                writing.write(text)
                writing.flush()
                os.fsync(writing.fileno())
            half.replace(file)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise ConfigError(
                f"notes cannot be kept in {self._folder} ({exc}): make it writable, or delete it, they are made again "
                "from the log"
            ) from exc


def digests(lines: Sequence[str], ends: Sequence[int]) -> list[str]:
    """Of the transcript's first so many lines each; `ends` ascend."""
    running, start, found = sha256(), 0, list[str]()
    for end in ends:
        running.update("".join(lines[start:end]).encode())
        found.append(running.copy().hexdigest())
        start = end
    return found


def thinned(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """At most `MOST` of them, evenly spaced, and the last."""
    ordered, stride = sorted(checkpoints, key=lambda each: each.segments), 1
    last = ordered[-1].segments if ordered else 0
    while last // stride > MOST:
        stride *= 2
    return tuple(each for each in ordered if each.segments % stride == 0 or each.segments == last)


def _good(checkpoints: Sequence[Checkpoint], view: View) -> list[Checkpoint]:
    """Those whose records are what the log begins with."""
    ordered = sorted(checkpoints, key=lambda each: each.records)
    read = [each for each in ordered if each.records <= len(view.lines)]
    found = digests(view.lines, [each.records for each in read])
    return [each for each, digest in zip(read, found, strict=True) if each.digest == digest]


def _with(checkpoints: Sequence[Checkpoint], new: Checkpoint) -> list[Checkpoint]:
    """Those of the set-up of `new`, with it instead of the one at its place."""
    return [*(each for each in checkpoints if each.setup == new.setup and each.segments != new.segments), new]


def _name(namespace: Namespace) -> str:
    return sha256(json.dumps(namespace).encode()).hexdigest()[:48]
