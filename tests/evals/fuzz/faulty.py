"""What a reader of files must not do: each is run under watch, and what was said of it is printed as JSON.

A process of its own: watching cannot be undone, and the time limit takes the signal that pytest-timeout uses.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from evals.fuzz import run
from evals.fuzz.run import Hang, Target, limit_memory, read_damaged


class Changed:
    """A class that is watched."""


def imports(folder: Path) -> bool:
    import colorsys

    return bool(colorsys)


def opens_elsewhere(folder: Path) -> bool:
    return bool((folder.parent / "outside").read_bytes())


def opens_beside(folder: Path) -> bool:
    return bool((folder / "inside").read_bytes())


def runs_code(folder: Path) -> bool:
    exec("1")
    return True


def starts_a_process(folder: Path) -> bool:
    return os.system("true") == 0


def changes_a_class(folder: Path) -> bool:
    Changed.attribute = 1  # type: ignore[attr-defined]
    return True


def takes_all_memory(folder: Path) -> bool:
    return bool(bytearray(run.MEMORY))


def raises(folder: Path) -> bool:
    raise KeyError("session_3")


def hangs(folder: Path) -> bool:
    while True:
        time.sleep(0.01)


def hangs_and_hides_it(folder: Path) -> bool:
    try:
        return hangs(folder)
    except Exception:
        return False


CASES: tuple[Callable[[Path], bool], ...] = (
    *(imports, opens_elsewhere, opens_beside, runs_code, starts_a_process, changes_a_class, raises),
    *(hangs, hangs_and_hides_it, takes_all_memory),
)


def said(case: Callable[[Path], bool], folder: Path) -> str:
    """What is said of a reader that does this with damaged files, and not with the whole one."""

    def read(content: bytes) -> bool:
        return case(folder) if content == b"damaged" else True

    target = Target([b"whole"], lambda content, rng: b"damaged", read, [Changed], folder)
    try:
        return read_damaged(case.__name__, target, 2, 0)
    except (Exception, Hang) as exc:
        return f"{type(exc).__name__}: {exc}"


def main() -> None:
    """Run all cases."""
    run.SECONDS = 1
    with TemporaryDirectory() as name:
        folder = Path(name) / "folder"
        folder.mkdir()
        (folder / "inside").write_bytes(b"content")
        (folder.parent / "outside").write_bytes(b"content")
        limit_memory()
        json.dump({case.__name__: said(case, folder) for case in CASES}, sys.stdout)


if __name__ == "__main__":
    main()
