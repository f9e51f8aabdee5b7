"""Each example as a script, in a process that can reach nothing, without a key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Python imports it before anything else, in the processes that an example starts, too.
CUT_OFF = """
import socket, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("REACHED OUT", event, arguments, file=sys.stderr, flush=True)
        raise OSError("this process is cut off")
sys.addaudithook(refuse)
"""

SHOWN = {
    "three_lines": ["agent: user: I am allergic to nuts", "bob: What am I allergic to?\n  agent: I do not know."],
    "hand_made_graph": ["think: calls search_memory(", "think: user: My bicycle is in the blue shed.", "remember: "],
    "many_users": ["Receipt for users/anna", "records forgotten: 1", "teams/kitchen: 1 record(s)"],
    "another_reader": ["over Chroma", "over the linear reader", "linmem-tiny-hybrid read 115 records: "],
    "from_langmem": ["2 records imported", "anna: Where does Anna live?\n  agent: Anna lives in Oslo."],
}


def run(script: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    (tmp_path / "sitecustomize.py").write_text(CUT_OFF)
    keys = ("OPENAI_API_KEY", "VLLM_BASE_URL", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2")
    environment = {name: value for name, value in os.environ.items() if name not in keys}
    environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), str(ROOT)))
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=110)


def test_every_example_is_run() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {*SHOWN, "offline_model"}


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_runs_offline_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    done = run(ROOT / "examples" / f"{name}.py", tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The model: offline rules, no language model.\n")
    assert [text for text in SHOWN[name] if text not in done.stdout] == []
    assert {path.name for path in tmp_path.iterdir()} <= {"sitecustomize.py", "__pycache__"}


def test_a_script_that_reaches_out_is_noticed(tmp_path: Path) -> None:
    script = tmp_path / "reaching.py"
    script.write_text("import socket\nsocket.create_connection(('127.0.0.1', 9))\n")

    done = run(script, tmp_path)

    assert done.returncode == 1
    assert "REACHED OUT" in done.stderr
