"""What `import linmem_langgraph` does: nothing a user would notice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import linmem_langgraph

# The hooks are set before the import and cannot be removed, so that whatever the import does is recorded.
PROBE = """
import importlib.machinery, importlib.util, json, os, sys, typing
package = {package!r}
touched, environment, recording = [], [], False

class Recorder(type(os.environ)):
    def __init__(self, real):
        self.__dict__.update(real.__dict__)
    def __getitem__(self, key):
        if recording:
            environment.append(str(key))
        return super().__getitem__(key)
    def __iter__(self):
        if recording:
            environment.append("*")
        return super().__iter__()

def hook(event, arguments):
    if not recording:
        return
    if event == "open" and not str(arguments[0]).startswith(package):
        touched.append(f"open {{arguments[0]}}")
    if event.split(".")[0] in ("socket", "sqlite3", "subprocess", "os", "shutil", "tempfile", "urllib"):
        if event not in ("os.listdir", "os.scandir"):
            touched.append(event)

os.environ = Recorder(os.environ)
sys.addaudithook(hook)
before, recording = set(sys.modules), True
{statement}
recording = False
print(json.dumps({{"touched": touched, "environment": environment, "modules": sorted(set(sys.modules) - before)}}))
"""


def observe(statement: str) -> dict[str, list[str]]:
    source = PROBE.format(package=str(Path(linmem_langgraph.__file__).parent), statement=statement)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    seen: dict[str, list[str]] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize(
    ("statement", "recorded"),
    [
        ("import os; os.environ.get('HOME')", "environment"),
        ("import os; os.getenv('HOME')", "environment"),
        ("open('/dev/null').close()", "touched"),
        ("import socket; socket.socket().close()", "touched"),
        ("import sqlite3; sqlite3.connect(':memory:').close()", "touched"),
        ("import wave", "modules"),
    ],
)
def test_the_probe_sees(statement: str, recorded: str) -> None:
    assert observe(statement)[recorded]


def test_the_import_opens_nothing_and_reads_no_environment() -> None:
    seen = observe("import linmem_langgraph")
    assert seen["touched"] == []
    assert seen["environment"] == []


def test_the_import_loads_no_other_package() -> None:
    modules = observe("import linmem_langgraph")["modules"]
    assert "linmem_langgraph" in modules
    third_party = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"linmem_langgraph"}
    assert third_party == set()


@pytest.mark.parametrize("name", dir(linmem_langgraph))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(linmem_langgraph, name).__name__ == name
    assert name in linmem_langgraph.__all__ or name == "MemoryMiddleware"


def test_the_names_load_no_chroma_and_no_model_client() -> None:
    for_a_model = {"HybridReader", "LinearReader", "RollingReader"}
    light = sorted({*linmem_langgraph.__all__} - for_a_model)
    modules = observe(f"from linmem_langgraph import {', '.join(light)}")["modules"]
    heavy = {"chromadb", "onnxruntime", "openai", "langchain_openai", "langchain", "torch", "langgraph_api"}
    assert {name.partition(".")[0] for name in modules} & heavy == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Memry"):
        linmem_langgraph.Memry  # noqa: B018


def test_every_error_is_a_linmem_error() -> None:
    errors = [name for name in linmem_langgraph.__all__ if name.endswith(("Error", "Unavailable", "Overflow", "File"))]
    assert len(errors) >= 6
    assert all(issubclass(getattr(linmem_langgraph, name), linmem_langgraph.LinmemError) for name in errors)
