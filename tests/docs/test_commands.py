"""The commands of every page: those with an output are run, of the others each word is one that the command takes."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

import evals.cli
import linmem_langgraph.cli
from evals.cli.shared import CONFIGS
from linmem_langgraph.serving import parse
from linmem_langgraph.vllm import STATE_FLAGS
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, prints, put_files
from tests.docs.running import typed

SHELLS = ("bash",)
WITH_BASH = [page for page in PAGES if blocks(page, *SHELLS)]
NAMES = {file.relative_to(CONFIGS).with_suffix("").as_posix() for file in CONFIGS.rglob("*.yaml")}
VLLM_FLAGS = {*parse(STATE_FLAGS), "config", "max-num-batched-tokens", "reasoning-parser", "enable-auto-tool-choice"}
VLLM_FLAGS |= {"tool-call-parser", "max-model-len", "gpu-memory-utilization", "tensor-parallel-size"}


@pytest.mark.timeout(600)  # a process a command
@pytest.mark.parametrize("page", WITH_BASH, ids=lambda page: page.name)
def test_commands_with_an_output_print_it(page: Path, tmp_path: Path, probed: str) -> None:
    put_files(page, tmp_path)
    for block in blocks(page, *SHELLS):
        if block.output is not None:
            prints(block, typed(block, tmp_path, probed))


@pytest.mark.parametrize("page", WITH_BASH, ids=lambda page: page.name)
def test_every_command_is_one(page: Path) -> None:
    for block in blocks(page, *SHELLS):
        check(block)


@pytest.mark.parametrize(
    "code",
    [
        "linmem reed my_memory users/anna",
        "linmem read my_memory users/anna Oslo --limits 1",
        "python -m evals predikt",
        "python -m evals predict --sett limit=1",
        "python -m evals predict -c no_such_config",
        "python -m evals.bench state_reuse --no-such-option",
        "python -m evals.no_such_module",
        "python examples/no_such_script.py",
        "make dome",
        "python examples/four_lines.py",
        "pip install '.[langchian]'",
        "pip install -r requirements/none.txt",
        "vllm serve MODEL --enable-prefix-cashing",
        "rm -rf my_memory",
    ],
)
def test_a_wrong_command_is_found(code: str) -> None:
    with pytest.raises(AssertionError):
        check(Block("bash", code, 0))


def check(block: Block) -> None:
    """Fail unless each command of the block exists and takes the words it is given."""
    for name, *words in commands(block.code):
        if name == "python" and words[:1] == ["-m"]:
            name, words = words[1], words[2:]
        if name in ("cat", "echo", "tail"):
            continue
        if name == "python" and words and words[0].endswith(".py"):
            assert (ROOT / words[0]).is_file(), f"there is no {words[0]}"
            assert not words[1:], f"{words[0]} takes no words"
            continue
        if name.startswith("evals."):
            _module(name, words)
            continue
        if name == "python":
            assert (ROOT / words[0]).is_file(), f"there is no script {words[0]}"
            continue
        assert name in CHECKS, f"{name} is no command that is known here: {block.code}"
        CHECKS[name](words)


def _linmem(words: list[str]) -> None:
    _parsed(linmem_langgraph.cli.app, words)


def _evals(words: list[str]) -> None:
    _parsed(evals.cli.app, words)
    configs = [value for option, value in pairwise(words) if option in ("-c", "--config")]
    for config in configs:
        assert config in NAMES or Path(config).suffix == ".yaml", f"no config is called {config}"


def _module(name: str, words: list[str]) -> None:
    """A module that is a command: it says which options it has."""
    places = [word for word in words if not word.startswith("-")][:1]
    told = _help(name, *places)
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert option in told, f"{name} has no {option}"


@cache
def _help(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", *words, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _langgraph(words: list[str]) -> None:
    from langgraph_cli.cli import cli

    _parsed(cli, [*words, f"--config={ROOT / 'langgraph.json'}"])


def _parsed(app: Any, words: list[str]) -> None:
    group: Any = typer.main.get_command(app) if isinstance(app, typer.Typer) else app
    name, *arguments = words
    known = group.commands
    assert name in known, f"{name} is not among {sorted(known)}"
    try:
        known[name].make_context(name, arguments)
    except Exception as exc:  # whatever the parser of the command line says
        raise AssertionError(f"{' '.join(words)}: {exc}") from exc


def _make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets)


def _pip(words: list[str]) -> None:
    assert words[0] == "install"
    for option, value in pairwise(words):
        if option in ("-r", "-c"):
            assert (ROOT / value).exists(), value
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        for named in re.findall(r"\[(.+)\]", word):
            assert set(named.split(",")) <= extras.keys(), word


def _vllm(words: list[str]) -> None:
    assert words[0] == "serve"
    assert parse(words[2:]).keys() <= VLLM_FLAGS


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "linmem": _linmem,
    "evals": _evals,
    "langgraph": _langgraph,
    "make": _make,
    "pip": _pip,
    "vllm": _vllm,
}
