"""The data set as a hub has it, and the command in a process of its own."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.evals.fetch.hub_server import Hub
from tests.evals.m3_graphs.pickles import house, pickled
from tests.evals.support import ROOT

GRAPH = pickled(house())
"""The graph of a video, with 4 texts."""

QUESTION = {"question": "Who?", "answer": "Bob", "type": []}
ROBOT = {
    name: {"qa_list": [{**QUESTION, "question_id": f"{name}_Q1", "timestamp": "1:00", "before_clip": 1}]}
    for name in ("home", "office")
}
WEB = {"-abc": {"qa_list": [{**QUESTION, "question_id": "-abc_Q1"}]}}
ARCHIVES = ("memory_graphs/robot.tar.gz", "memory_graphs/web.tar.gz")


def archive(members: dict[str, bytes], mode: Any = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return file.getvalue()


def published() -> dict[str, bytes]:
    """The data set, as it is laid out on the hub."""
    return {
        "README.md": b"# M3-Bench",
        "robot.json": json.dumps(ROBOT).encode(),
        "web.json": json.dumps(WEB).encode(),
        ARCHIVES[0]: archive({f"robot/{name}.pkl": GRAPH for name in ROBOT}),
        ARCHIVES[1]: archive({f"web/{name}.pkl": GRAPH for name in WEB}),
        "videos/robot/home.mp4": b"a film",
        "intermediate_outputs/robot.tar.gz": b"much else",
    }


WANTED = ("robot.json", "web.json", *ARCHIVES)


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """What HF_ENDPOINT sets when the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "".join(template[1:]))


Done = namedtuple("Done", ("code", "out", "err"))


def process(hub: Hub, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The command, in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(Path("hf").resolve()),
    }
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "evals", "fetch", "m3_bench", *arguments]
    return subprocess.Popen(command, env=environment, text=True, **options)


DATA = Path("data/m3_bench")


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {".lock"}


CONVERTED = {
    f"{kind}/{video}{end}" for kind, end in (("memories", ".jsonl"), ("vectors", ".npz")) for video in ROBOT | WEB
}
