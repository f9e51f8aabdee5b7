"""Real servers on loopback, each in a process of its own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import httpx

from evals.vllm_cpu.server import free_port

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

__all__ = ["ChromaServer", "ServerProcess", "free_port"]


class ServerProcess:
    """A command that serves on a free port while its context lasts; can be stopped and started again, on the same port.

    Args:
        folder: where it works, and writes `server.log`.
    """

    command: ClassVar[tuple[str, ...]]
    """A script that is installed beside Python, and its arguments but for the address."""

    ready: ClassVar[str]
    """The path that answers once it serves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(encoding="utf-8")

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    def start(self) -> None:
        """Begin; `wait` for it."""
        script, *arguments = self.command
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name(script), *arguments, "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Return when it answers."""
        assert self._process is not None
        give_up = time.monotonic() + 90
        while self._process.poll() is None and time.monotonic() < give_up:
            with suppress(httpx.HTTPError):
                if httpx.get(self.url + self.ready, trust_env=False).is_success:
                    return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"{' '.join(self.command)} did not start: {self.log[-4000:]}")

    def stop(self) -> None:
        """End the process that `start` made."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class ChromaServer(ServerProcess):
    """`chroma run` over a folder; started, it answers."""

    command = ("chroma", "run", "--path", ".")
    ready = "/api/v2/heartbeat"

    def start(self) -> None:
        """Return when it answers."""
        super().start()
        self.wait()

    def lose(self) -> None:
        """Stop, and delete everything it kept."""
        self.stop()
        shutil.rmtree(self.folder)
        self.folder.mkdir()

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
