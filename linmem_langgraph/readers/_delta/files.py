"""The files of one namespace: its state and checkpoints of it, each written whole or not at all.

A file is a line that names the format, a line of JSON and the numbers: sums that need it in 64 bits, a symmetric matrix
as its upper triangle, all else in 32. Nothing in it is code; its length and digest are checked before it is used.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from filelock import FileLock

from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._delta.keys import Array
from linmem_langgraph.readers._delta.rules import Rule
from linmem_langgraph.readers._delta.state import State

_FORMAT = b"linmem delta state 1\n"
_END = ".delta"
_PARTIAL = ".partial"


class Files:
    """Where a reader keeps the states of a namespace.

    Args:
        folder: the reader's; made when something is saved.
        set_up: what tells states that cannot stand in for each other apart, as JSON.
    """

    def __init__(self, folder: Path, namespace: Namespace, rule: Rule, values: int, set_up: dict[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(namespace).encode()).hexdigest()[:48]
        self._folder, self._stem, self._namespace = folder, f"linmem-{digest}", namespace
        self._rule, self._values, self._set_up = rule, values, set_up
        self._lock = FileLock(folder / "linmem.lock")
        self._thinned: range | None = None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold this to save or delete: one process at a time.

        Raises:
            ReaderUnavailable: the folder cannot be written to.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._lock.acquire(poll_interval=0.002):
                yield
        except OSError as exc:
            raise ReaderUnavailable(
                f"the states in {self._folder} cannot be written ({exc}): check that the folder is writable and the "
                "disk not full; it is derived from the log and may be deleted"
            ) from exc

    def all(self, most: float = np.inf) -> list[Path]:
        """The files there are, the state first and then the checkpoints of at most so many records, from the last."""
        found = sorted(self._folder.glob(f"{self._stem}*{_END}"), key=self._number, reverse=True)
        return [file for file in found if self._number(file) <= most or self._number(file) == np.inf]

    def load(self, file: Path) -> State | None:
        """The state in a file; None if it is gone or damaged.

        Raises:
            ConfigError: another set-up made it.
        """
        try:
            data = file.read_bytes()
            header, body = data.removeprefix(_FORMAT).split(b"\n", 1)
            found = json.loads(header) if data.startswith(_FORMAT) else {}
            if found["digest"] != _digest(found, body):
                return None
            if found["set_up"] == self._set_up:
                return self._unpacked(found, body)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        raise ConfigError(
            f"the state of {self._namespace!r} was made with {found['set_up']}, this reader uses {self._set_up}: call "
            f"memory.rebuild({self._namespace!r}), or use what it was made with"
        )

    def save(self, state: State, checkpoint: bool) -> None:
        """Replace the state, or leave a checkpoint. `changing` is held."""
        body = b"".join(_packed(array, name in self._rule.symmetric) for name, array in state.arrays.items())
        body += state.total.tobytes()
        header = {"set_up": self._set_up, "dimension": len(state.total)}
        header |= {"count": state.count, "chain": state.chain.hex()}
        header["digest"] = _digest(header, body)
        whole = self._folder / f"{self._stem}.{state.count}{_END}" if checkpoint else self._folder / (self._stem + _END)
        partial = self._folder / f"{self._stem}.{uuid4().hex}{_PARTIAL}"
        try:
            partial.write_bytes(b"%s%s\n%s" % (_FORMAT, json.dumps(header).encode(), body))
            os.replace(partial, whole)
        finally:
            partial.unlink(missing_ok=True)

    def thin(self, kept: range) -> None:
        """Delete the checkpoints after other numbers of records than `kept`. `changing` is held."""
        # To look takes the longer the more namespaces there are, and nearly all writes leave what there was.
        if kept != self._thinned:
            for file in self.all():
                if self._number(file) not in (*kept, np.inf):
                    file.unlink(missing_ok=True)
            self._thinned = kept

    def delete(self, unwanted: Callable[[Path], bool]) -> None:
        """Delete those of `all` that are unwanted, and what a killed process has left of a save."""
        # Where there is no folder yet, whoever is about to save has yet to look at the log.
        if self._folder.is_dir():
            with self.changing():
                for file in [*filter(unwanted, self.all()), *self._folder.glob(f"{self._stem}.*{_PARTIAL}")]:
                    file.unlink(missing_ok=True)

    def _number(self, file: Path) -> float:
        """Of a checkpoint, after how many records; the state itself is ahead of all."""
        words = file.name.removesuffix(_END).split(".")
        return int(words[1]) if len(words) == 2 and words[1].isdecimal() else np.inf

    def _unpacked(self, header: dict[str, Any], body: bytes) -> State:
        dimension, arrays, start = header["dimension"], {}, 0
        for name, shape in self._rule.shapes(self._values, dimension).items():
            symmetric = name in self._rule.symmetric
            length = 4 * dimension * (dimension + 1) if symmetric else 4 * shape[0] * shape[1]
            arrays[name] = _array(body[start : start + length], shape, symmetric)
            start += length
        total = np.frombuffer(body[start:]).copy()
        return State(self._rule, arrays, total, header["count"], bytes.fromhex(header["chain"]))


def _digest(header: dict[str, Any], body: bytes) -> str:
    """Of everything in a file but itself."""
    rest = {name: value for name, value in header.items() if name != "digest"}
    return hashlib.blake2b(json.dumps(rest).encode() + b"\n" + body, digest_size=16).hexdigest()


def _packed(array: Array, symmetric: bool) -> bytes:
    return array[np.triu_indices(len(array))].tobytes() if symmetric else array.astype(np.float32).tobytes()


def _array(data: bytes, shape: tuple[int, int], symmetric: bool) -> Array:
    if not symmetric:
        return np.frombuffer(data, dtype=np.float32).reshape(shape).astype(np.float64)
    full = np.zeros(shape)
    full[np.triu_indices(len(full))] = np.frombuffer(data)
    return full + np.triu(full, 1).T
