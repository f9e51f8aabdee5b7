"""Chroma clients: one for each folder and process, reopened when the folder was deleted."""

from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from linmem_langgraph.errors import ConfigError, ReaderUnavailable

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.client import Client


class ClientSource(Protocol):
    """Where a reader gets its client from, each time it needs one."""

    place: str
    """What to name in errors."""

    def client(self) -> "ClientAPI":
        """The client to use now; another object than before if what it held is gone."""
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
        self._file: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: Path) -> "FolderClient":
        """The client of `path`; call `close` once for every `open`."""
        path = path.expanduser().resolve()
        with cls._lock:
            shared = cls._open.setdefault(path, cls(path))
            shared._users += 1
            return shared

    def client(self) -> "ClientAPI":
        """The client, made at first use and made anew when the folder was deleted or replaced."""
        client, file = self._client, _identity(self._path)
        if client is not None and file is not None and file == self._file:
            return client
        with self._lock:
            if self._client is None or _identity(self._path) != self._file or self._file is None:
                self._reopen()
            assert self._client is not None
            return self._client

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
            raise ReaderUnavailable(
                f"Chroma cannot open {self._path}: {exc}. Check that the folder is writable; it is derived from the "
                "log and may be deleted"
            ) from exc
        self._client, self._file = cast("Client", client), _identity(self._path)
        if self._file is None:
            raise ReaderUnavailable(
                f"{self._path} was deleted while another Chroma client of this process held it: close that client"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = (path / "chroma.sqlite3").stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
