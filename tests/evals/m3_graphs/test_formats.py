"""A memory graph as text in two formats: what a model is shown, of one and the same log."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from evals.config import ReaderConfig, RunConfig
from evals.labels import arm_label
from evals.m3_graphs.formats import Format, raw, structured
from evals.readers import configured_reader
from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.transcript import render
from tests.evals.m3_graphs.worlds import remembered
from tests.model_server import ModelServer, memory_of

HOUSE = [
    (0, "episodic", "<face_0> puts the red mug on the shelf.", (0,)),
    (0, "semantic", "The kitchen is small.", ()),
    (1, "episodic", "<face_1> reads a book.", (1,)),
    (2, "semantic", "Equivalence: <face_0>, <face_2>", (0, 2)),
    (2, "episodic", "<face_2> takes the red mug from <face_1>.", (2, 1)),
    (3, "episodic", "<face_1> washes the red mug.", (1,)),
    (3, "semantic", "<face_1> is tidy.", (1,)),
    (4, "semantic", "Equivalence: <face_1>, <face_3>", (1, 3)),
]

RAW = """\
[0] <face_0> puts the red mug on the shelf.
[1] <face_1> reads a book.
[2] <face_2> takes the red mug from <face_1>.
[3] <face_1> washes the red mug.
"""

STRUCTURED = """\
[0] <character_0> puts the red mug on the shelf.
[2] <character_0> takes the red mug from <character_1>.
[1] <character_1> reads a book.
[3] <character_1> washes the red mug.
[3] <character_1> is tidy.
[0] The kitchen is small.
"""

STRUCTURED_AT_1 = """\
[0] <character_0> puts the red mug on the shelf.
[1] <character_1> reads a book.
[0] The kitchen is small.
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(says="It is on the shelf [0], then taken [2].") as one:
        yield one


def memory(server: ModelServer, format: str, store: InMemoryStore, path: Path) -> Memory:
    options = {"format": format, "base_url": server.base_url}
    return Memory(configured_reader(ReaderConfig(name="m3_linear", options=options), path / format), store=store)


def shown(server: ModelServer) -> str:
    return memory_of(server.asked("read")[-1])


def test_two_formats_of_one_log(server: ModelServer, tmp_path: Path) -> None:
    store = InMemoryStore()
    with memory(server, "raw", store, tmp_path) as one, memory(server, "structured", store, tmp_path) as other:
        one.write(("m",), remembered(HOUSE))
        reading = one.read(("m",), "Where is the mug?")
        assert shown(server) == RAW
        assert (reading.reader, [hit.record.position for hit in reading.records]) == ("m3_linear", [0, 2])
        other.read(("m",), "Where is the mug?")
        assert shown(server) == STRUCTURED
        other.read(("m",), "Where is the mug?", until=1)
        assert shown(server) == STRUCTURED_AT_1
        one.read(("m",), "Where is the mug?", until=1)
        assert shown(server) == "".join(RAW.splitlines(keepends=True)[:2])


@pytest.mark.parametrize("format", ["raw", "structured"])
def test_what_is_written_is_read_and_what_is_forgotten_is_not(
    server: ModelServer, tmp_path: Path, format: Format
) -> None:
    with memory(server, format, InMemoryStore(), tmp_path) as one:
        one.write(("m",), remembered(HOUSE))
        one.read(("m",), "Where is the mug?")
        one.write(("m",), [MemoryRecord(text="<face_1> hides the red mug.", position=5, key="late")])
        one.read(("m",), "Where is the mug?")
        assert "hides the red mug" in shown(server)
        one.forget(("m",), ["late"])
        one.read(("m",), "Where is the mug?")
        assert "hides" not in shown(server)
        one.forget(("m",))
        assert one.read(("m",), "Where is the mug?").text == "Nothing in memory matches."


def test_a_filter_holds_in_either_format(server: ModelServer, tmp_path: Path) -> None:
    with memory(server, "structured", InMemoryStore(), tmp_path) as one:
        one.write(("m",), remembered(HOUSE))
        one.read(("m",), "Who is tidy?", filter={"kind": "semantic"})
        assert shown(server) == "[3] <character_1> is tidy.\n[0] The kitchen is small.\n"


WORLDS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(["episodic", "semantic"]),
        st.sampled_from(["<face_0> waves.", "<face_1> asks <face_2>.", "It rains.", "Equivalence: <face_0>, <face_2>"]),
        st.sets(st.integers(0, 3)).map(tuple),
    ),
    max_size=12,
)


@given(WORLDS, st.integers(0, 5))
def test_nothing_later_matters_and_each_text_is_told_once(
    texts: list[tuple[int, str, str, tuple[int, ...]]], until: int
) -> None:
    known = remembered(texts) if texts else []
    early = [record for record in known if (record.position or 0) <= until]

    for record in structured(known):
        assert record.kind != "equivalence"
    assert Counter(record.key for record in structured(early)) == Counter(
        record.key for record in early if record.kind != "equivalence"
    )
    assert render(raw(known)).startswith(render(raw(early)))


def test_a_format_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"format .* is 'prose'; choose raw, structured"):
        configured_reader(ReaderConfig(name="m3_linear", options={"format": "prose"}), tmp_path)


def test_a_label_names_format_and_model() -> None:
    reader = {"name": "m3_linear", "options": {"format": "raw", "model": "vllm:kimi"}}
    config = RunConfig.model_validate({"name": "format", "reader": reader})

    assert arm_label(config, "main") == "m3_linear (raw, vllm:kimi)"
