"""Chroma clients: one for each folder and process, reopened when the folder was deleted or changed by another process.

An embedded client of Chroma does not see what another process writes to its folder. So processes take turns with a lock
file, and whoever has changed something leaves a new stamp; a client that finds a stamp it does not know is opened anew.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, ClassVar, Protocol, cast
from uuid import uuid4

from filelock import FileLock

from linmem_langgraph.errors import ConfigError, ReaderUnavailable

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.client import Client


_STAMP = "linmem.stamp"


class ClientSource(Protocol):
    """Where a reader gets its client from, each time it needs one."""

    place: str
    """What to name in errors."""

    def client(self) -> "ClientAPI":
        """The client to use now; another object than before if what it held is gone."""
        ...

    def changing(self) -> AbstractContextManager[None]:
        """Hold this to change anything: one thread of one process at a time, with an up-to-date client."""
        ...

    def close(self) -> None:
        """Release the client."""
        ...


class GivenClient:
    """A client made and closed by the caller."""

    def __init__(self, client: "ClientAPI") -> None:
        self._client = client
        settings = client.get_settings()
        host = settings.chroma_server_host
        self.place = f"{host}:{settings.chroma_server_http_port}" if host else "the given client"

    def client(self) -> "ClientAPI":
        """The client that was given."""
        return self._client

    def changing(self) -> AbstractContextManager[None]:
        """Nothing: a server orders its clients' changes."""
        return nullcontext()

    def close(self) -> None:
        """Nothing: the client belongs to the caller."""


class FolderClient:
    """The process's one embedded client of a folder, shared by all who `open` it."""

    _open: ClassVar[dict[Path, "FolderClient"]] = {}
    _lock: ClassVar[RLock] = RLock()

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._path = path
        self._users = 0
        self._client: Client | None = None
        self._seen: tuple[object, ...] = ()
        self._turn = RLock()
        self._processes = FileLock(path / "linmem.lock")

    @classmethod
    def open(cls, path: Path) -> "FolderClient":
        """The client of `path`; call `close` once for every `open`."""
        path = path.expanduser().resolve()
        with cls._lock:
            shared = cls._open.setdefault(path, cls(path))
            shared._users += 1
            return shared

    def client(self) -> "ClientAPI":
        """The client, made at first use, and made anew when the folder is not as this client left or found it."""
        client = self._client
        if client is not None and self._state() == self._seen:
            return client
        with self._lock:
            if self._client is None or self._state() != self._seen:
                self._reopen()
            assert self._client is not None
            return self._client

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold this to change the folder: one thread of one process at a time."""
        with self._turn, self._file_lock():
            self.client()
            try:
                yield
            finally:
                # Also after a failure: what was changed until then is changed.
                self._stamp()

    def _file_lock(self) -> AbstractContextManager[object]:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            return self._processes.acquire(poll_interval=0.002)
        except OSError as exc:
            raise self._cannot_open(exc) from exc

    def _stamp(self) -> None:
        with self._lock, suppress(OSError):
            # Always as long, so that it can be overwritten in place: truncating a file costs more than all the rest.
            stamp = uuid4().hex
            file = os.open(self._path / _STAMP, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.write(file, stamp.encode())
            finally:
                os.close(file)
            # The database that this client has open: another one may lie there by now, or none.
            self._seen = (*self._seen[:2], stamp)

    def _state(self) -> tuple[object, ...]:
        """What changes when somebody else replaces the folder or changes what is in it."""
        try:
            database = (self._path / "chroma.sqlite3").stat()
        except OSError:
            return ()
        try:
            stamp = (self._path / _STAMP).read_text()
        except OSError:
            stamp = ""
        return database.st_dev, database.st_ino, stamp

    def close(self) -> None:
        """Release the client when nobody else in the process uses it."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._open.pop(self._path, None)
                if self._client is not None:
                    self._client.close()
                    self._client = None

    def _reopen(self) -> None:
        import chromadb
        from chromadb.config import Settings

        if self._client is not None:
            self._client.close()
            self._client = None
        try:
            client = chromadb.PersistentClient(str(self._path), settings=Settings(anonymized_telemetry=False))
        except ValueError as exc:
            raise ConfigError(
                f"Chroma cannot open {self._path}: {exc}. If this process has another client on that folder, close it "
                "or hand it over: ChromaReader(client=...)"
            ) from exc
        except Exception as exc:
            raise self._cannot_open(exc) from exc
        self._client, self._seen = cast("Client", client), self._state()
        if not self._seen:
            raise ReaderUnavailable(
                f"{self._path} was deleted while another Chroma client of this process held it: close that client"
            )

    def _cannot_open(self, exc: Exception) -> ReaderUnavailable:
        return ReaderUnavailable(
            f"Chroma cannot open {self._path}: {exc}. Check that the folder is writable; it is derived from the log "
            "and may be deleted"
        )
