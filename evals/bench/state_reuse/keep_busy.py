"""python -m evals.bench.state_reuse.keep_busy URL READERS CHARACTERS

A process that keeps a server busy until its standard input ends: so many threads that read, each transcript from its
beginning. It says so when the first read is done.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Thread

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.stand import Plain
from linmem_langgraph.transcript import render

ROOT = Path(__file__).parents[3]


@contextmanager
def busy(base_url: str, *, readers: int, characters: int) -> Iterator[None]:
    """Keep the server busy until the block ends.

    Raises:
        RuntimeError: it does not answer.
    """
    command = [sys.executable, "-m", __name__, base_url, str(readers), str(characters)]
    with Popen(command, stdin=PIPE, stdout=PIPE, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise RuntimeError(f"{base_url} cannot be kept busy: see the error above")
            yield
        finally:
            process.stdin.close()


def main(base_url: str, readers: str, characters: str) -> None:
    """Read, and end with whoever started this."""
    plain = Plain(base_url, answer=1)
    transcript = render(texts.records(int(characters), seed="busy", length=100))

    def read() -> None:
        while True:
            plain.ask(transcript, "Where is the red mug?")

    plain.ask(transcript, "Where is the red mug?")
    print("busy", flush=True)
    for _ in range(int(readers)):
        Thread(target=read, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)  # not after the reads under way


if __name__ == "__main__":
    main(*sys.argv[1:])
