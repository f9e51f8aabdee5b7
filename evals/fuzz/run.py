"""Reading damaged files, one after the other, while this process may do nothing else."""

import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, NamedTuple

MEMORY, SECONDS = 2 * 2**30, 10
"""Of the process, and for one file."""


class Target(NamedTuple):
    """A kind of file, and what reads it.

    Args:
        whole: contents that can be read, to be damaged.
        damaged: makes a damaged one of one of them.
        read: reads a content; True = it was read, False = it was refused as it should be. Anything else is an error.
        classes: these stay as they are.
        folder: files are opened in there only; None = nowhere.
    """

    whole: Sequence[bytes]
    damaged: Callable[[bytes, Random], bytes]
    read: Callable[[bytes], bool]
    classes: Sequence[type] = ()
    folder: Path | None = None


class Hang(BaseException):
    """A file took too long; no `except Exception` is in its way."""


def limit_memory() -> None:
    """Let this process have no more than `MEMORY`, until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def read_damaged(name: str, target: Target, files: int, seed: int) -> str:
    """Read that many damaged files; what came of them, as one line.

    Raises:
        BaseException: what reading one of them raised; that file is kept, and said.
    """
    for content in target.whole:
        assert target.read(content), f"{name}: a whole file was refused"
    read, begin, slowest = 0, time.monotonic(), 0.0
    with nothing_else(target.classes, target.folder):
        for number in range(files):
            content = target.damaged(target.whole[number % len(target.whole)], Random(f"{seed}:{number}"))
            start = time.monotonic()
            try:
                with time_limit():
                    read += target.read(content)
            except BaseException:
                kept = Path(tempfile.gettempdir(), f"fuzz_{name}_{seed}_{number}")
                kept.write_bytes(content)
                sys.stderr.write(f"{name}, file {number} of seed {seed}, kept as {kept}:\n")
                raise
            slowest = max(slowest, time.monotonic() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    done = f"{files:,} files in {time.monotonic() - begin:.0f} s: {read:,} read, {files - read:,} refused, nothing else"
    return f"{name}: {done}; the slowest took {slowest:.2f} s, the process {memory:,.0f} MB"


@contextmanager
def time_limit() -> Iterator[None]:
    """`Hang` after `SECONDS`; the end of the process where that much again is spent within one step of C."""

    def late(_: int, __: FrameType | None) -> None:
        raise Hang(f"it took more than {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    signal.setitimer(signal.ITIMER_VIRTUAL, 2 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


@contextmanager
def nothing_else(classes: Sequence[type], folder: Path | None) -> Iterator[None]:
    """Whatever this process does besides computing, and opening files in `folder`, is an error meanwhile."""
    forbidden = ("import", "open", "exec", "compile", "subprocess", "os.", "socket", "ctypes", "shutil", "pickle")
    done: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event.startswith(forbidden) and not (event == "open" and _within(folder, arguments[0])):
            done.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(watch)
    before = [dict(vars(kind)) for kind in classes]
    try:
        yield
    finally:
        watching = False
    assert not done, f"it did more than compute: {', '.join(done[:5])}"
    assert [dict(vars(kind)) for kind in classes] == before, "a class was changed"


def _within(folder: Path | None, path: Any) -> bool:
    return folder is not None and isinstance(path, str) and os.path.abspath(path).startswith(f"{folder}{os.sep}")
