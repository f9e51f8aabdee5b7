"""One event loop in a thread of its own, for what must run side by side and be cancelled, whoever asks: a thread that
waits, or a task of another loop."""

import asyncio
import os
from collections.abc import Coroutine, Iterable
from threading import Lock, Thread
from typing import Any, TypeVar

T = TypeVar("T")

_lock = Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; it is cancelled if the waiting thread is interrupted."""
    future = asyncio.run_coroutine_threadsafe(work, _running())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def arun(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; it is cancelled if the waiting task is."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _running()))


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order; if one fails, the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from several.exceptions[0].__cause__
    return [task.result() for task in tasks]


def _running() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            Thread(target=_loop.run_forever, name="linmem-loop", daemon=True).start()
        return _loop


def _after_fork() -> None:
    # The child has the loop, but not the thread that runs it.
    global _loop, _lock
    _loop, _lock = None, Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
