"""A real Chroma server on loopback."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from chromadb.api import ClientAPI


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ChromaServer:
    """`chroma run` over a folder; can be stopped and started again, on the same port."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout: float = 60.0) -> None:
        """Return when it answers."""
        import httpx

        command = Path(sys.executable).with_name("chroma")
        arguments = ["run", "--host", "127.0.0.1", "--port", str(self.port), "--path", str(self.path)]
        with (self.path / "server.log").open("ab") as log:
            self._process = subprocess.Popen([str(command), *arguments], stdout=log, stderr=log)
        give_up = time.monotonic() + timeout
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/api/v2/heartbeat", trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                raise RuntimeError(f"chroma run did not start: {(self.path / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process that `start` made."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def lose(self) -> None:
        """Stop, and delete everything it kept."""
        self.stop()
        shutil.rmtree(self.path)
        self.path.mkdir()

    @contextmanager
    def client(self) -> "Iterator[ClientAPI]":
        """A client of its own."""
        import chromadb
        from chromadb.config import Settings

        client = chromadb.HttpClient("127.0.0.1", self.port, settings=Settings(anonymized_telemetry=False))
        try:
            yield client
        finally:
            # Chroma leaves the connections open, its own and those of the client it checks the database with.
            made: Any = client
            sessions = [made._server._session, made._admin_client._server._session]
            made.close()
            for session in sessions:
                session.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
