"""What the graphs of `langgraph.json` work with, and that nothing is read or opened before the first run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from graphs.settings import Settings, open_shared, read_settings
from linmem_langgraph import ConfigError

ONE_MEMORY = """
import asyncio, json, os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import graphs.served as served
from graphs.settings import shared
before = os.listdir()
os.environ["LINMEM_PATH"] = "mine"
with ThreadPoolExecutor(8) as threads:
    memories = set(threads.map(lambda _: id(shared().memory), range(8)))
async def twice():
    return [await graph() for graph in (served.m3_agent, served.drop_in, served.memory) for _ in range(2)]
graphs = asyncio.run(twice())
print(json.dumps({
    "before": before,
    "after": os.listdir(),
    "memories": len(memories),
    "graphs": len(set(map(id, graphs))),
    "bare": all(graph.checkpointer is None and graph.store is None for graph in graphs),
}))
"""


def test_nothing_is_opened_before_the_first_run_and_then_once(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", ONE_MEMORY],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert not told.stderr
    assert json.loads(told.stdout) == {"before": [], "after": ["mine"], "memories": 1, "graphs": 3, "bare": True}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says where, and nothing else."""
    monkeypatch.setenv("LINMEM_PATH", str(tmp_path / "memory"))
    return monkeypatch


def test_as_it_comes_neither_key_nor_server_is_needed(settings: pytest.MonkeyPatch) -> None:
    shared = open_shared(read_settings())
    with shared.memory as memory:
        memory.write(("users", "anna"), "Anna has a red bicycle.")
        memory.flush()
        assert "bicycle" in memory.read(("users", "anna"), "bicycle").text
    assert shared.model._llm_type == "extractive-baseline"
    assert shared.template.fields == ("user_id",)


def test_the_environment_chooses(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("LINMEM_READER", "linear")
    settings.setenv("LINMEM_READER_OPTIONS", '{"base_url": "http://127.0.0.1:9/v1", "context_tokens": 500}')
    settings.setenv("LINMEM_NAMESPACE", "video/{video}")
    settings.setenv("LINMEM_PROTOCOL", "m3")
    shared = open_shared(read_settings())
    with shared.memory as memory:
        assert memory.reader.name == "linear"
    assert shared.template.labels == ("video", "{video}")
    assert shared.protocol == "m3"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LINMEM_MODEL", "gpt-5", "'gpt-5'.*provider:model"),
        ("LINMEM_READER", "chrom", "unknown reader 'chrom'"),
        ("LINMEM_READER_OPTIONS", "{", "READER_OPTIONS"),
        ("LINMEM_READER_OPTIONS", '{"colour": 1}', "unknown option 'colour'"),
        ("LINMEM_NAMESPACE", "users/{", "brace"),
        ("LINMEM_PROTOCOL", "m4", "PROTOCOL 'm4'.*'tool_calls' or 'm3'"),
        ("LINMEM_PATH", __file__, "cannot open the memory folder"),
    ],
)
def test_a_wrong_setting_is_named(settings: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    settings.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        open_shared(read_settings())


def test_an_error_does_not_tell_the_readers_options(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("LINMEM_READER_OPTIONS", '["sk-secret"]')
    with pytest.raises(ConfigError, match="LINMEM_READER_OPTIONS") as raised:
        read_settings()
    assert "sk-secret" not in str(raised.value)


def test_an_empty_variable_is_none(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("LINMEM_MODEL", "")
    assert read_settings().model == Settings().model == "offline:extractive"
