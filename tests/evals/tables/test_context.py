"""A needle in transcripts that grow until the server refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.benchmarks import load_benchmark
from evals.cli import app
from evals.config import ReaderConfig, RunConfig
from evals.tables.context import CODE, DEPTHS, START, Read, file_of, markdown, model_of, needle, together
from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from tests.evals.support import ROOT
from tests.model_server import ModelServer, said

RECORDS = together(load_benchmark("household"))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """It has a context of 20,000 tokens, which are bytes, and finds what is in the second half of a memory."""

    def says(message: str) -> str:
        memory, _, _ = message.partition("\n\nQuestion: ")
        return f"It is {CODE} [7]." if CODE in memory[len(memory) // 2 :] else "Nothing in memory matches."

    with ModelServer(says=says, context=20_000) as one:
        yield one


def read(server: ModelServer, file: Path) -> list[Read]:
    config = ReaderConfig(name="m3_linear", options={"model": "vllm:", "base_url": server.base_url})
    return needle(model_of(config), RECORDS, file)


def test_memories_become_one_with_a_position_for_each_clip_of_each() -> None:
    whole = load_benchmark("household")
    clips = sum(len({record.position for record in records}) for records in whole.memories.values())

    positions = [record.position or 0 for record in RECORDS]

    assert positions == sorted(positions)
    assert set(positions) == set(range(clips))
    assert [record.text for record in RECORDS] == [each.text for told in whole.memories.values() for each in told]


def test_it_grows_until_the_server_refuses_and_then_narrows_the_limit_down(server: ModelServer, tmp_path: Path) -> None:
    reads = read(server, tmp_path / "reads.jsonl")

    sizes = list(dict.fromkeys(one.records for one in reads))
    assert sizes[0] == START
    assert sizes == sorted(sizes)
    refused = [one for one in reads if one.refused]
    good = [one for one in reads if not one.refused]
    assert max(one.records for one in good) < min(one.records for one in refused)
    assert 0.85 * 20_000 < max(one.tokens for one in good) <= 20_000
    assert all("maximum context length is 20000" in one.refused for one in refused)
    assert {one.found for one in good if one.depth == 0.1} == {False}
    assert {one.found for one in good if one.depth == 0.9} == {True}


def test_the_needle_stands_where_it_is_said_to(server: ModelServer, tmp_path: Path) -> None:
    read(server, tmp_path / "reads.jsonl")

    for request, depth in zip(server.asked("read"), DEPTHS, strict=False):
        told = said(request).removeprefix("MEMORY:\n").partition("\n\nQuestion: ")[0].splitlines()
        assert [CODE in line for line in told].index(True) == int(depth * START)
        assert len(told) == START + 1


def test_it_goes_on_where_it_was_broken_off(server: ModelServer, tmp_path: Path) -> None:
    file = tmp_path / "reads.jsonl"
    first = read(server, file)
    kept = file.read_text().splitlines(keepends=True)
    file.write_text("".join(kept[:5]))
    server.clear()

    again = read(server, file)

    assert [one._replace(seconds=0) for one in again] == [one._replace(seconds=0) for one in first]
    assert len(server.asked("read")) == len(kept) - 5


def test_what_failed_but_was_not_refused_is_asked_again(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "reads.jsonl"
    whole = read(server, file)
    file.unlink()
    chat = server._chat

    def failing(body: dict[str, Any]) -> tuple[int, Any]:
        long = str(body["messages"][-1]["content"]).count("\n") > 100
        return (503, {"error": {"message": "busy"}}) if long else chat(body)

    monkeypatch.setattr(server, "_chat", failing)
    broken = read(server, file)
    monkeypatch.setattr(server, "_chat", chat)
    again = read(server, file)

    assert any(one.failed and "busy" in one.refused for one in broken)
    assert max(one.records for one in broken if not one.refused) < 128
    assert [one._replace(seconds=0) for one in again] == [one._replace(seconds=0) for one in whole]


def test_a_line_that_was_cut_off_is_read_again(server: ModelServer, tmp_path: Path) -> None:
    file = tmp_path / "reads.jsonl"
    first = read(server, file)
    file.write_bytes(file.read_bytes()[:-20])

    assert [one._replace(seconds=0) for one in read(server, file)] == [one._replace(seconds=0) for one in first]


def test_another_model_address_or_benchmark_has_another_file(tmp_path: Path) -> None:
    benchmark = load_benchmark("household")
    one = RunConfig.model_validate({"name": "a", "reader": {"options": {"model": "vllm:a", "base_url": "http://x/v1"}}})
    two = RunConfig.model_validate({"name": "a", "reader": {"options": {"model": "vllm:b", "base_url": "http://x/v1"}}})
    other = benchmark.model_copy(update={"fingerprint": "other"})

    files = {file_of(tmp_path, "kimi", config, asked) for config in (one, two) for asked in (benchmark, other)}

    assert len(files) == 4


def test_a_server_that_takes_all_there_is_never_refuses(server: ModelServer, tmp_path: Path) -> None:
    server.context = None
    reads = read(server, tmp_path / "reads.jsonl")

    assert max(one.records for one in reads) == len(RECORDS)
    assert "never refused" in markdown("kimi", reads)


def test_a_server_that_is_down_has_no_context_and_nothing_is_kept(tmp_path: Path) -> None:
    with ModelServer() as server:
        url = server.base_url
    config = ReaderConfig(name="m3_linear", options={"model": "vllm:tiny", "base_url": url})

    with pytest.raises(ReaderUnavailable, match="not even 2 records could be read: OpenAIConnectionError"):
        needle(model_of(config), RECORDS, tmp_path / "reads.jsonl")

    assert not (tmp_path / "reads.jsonl").exists()


def test_the_command_writes_the_table(server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    changes = {
        "benchmark": "{name: household}",
        "reader.options.base_url": server.base_url,
        "reader.options.model": "vllm:tiny",
    }
    arguments = [f"--set={name}={value}" for name, value in changes.items()]

    done = CliRunner().invoke(app, ["table", "context", "--row", "kimi", "--out", str(tmp_path), *arguments])

    assert done.exit_code == 0, done.output
    table = (tmp_path / "kimi.md").read_text()
    assert "published: 262,144" in table
    assert "| 32 |" in table
    assert "| false |" in table
    assert "| true |" in table
    assert json.loads(next(tmp_path.glob("kimi-*.jsonl")).read_text().splitlines()[0])["records"] == START


def test_a_row_without_a_model_has_no_context() -> None:
    with pytest.raises(ConfigError, match="has no model whose context could be measured"):
        model_of(ReaderConfig(name="chroma"))
