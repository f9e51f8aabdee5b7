"""Throw damaged pickles at the loader: `python -m evals.m3_graphs.fuzz GRAPH.pkl --files 100000`.

Each is read as a memory graph or refused with `UnsafeFile`. Anything else ends the run with another status than 0:
another error, an import, a file opened, a process or a socket (`sys.addaudithook`), a class changed, more memory than
the limit, more time than the limit.
"""

import pickletools
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Annotated, Any

import numpy as np
import typer

from evals.m3_graphs.convert import records
from evals.m3_graphs.graph import Graph, TextNode, read_graph
from evals.m3_graphs.pickled import Made, Named
from linmem_langgraph.errors import UnsafeFile

MEMORY, SECONDS = 2 * 2**30, 10
"""Of the process, and for one file."""

SNIPPETS = (
    b"cos\nsystem\n",
    b"\x8c\x02os\x8c\x06system\x93",
    b"cbuiltins\neval\n",
    b"(S'id'\ntR",
    b"\x8c\x11mmagent.videograph\x8c\nVideoGraph\x93",
    b")\x81}b",
    b"\x94h\x00h\x00\x86",
    b"](h\x00h\x00e",
    b"\x8e" + b"\xff" * 8,
    b"G\x7f\xf8" + b"\x00" * 6,
    b"\x8a\xff" + b"\x7f" * 255,
    b"(" * 200,
    *(opcode.code.encode("latin-1") for opcode in pickletools.opcodes),
)


def mutated(content: bytes, rng: Random) -> bytes:
    """A file that was damaged in one to four places."""
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(damaged) + 1), int(2 ** rng.uniform(0, 9))
        match rng.randrange(7):
            case 0:
                damaged[at : at + 1] = rng.randbytes(1)
            case 1:
                del damaged[at : at + length]
            case 2:
                damaged[at:at] = rng.choice(SNIPPETS)
            case 3:
                other = rng.randrange(len(damaged) + 1)
                damaged[at:at] = damaged[other : other + length]
            case 4:
                damaged[at : at + length] = rng.randbytes(length)
            case 5:
                damaged[at : at + 1] = rng.choice(SNIPPETS)
            case _:
                del damaged[max(at, len(damaged) // 2) :]
    return bytes(damaged)


@contextmanager
def nothing_else() -> Iterator[None]:
    """Whatever this process does besides computing is an error meanwhile."""
    forbidden = ("import", "open", "exec", "compile", "subprocess", "os.", "socket", "ctypes", "shutil", "pickle")
    done: list[str] = []
    watching = True

    def watch(event: str, _: Any) -> None:
        if watching and event.startswith(forbidden):
            done.append(event)

    sys.addaudithook(watch)
    classes = (Made, Named, Graph, TextNode, np.ndarray, dict, list, object)
    before = [dict(vars(kind)) for kind in classes]
    try:
        yield
    finally:
        watching = False
    assert not done, f"it did more than compute: {', '.join(done[:5])}"
    assert [dict(vars(kind)) for kind in classes] == before, "a class was changed"


def main(
    graphs: Annotated[list[Path], typer.Argument(help="Memory graphs to damage.")],
    files: Annotated[int, typer.Option(min=1, help="How many damaged ones are read.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Another seed: other damage.")] = 0,
) -> None:
    """Read damaged memory graphs."""
    contents = [file.read_bytes() for file in graphs]
    for content in contents:
        records(read_graph(content, "whole"), Counter())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    read, begin, slowest = 0, time.monotonic(), 0.0
    with nothing_else():
        for number in range(files):
            content = mutated(contents[number % len(contents)], Random(f"{seed}:{number}"))
            start = time.monotonic()
            signal.alarm(SECONDS)
            try:
                records(read_graph(content, "damaged"), Counter())
                read += 1
            except UnsafeFile:
                pass
            except BaseException:
                sys.stderr.write(f"file {number} of seed {seed}:\n")
                raise
            finally:
                signal.alarm(0)
            slowest = max(slowest, time.monotonic() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    done = f"{files:,} files in {time.monotonic() - begin:.0f} s: {read:,} read, {files - read:,} refused, nothing else"
    print(f"{done}; the slowest took {slowest:.2f} s, the process {memory:,.0f} MB")


if __name__ == "__main__":
    typer.run(main)
