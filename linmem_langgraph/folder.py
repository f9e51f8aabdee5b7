"""The embedded default: a folder with an SQLite log."""

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from threading import Lock

from filelock import FileLock
from langgraph.store.base import Op, Result
from langgraph.store.sqlite import SqliteStore

from linmem_langgraph.errors import ConfigError

_MARK = "linmem.json"
_FORMAT = 1
_POLL = 0.002
_BUSY_MS = 30_000
_SCRUB_TRIES = 20


def resolved(path: str | Path) -> Path:
    """The absolute path of a folder that need not exist.

    Raises:
        ConfigError: no folder can have this path.
    """
    try:
        return Path(path).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as exc:
        raise ConfigError(f"{str(path)!r} is not the path of a folder: {exc}") from exc


class Folder:
    """The folder of an embedded memory, made if it is not there.

    Several processes may open one folder: changes of the log take turns by a lock file.

    Args:
        path: as `resolved` gives it.

    Raises:
        ConfigError: it is not the folder of a memory, is of a later format, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lock = FileLock(path / "log.lock")
        try:
            _claim(path)
            with lock.acquire(poll_interval=_POLL):
                self._connection = _connect(path / "log.sqlite")
        except (OSError, sqlite3.Error) as exc:
            raise ConfigError(f"cannot open the memory folder {path}: {exc}") from exc
        self.store = FolderStore(self._connection, path / "log.sqlite", lock)

    def close(self) -> None:
        """Close the log."""
        with self.store.lock:
            self._connection.close()


class FolderStore(SqliteStore):
    """The log's store: its changes take turns between processes, and its errors say which file they are about."""

    def __init__(self, connection: sqlite3.Connection, file: Path, lock: FileLock) -> None:
        super().__init__(connection)
        self._file, self._threads, self._processes = file, Lock(), lock

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        try:
            return super().batch(ops)
        except (sqlite3.DatabaseError, JSONDecodeError) as exc:
            raise ConfigError(
                f"the log {self._file} cannot be read or written ({exc}): if it is damaged, restore it from a copy or "
                "an export; if the disk is full or it is locked, mend that and try again"
            ) from exc

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold this to change the log: one thread of one process at a time."""
        with self._threads, self._processes.acquire(poll_interval=_POLL):
            yield

    def scrub(self) -> bool:
        """After a removal: leave no copy of the removed text in the write-ahead log; whether that could be done.

        SQLite overwrites deleted content with zeros (`secure_delete`), and the emptied log holds no older pages. While
        somebody else reads the file it cannot be emptied.
        """
        for _ in range(_SCRUB_TRIES):
            with self.lock:
                self.conn.execute("PRAGMA busy_timeout=0")
                busy = self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                self.conn.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            if not busy:
                return True
            time.sleep(0.05)
        return False


def _claim(path: Path) -> None:
    """Mark an empty folder as a memory's; refuse one that holds something else."""
    path.mkdir(parents=True, exist_ok=True)
    mark = path / _MARK
    if not mark.exists():
        if foreign := sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(_MARK)):
            raise ConfigError(
                f"{path} is not the folder of a memory: it holds {foreign[0]!r} but no {_MARK}; "
                "choose a new or an empty folder"
            )
        partial = path / f"{_MARK}.{os.getpid()}"
        partial.write_text(json.dumps({"format": _FORMAT}) + "\n", encoding="utf-8")
        partial.replace(mark)
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))["format"]
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{mark} cannot be read ({exc}): restore it, or choose another folder") from exc
    if found != _FORMAT:
        raise ConfigError(f"{path} has format {found!r}, this version reads {_FORMAT}: upgrade linmem-langgraph")


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None, timeout=_BUSY_MS / 1000)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        SqliteStore(connection).setup()
    except BaseException:
        connection.close()
        raise
    return connection
