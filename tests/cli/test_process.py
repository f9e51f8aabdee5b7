"""The command as a process: locales, bytes, pipes, full disks, Ctrl-C, and others beside it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cli.running import LEXICAL, command, document, error_of, invoke, kept, linmem


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_any_locale_will_do(folder: Path, environment: dict[str, str]) -> None:
    text = "Anna trinkt Kaffee, 咖啡, é"
    assert linmem("write", folder, "a", "-", *LEXICAL, stdin=text.encode(), environment=environment).returncode == 0

    shown = linmem("records", folder, "a", environment=environment)
    listed = linmem("records", folder, "a", "--json", environment=environment)
    exported = linmem("export", folder, "a", "-", environment=environment)

    assert shown.stderr == listed.stderr == exported.stderr == b""
    assert "Anna trinkt Kaffee" in shown.stdout.decode()
    assert document(listed)[0]["text"] == text
    assert text in exported.stdout.decode()


def test_bytes_that_are_no_utf_8_are_refused(anna: Path) -> None:
    for arguments in (
        ("write", anna, "a\udcff", "text"),
        ("write", anna, "a", "text", "--key", "\udcff"),
        ("read", anna, "users/anna", "a\udcff"),
        ("records", anna, "\udcff"),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2
        assert re.search("lone surrogate|unicode string", error_of(done))

    assert "lone surrogate" in error_of(linmem("write", anna, "users/anna", b"a\xff"))
    assert document(linmem("forget", anna, "users/anna", b"\xff", "--json", *LEXICAL))["unknown"] == ["\udcff"]
    missing = linmem("records", os.fsencode(anna) + b"\xff\x1b", "a")
    assert error_of(missing).startswith(f"error: there is no memory in {anna}\\udcff\\x1b: ")


@pytest.mark.parametrize(
    "arguments", [("records",), ("records", "users/anna", "--json"), ("export", "users/anna", "-")]
)
def test_a_pipe_that_nobody_reads_is_left_quietly(anna: Path, arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    with subprocess.Popen(command(name, anna, *rest), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(anna: Path) -> None:
    for arguments in (
        ("records", anna, "users/anna"),
        ("records", anna, "--json"),
        ("export", anna, "users/anna", "-"),
    ):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert done.stderr == b"error: [Errno 28] No space left on device\n"


def test_closed_streams_are_no_error(anna: Path) -> None:
    shell = ["sh", "-c", '"$@" <&- >&-', "sh"]
    for arguments in (("records", anna, "users/anna"), ("forget", anna, "users/anna", "home", *LEXICAL)):
        done = subprocess.run([*shell, *command(*arguments)], stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (0, b"")
    assert len(kept(anna)) == 2


@pytest.fixture
def busy_index(anna: Path) -> Iterator[None]:
    """While another program holds the index."""
    with FileLock(anna / "chroma" / "linmem.lock"):
        yield


@pytest.mark.usefixtures("busy_index")
def test_ctrl_c_ends_a_write_that_waits_and_the_log_has_it(anna: Path) -> None:
    arguments = command("write", anna, "users/anna", "Anna sings.", *LEXICAL)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while document(linmem("records", anna, "--json"))[0]["records"] == 3:
            assert process.poll() is None
        time.sleep(0.5)  # it is waiting for the index now
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == process.stderr.read() == b""

    assert "Anna sings." in linmem("records", anna, "users/anna").stdout.decode()


def test_two_processes_write_at_once(folder: Path) -> None:
    with ExitStack() as started:
        processes = [
            started.enter_context(subprocess.Popen(command("write", folder, "a", f"text {number}", *LEXICAL)))
            for number in range(3)
        ]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert {record.text for record in kept(folder, "a")} == {"text 0", "text 1", "text 2"}
