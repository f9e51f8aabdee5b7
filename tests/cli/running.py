"""The `linmem` command as tests run it: in this process, in one of its own or on a terminal; and what it left."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.cli import app
from linmem_langgraph.embeddings import LexicalEmbeddings

Run = subprocess.CompletedProcess[bytes]
Argument = str | bytes | Path

LEXICAL = ("--set", "embeddings=lexical")
HOSTILE = "red \x1b[31m, bell \x07, C1 \x9b2J, return \r, tab \t, \u202eturned, \u2028line"


def command(*arguments: Argument) -> list[Argument]:
    return [sys.executable, "-W", "error", "-m", "linmem_langgraph", *arguments]


def linmem(*arguments: Argument, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Run:
    """The command, in a process of its own."""
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(command(*arguments), input=stdin, capture_output=True, env=variables, timeout=60)


def invoke(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """The command, in this process; whatever would be a traceback is raised."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], stdin, catch_exceptions=False)


def document(done: Run | Result) -> Any:
    """What `--json` printed; it printed nothing else."""
    text = done.stdout if isinstance(done.stdout, str) else done.stdout.decode("ascii")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return json.loads(text)


def error_of(done: Run | Result) -> str:
    """The one line on stderr; nothing is on stdout."""
    text = done.stderr if isinstance(done.stderr, str) else done.stderr.decode()
    assert done.stdout in ("", b"")
    assert re.fullmatch(r"error: .*\n", text), text
    return text


def kept(folder: Path, *namespace: str) -> list[MemoryRecord]:
    with Memory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        return memory.records(namespace or ("users", "anna"))


Terminal = tuple[int, bytes]

CTRL_C = b"\x03"


def on_terminal(*arguments: Argument, typed: bytes = b"", columns: int = 80) -> Terminal:
    """The exit code and the output on a terminal, where `typed` answers the first question; Ctrl-C is a signal."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    process = subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with process:
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # Linux's way to say that the other side is closed
                break
            if not piece:
                break
            shown += piece
            if typed and b"[y/N]" in shown:
                if typed == CTRL_C:
                    time.sleep(0.5)  # a signal that comes just before the line is read is noticed after it
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(ours, typed)
                typed = b""
        os.close(ours)
    return process.returncode, shown
