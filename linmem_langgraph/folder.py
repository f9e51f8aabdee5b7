"""The embedded default: a folder with an SQLite log."""

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from threading import Lock, get_ident
from typing import Any

from filelock import FileLock
from langgraph.store.base import Op, Result
from langgraph.store.sqlite import SqliteStore

from linmem_langgraph.errors import ConfigError

_MARK = "linmem.json"
_FORMAT = 1
_POLL = 0.002
_BUSY_MS = 30_000
_SCRUB_TRIES = 20
_KNOWN = 10_000


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

    Several processes may open one folder: one at a time sets up the log.

    Args:
        path: as `resolved` gives it.

    Raises:
        ConfigError: it is not the folder of a memory, is of a later format, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _claim(path)
            with FileLock(path / "log.lock").acquire(poll_interval=_POLL):
                _make(path / "log.sqlite")
                self.store = FolderStore(path / "log.sqlite")
        except (OSError, sqlite3.Error) as exc:
            raise ConfigError(f"cannot open the memory folder {path}: {exc}") from exc

    def close(self) -> None:
        """Close the log."""
        self.store.close()


class FolderStore(SqliteStore):
    """The log's store. Its changes are transactions of a connection of their own, so that reads never wait for them.

    Args:
        file: the SQLite file, made if it is not there.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(_connect(file))
        self._file, self._changes, self._changing, self._changer = file, Changes(_connect(file)), Lock(), 0
        self._version, self._known = -1, dict[Any, Any]()
        try:
            for store in (self, self._changes):
                store.setup()
        except BaseException:
            self.close()
            raise

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        try:
            return self._changes.batch(ops) if self._changer == get_ident() else super().batch(ops)
        except (sqlite3.DatabaseError, JSONDecodeError) as exc:
            raise self._error(exc) from exc

    @contextmanager
    def turn(self) -> Iterator[dict[Any, Any]]:
        """Hold this to change the log: one thread of one process at a time, and all of the change or nothing of it.

        Yields a place for what is known of the log's contents: it is empty once others have changed the log.
        """
        with self._changing:
            connection = self._changes.conn
            try:
                connection.execute("BEGIN IMMEDIATE")
                # The version changes by the commits of other connections only.
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                if version != self._version or len(self._known) > _KNOWN:
                    self._version, self._known = version, {}
                self._changer = get_ident()
                yield self._known
                connection.execute("COMMIT")
            except sqlite3.DatabaseError as exc:
                raise self._error(exc) from exc
            finally:
                self._changer = 0
                if connection.in_transaction:
                    self._known = {}
                    connection.execute("ROLLBACK")

    def scrub(self) -> bool:
        """After a removal: leave no copy of the removed text in the write-ahead log; whether that could be done.

        SQLite overwrites deleted content with zeros (`secure_delete`), and the emptied log holds no older pages. While
        somebody else reads the file it cannot be emptied.
        """
        for _ in range(_SCRUB_TRIES):
            with self._changing, self.lock:
                self.conn.execute("PRAGMA busy_timeout=0")
                busy = self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                self.conn.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            if not busy:
                return True
            time.sleep(0.05)
        return False

    def close(self) -> None:
        """Close both connections."""
        with self._changing, self.lock:
            self._changes.conn.close()
            self.conn.close()

    def _error(self, exc: Exception) -> ConfigError:
        return ConfigError(
            f"the log {self._file} cannot be read or written ({exc}): if it is damaged, restore it from a copy or an "
            "export; if the disk is full or it is locked, mend that and try again"
        )


class Changes(SqliteStore):
    """A store whose batches are parts of a transaction that `FolderStore.turn` begins and ends."""

    @contextmanager
    def _cursor(self, *, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        yield self.conn.cursor()


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


def _make(file: Path) -> None:
    """Make the log's file whole, if it is not there.

    The store's tables and its note of which it has are not one transaction: who is killed between the two leaves a file
    that no later call can set up.
    """
    if file.exists():
        return
    new = file.with_name("new.sqlite")
    for left in (new, *(new.with_name(f"{new.name}{end}") for end in ("-wal", "-shm"))):
        left.unlink(missing_ok=True)
    connection = _connect(new)
    try:
        SqliteStore(connection).setup()
    finally:
        connection.close()
    new.replace(file)


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None, timeout=_BUSY_MS / 1000)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
