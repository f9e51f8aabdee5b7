"""What takes longer than all else here: the demo and a large run's report, run once, and a linmem-tiny, made once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from evals.report import report
from tests.evals.big_run import write_big_run
from tests.evals.support import ROOT
from tests.evals.untaught import torch, untaught_folder

__all__ = ["demo", "torch", "untaught_folder"]


class Demo(NamedTuple):
    """`python -m evals demo`: its folder, its exit code and what it printed."""

    out: Path
    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    where = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "evals", "demo"]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    return Demo(where / "runs" / "demo", done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def big_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run as large as M3-Bench's robot half, with its report."""
    out = tmp_path_factory.mktemp("big")
    report(write_big_run(out), out)
    return out
