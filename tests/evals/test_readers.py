"""The reader a config names, and the controls."""

from pathlib import Path
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from evals.config import ReaderConfig
from evals.readers import BlindReader, OracleReader, configured_reader
from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.errors import ConfigError
from tests.model_server import ModelServer

WHERE = ("household", "home")
TOLD = [
    MemoryRecord(text=f"Clip {clip}, caption {number}.", position=clip, key=f"{clip}_{number}", kind=kind)
    for clip in range(6)
    for number, kind in enumerate(["episodic", "semantic"])
]


def memory_of(reader: BlindReader | OracleReader) -> Memory:
    memory = Memory(reader, store=InMemoryStore())
    memory.write(WHERE, TOLD)
    return memory


def test_blind_finds_nothing_whatever_is_there() -> None:
    with memory_of(BlindReader()) as memory:
        reading = memory.read(WHERE, TOLD[0].text)

    assert reading.records == ()
    assert reading.reader == "blind"
    assert not any(record.text in reading.text for record in TOLD)


def test_oracle_finds_exactly_the_gold_positions() -> None:
    with memory_of(OracleReader([4, 1])) as memory:
        reading = memory.read(WHERE, "anything", limit=1)

    assert [hit.record.key for hit in reading.records] == ["1_0", "1_1", "4_0", "4_1"]
    assert reading.text.splitlines() == [f"[{c}] Clip {c}, caption {n}." for c in (1, 4) for n in (0, 1)]


@pytest.mark.parametrize(
    ("bounds", "keys"),
    [
        ({"until": 4}, ["1_0", "1_1", "4_0", "4_1"]),
        ({"until": 3}, ["1_0", "1_1"]),
        ({"until": 0}, []),
        ({"exclude": [1]}, ["4_0", "4_1"]),
        ({"exclude": ["4_1"], "filter": {"kind": "semantic"}}, ["1_1"]),
    ],
    ids=str,
)
def test_oracle_keeps_every_bound(bounds: dict[str, Any], keys: list[str]) -> None:
    with memory_of(OracleReader([1, 4])) as memory:
        reading = memory.read(WHERE, "anything", **bounds)

    assert [hit.record.key for hit in reading.records] == keys
    if not keys:
        assert reading.text == memory_of(BlindReader()).read(WHERE, "anything").text


def test_controls_forget_and_rebuild() -> None:
    with memory_of(OracleReader([1])) as memory:
        receipt = memory.forget(WHERE, ["1_0"])
        memory.rebuild(WHERE)

        assert (receipt.from_log, receipt.from_index) == (1, 0)
        assert [hit.record.key for hit in memory.read(WHERE, "anything").records] == ["1_1"]


def test_the_reader_is_made_as_it_is_configured(tmp_path: Path) -> None:
    options = {"embeddings": "lexical", "by": "position", "limit": 1}
    with Memory(configured_reader(ReaderConfig(options=options), tmp_path), store=InMemoryStore()) as memory:
        memory.write(WHERE, TOLD)
        reading = memory.read(WHERE, "clip 3")

    assert reading.reader == "chroma"
    assert len({hit.record.position for hit in reading.records}) == 1
    assert len(reading.records) == 2
    assert (tmp_path / "chroma").is_dir()
    assert options["embeddings"] == "lexical"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ReaderConfig(name="chrom"), "unknown reader 'chrom'; choose chroma"),
        (ReaderConfig(options={"limt": 3}), "unknown option 'limt'"),
        (ReaderConfig(options={"path": "/tmp"}), "unknown option 'path'"),
        (ReaderConfig(options={"by": "clip"}), "'position'"),
        (ReaderConfig(options={"limit": 0}), "limit"),
        (ReaderConfig(options={"embeddings": "lexicl"}), "'lexicl'"),
        (ReaderConfig(options={"limit": "three"}), "limit"),
        (ReaderConfig(options={"threshold": "high"}), "threshold"),
    ],
)
def test_a_wrong_reader_is_refused(config: ReaderConfig, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        configured_reader(config, tmp_path)

    assert said in str(caught.value)


def test_a_run_finds_nothing_in_the_servers_cache_that_another_left(tmp_path: Path) -> None:
    with ModelServer() as server:
        config = ReaderConfig(name="linear", options={"model": "vllm:", "base_url": server.base_url})
        for _ in range(2):
            with Memory(configured_reader(config, tmp_path), store=InMemoryStore()) as memory:
                memory.write(WHERE, "Anna sleeps")
                memory.read(WHERE, "Who sleeps?")
        salts = [body["cache_salt"] for body in server.bodies("read")]
    assert len(set(salts)) == len(salts) == 2
