"""Help, version and wrong usage."""

import re
import shlex
from importlib.metadata import PackageNotFoundError, version

import pytest
import typer

from linmem_langgraph.cli import app
from tests.cli.running import invoke, linmem

COMMANDS = ("write", "read", "records", "forget", "export", "import", "rebuild")


def test_help_names_every_command() -> None:
    shown = linmem("--help")

    assert shown.returncode == 0
    for name in (*COMMANDS, "serve", "doctor"):
        assert re.search(rf"^  {name} +\w", shown.stdout.decode(), re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_s_help_has_an_example_that_is_parsed(name: str) -> None:
    done = invoke(name, "--help")

    (example,) = re.findall(rf"^  linmem {name} (.*)$", done.stdout, re.MULTILINE)
    assert typer.main.get_command(app).commands[name].make_context(name, shlex.split(example))  # type: ignore[attr-defined]


def test_the_version_is_the_package_s() -> None:
    try:
        expected = f"linmem {version('linmem-langgraph')}\n"
    except PackageNotFoundError:
        expected = "linmem, from a checkout that is not installed\n"

    assert invoke("--version").stdout == expected


@pytest.mark.parametrize("arguments", [("wrote",), ("read",), ("read", "f", "n", "q", "--limit", "x"), ("--nope",)])
def test_wrong_usage_is_exit_code_2_on_stderr(arguments: tuple[str, ...]) -> None:
    done = invoke(*arguments)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr
