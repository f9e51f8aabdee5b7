"""What the tests' servers on loopback have in common: a thread of their own, the requests they keep, who hangs up."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.http1 import Reader, Request, receive


class Close(Exception):
    """The client's connection is to be closed as it stands."""


class LoopbackServer(ABC):
    """Answers requests, each of them as `_answer` of a derived class does, while its context lasts.

    An `_answer` that fails closes the client's connection, and leaving the context raises.

    Args:
        port: where it listens each time it is started; 0 = a free one, which is the same from then on.
    """

    name: ClassVar[str]

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._connections: set[asyncio.Task[Any]] = set()
        self._errors: list[Exception] = []
        self._thread: threading.Thread | None = None

    @abstractmethod
    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Write the answer, and call `_end` before the client can know; `Close` leaves it as it stands."""

    # What tests ask

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[Request]:
        """What was received, in that order."""
        with self._changed:
            return list(self._requests)

    def clear(self) -> None:
        """Forget the requests."""
        with self._changed:
            self._requests.clear()

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Return when `condition` holds; it is tried again whenever a request begins or ends.

        Raises:
            TimeoutError: it does not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                seen = [self._told(request) for request in self._requests]
                raise TimeoutError(f"not so after {seconds} s; the requests were {seen}")

    def _told(self, request: Request) -> tuple[object, ...]:
        return request.method, request.path, request.status, request.cancelled

    # Starting and stopping

    def start(self) -> None:
        """Listen."""
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), name=self.name)
        self._thread.start()
        started.result(30)

    def stop(self) -> None:
        """Close all connections."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._errors and kind is None:
            raise RuntimeError(f"the {self.name} failed, not what is tested: {self._errors!r}") from self._errors[0]

    async def _run(self, started: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(self._protocol, "127.0.0.1", self.port, backlog=256)
        self.port = server.sockets[0].getsockname()[1]
        started.set_result(None)
        await self._stop.wait()
        server.close()
        await asyncio.sleep(0.01)  # who has been accepted just now gets a task that can close the connection
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections)

    # Connections

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = Reader()
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: self._connected(reader, writer))

    async def _connected(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await receive(reader)) and await self._serve(request, reader, writer):
                pass
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, or the server stops
        except Exception as exc:
            self._errors.append(exc)
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _serve(self, request: Request, reader: Reader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request, unless its client hangs up; whether the connection may take another."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        answering = asyncio.create_task(self._answer(request, writer))
        leaving = asyncio.create_task(reader.ended.wait())
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answering.cancel()
            leaving.cancel()
            failure, _ = await asyncio.gather(answering, leaving, return_exceptions=True)
            self._end(request, cancelled=reader.ended.is_set())
        if isinstance(failure, Exception) and not isinstance(failure, ConnectionError | Close):
            raise failure
        return failure is None and not request.is_last

    def _end(self, request: Request, *, cancelled: bool = False) -> None:
        with self._changed:
            if request.ended is None:
                request.ended, request.cancelled = time.monotonic(), cancelled
                self._changed.notify_all()
