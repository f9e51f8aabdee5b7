"""Code blocks, run in the order of their page: Python's in one namespace, bash's in one folder."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from linmem_langgraph import Memory
from tests.docs.pages import ROOT, Block, blocks, prints

SERVER = "http://127.0.0.1:8000"
"""Where pages say that a model server listens; another stands in for it."""


def ran(page: Path, names: dict[str, Any], server: str) -> Iterator[Block]:
    """Each of the page's Python blocks, once it has run and printed what it is said to print.

    Whatever memory it opened is closed at the end.

    Args:
        names: what the blocks find, and what they leave.
        server: stands in for `SERVER`.
    """
    with ExitStack() as opened:
        known = set[int]()
        for block in blocks(page, "python"):
            printed = io.StringIO()
            code = compile(block.compiled(page).replace(SERVER, server), page.name, "exec", dont_inherit=True)
            with redirect_stdout(printed):
                exec(code, names)
            for value in list(names.values()):
                if isinstance(value, Memory) and id(value) not in known:
                    known.add(id(value))
                    opened.callback(value.close)
            prints(block, printed.getvalue().replace(server, SERVER))
            yield block


def typed(block: Block, folder: Path, server: str) -> str:
    """What a bash block prints, on stdout and stderr, in `folder`; a command of it may fail."""
    commands = f'linmem() {{ "{sys.executable}" -m linmem_langgraph "$@"; }}\npython() {{ "{sys.executable}" "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", commands + block.code.replace(SERVER, server)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    return done.stdout.replace(server, SERVER)
