"""Which segments a hybrid reader reads, and what that costs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, HybridReader, LinearReader, Memory, MemoryRecord, ReaderUnavailable
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.readers._linear import loop
from linmem_langgraph.vllm import ChatVLLM
from tests.fakes import SwitchableEmbeddings
from tests.model_server import ModelServer, memory_of
from tests.readers.linear.words import everything

NAMESPACE = ("users", "anna")
LINE = len("[10] clip 10: somebody lifts crate10.\n")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(everything) as server:
        yield server


def reading(server: ModelServer, **options: Any) -> Memory:
    """A memory in segments of four clips, of which a read takes two."""
    sizes = {"segment_tokens": 4 * LINE, "budget_tokens": 8 * LINE, "embeddings": LexicalEmbeddings(), **options}
    return Memory(HybridReader(ChatVLLM(base_url=server.base_url), **sizes), store=InMemoryStore())


def clips(count: int, first: int = 10) -> list[str]:
    return [f"clip {place}: somebody lifts crate{place}." for place in range(first, first + count)]


def read_positions(server: ModelServer) -> list[list[int]]:
    """Of each read, in the order of the memory: the positions that it showed."""
    shown = [memory_of(request) for request in server.asked("read")]
    return sorted([int(line[1:].partition("]")[0]) for line in text.splitlines()] for text in shown)


def test_a_small_memory_is_read_whole(server: ModelServer) -> None:
    with reading(server) as memory:
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=10 + at) for at, text in enumerate(clips(8))])
        assert memory.read(NAMESPACE, "Who lifts crate12?").reader == "hybrid"
        assert read_positions(server) == [[*range(10, 18)]]
        assert not server.asked("merge")


def test_of_a_larger_one_the_segments_are_read_in_which_most_is_found(server: ModelServer) -> None:
    with reading(server) as memory:
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=10 + at) for at, text in enumerate(clips(40))])
        found = memory.read(NAMESPACE, "Who lifts crate12, who crate38?")
        assert read_positions(server) == [[10, 11, 12, 13], [38, 39, 40, 41]]
        assert len(server.asked("merge")) == 1
        assert {hit.record.position for hit in found.records} == {10, 11, 12, 13, 38, 39, 40, 41}


def test_what_the_budget_holds_is_read_whole_by_a_model_of_a_smaller_context(server: ModelServer) -> None:
    server.context, server.says = 6_000, "Somebody lifts it [12]."
    with reading(server, segment_tokens=5_000, budget_tokens=6_000) as memory:
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=10 + at) for at, text in enumerate(clips(90))])
        memory.write(NAMESPACE, MemoryRecord(text="the end.", position=100))
        memory.read(NAMESPACE, "Who lifts crate12?")
        first, second = sorted(read_positions(server))
        assert [*first, *second] == [*range(10, 101)]


def test_segments_of_large_records_stay_within_the_budget(server: ModelServer) -> None:
    with reading(server) as memory:
        texts = [f"{text} {'.' * 5 * LINE}" for text in clips(2)]
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=10 + at) for at, text in enumerate(texts)])
        memory.read(NAMESPACE, "Who lifts crate10?")
        assert read_positions(server) == [[10]]
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=12 + at) for at, text in enumerate(clips(4, 12))])
        memory.read(NAMESPACE, "Who lifts crate11?")
        assert read_positions(server) == [[10], [11]]
        memory.read(NAMESPACE, "Who lifts crate12?")
        assert read_positions(server) == [[10], [11], [12, 13, 14, 15]]


@pytest.mark.parametrize("clips_in_memory", [16, 64, 256])
def test_a_read_costs_the_same_however_large_the_memory(server: ModelServer, clips_in_memory: int) -> None:
    with reading(server) as memory:
        memory.write(NAMESPACE, clips(clips_in_memory))
        usage = memory.read(NAMESPACE, "Who lifts crate12?").usage
        assert len(server.asked("read")) == 2
        assert usage.prompt_tokens < 12_000


def test_a_reading_rests_on_what_was_read_alone(server: ModelServer) -> None:
    server.says = "Somebody lifts it [7]. Long before, [3]."
    with reading(server, budget_tokens=4 * LINE) as memory:
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=3) for text in clips(20)])
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=7) for text in clips(20, 50)])
        found = memory.read(NAMESPACE, "Who lifts crate63?")
        (shown,) = [memory_of(request) for request in server.asked("read")]
        assert [hit.record.text for hit in found.records] == [line[4:] for line in shown.splitlines()]
        assert found.invented == 1


def test_where_nothing_is_found_the_newest_is_read(server: ModelServer) -> None:
    with reading(server) as memory:
        memory.write(NAMESPACE, [MemoryRecord(text="Somebody lifts a box.", position=at) for at in range(10, 90)])
        memory.read(NAMESPACE, "Qqq zzz?")
        first, second = read_positions(server)
        assert [*first, *second] == [*range(first[0], 90)]


def test_an_index_names_as_many_records_as_segments_are_read(server: ModelServer) -> None:
    with reading(server, budget_tokens=30 * 4 * LINE) as memory:
        texts = [text for one in clips(15) for text in [one, *["Here nothing happens, day by day."] * 3]]
        texts += ["Here nothing happens, day by day."] * 200
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=10 + at) for at, text in enumerate(texts)])
        found = memory.read(NAMESPACE, "Which crates does somebody lift?")
        assert sum("crate" in hit.record.text for hit in found.records) == 15


@settings(max_examples=10)
@given(batches=st.lists(st.integers(1, 7), min_size=2, max_size=6))
def test_a_full_segment_never_changes(batches: list[int]) -> None:
    with ModelServer(everything) as server, reading(server, mode="routed") as memory:
        before: list[list[int]] = []
        written = 10
        for size in batches:
            memory.write(
                NAMESPACE, [MemoryRecord(text=t, position=written + at) for at, t in enumerate(clips(size, written))]
            )
            written += size
            view = memory.reader._view(memory._log(NAMESPACE))  # type: ignore[attr-defined]
            cut = loop.run(memory.reader._segments(NAMESPACE, view, range(len(view.records))))  # type: ignore[attr-defined]
            assert cut[: max(len(before) - 1, 0)] == before[: max(len(before) - 1, 0)]
            before = cut


def test_the_state_of_a_segment_serves_every_question(server: ModelServer) -> None:
    server.tokens = lambda text: len(text.encode())
    with reading(server, segment_tokens=40 * LINE, budget_tokens=40 * LINE) as memory:
        memory.write(NAMESPACE, clips(120))
        memory.flush()
        assert len(server.asked("prime")) >= 3
        for question in ("Who lifts crate12?", "And what of crate13?"):
            usage = memory.read(NAMESPACE, question).usage
            assert usage.cached_tokens > 30 * LINE


def test_what_is_beyond_until_or_excluded_or_filtered_routes_nothing(server: ModelServer) -> None:
    with reading(server, budget_tokens=4 * LINE) as memory:
        for at, text in enumerate(clips(24)):
            memory.write(NAMESPACE, MemoryRecord(text=text, position=10 + at, kind="odd" if at % 2 else "even"))
        memory.write(NAMESPACE, MemoryRecord(text="clip 34: somebody lifts crate12.", position=34, kind="even"))
        assert 34 in {hit.record.position for hit in memory.read(NAMESPACE, "crate12 clip 34").records}
        until = memory.read(NAMESPACE, "crate12 clip 34", until=33)
        assert {hit.record.position for hit in until.records} == {10, 11, 12, 13}
        odd = memory.read(NAMESPACE, "crate13", filter={"kind": "odd"})
        assert {hit.record.position for hit in odd.records} == {11, 13, 15, 17}
        excluded = memory.read(NAMESPACE, "crate12 clip 34", exclude=[34])
        assert {hit.record.position for hit in excluded.records} == {10, 11, 12, 13}


def test_words_and_vectors_are_fused(server: ModelServer) -> None:
    class Near33(LexicalEmbeddings):
        """The nearer a clip is to number 33, the better."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[1.0, abs(int(text.split()[1].rstrip(":")) - 33) / 10] for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.0]

    with reading(server, embeddings=Near33()) as memory:
        memory.write(NAMESPACE, [MemoryRecord(text=text, position=10 + at) for at, text in enumerate(clips(80))])
        memory.read(NAMESPACE, "crate85")
        assert read_positions(server) == [[30, 31, 32, 33], [82, 83, 84, 85]]


def test_the_reader_of_a_memory_is_exchanged_without_writing_again(server: ModelServer) -> None:
    store = InMemoryStore()
    with Memory(LinearReader(ChatVLLM(base_url=server.base_url)), store=store) as memory:
        memory.write(NAMESPACE, clips(40))
    reader = HybridReader(ChatVLLM(base_url=server.base_url), embeddings=LexicalEmbeddings(), segment_tokens=200)
    with Memory(reader, store=store) as memory:
        assert "crate33" in memory.read(NAMESPACE, "crate33").text


def test_an_index_that_fails_is_an_error_and_no_empty_reading(server: ModelServer) -> None:
    embeddings = SwitchableEmbeddings()
    embeddings.fails = True
    with reading(server, embeddings=embeddings) as memory:
        memory.write(NAMESPACE, clips(4))
        assert "crate12" in memory.read(NAMESPACE, "crate12").text
        memory.write(NAMESPACE, clips(40))
        with pytest.raises(ReaderUnavailable, match="out of memory"):
            memory.read(NAMESPACE, "crate12")
        embeddings.fails = False
        assert "crate12" in memory.read(NAMESPACE, "crate12").text


def test_a_memory_is_primed_though_an_index_fails(server: ModelServer) -> None:
    embeddings = SwitchableEmbeddings()
    embeddings.fails = True
    with reading(server, embeddings=embeddings) as memory:
        memory.write(NAMESPACE, clips(40))
        with pytest.raises(ReaderUnavailable, match="out of memory"):
            memory.flush()
        assert server.asked("prime")


def test_what_an_index_cannot_forget_is_forgotten_everywhere_else(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> int:
        raise ReaderUnavailable("the disk is full")

    with reading(server, embeddings=SwitchableEmbeddings()) as memory:
        key, *_ = memory.write(NAMESPACE, clips(40))
        memory.flush()
        reader = memory.reader
        assert isinstance(reader, HybridReader)
        words, *_ = reader._indexes
        with monkeypatch.context() as broken:
            broken.setattr(words, "forget", fail)
            with pytest.raises(ReaderUnavailable, match="the disk is full"):
                memory.forget(NAMESPACE, key)
        assert not reader._counts.forget(NAMESPACE, [key])
        assert memory.forget(NAMESPACE, key).from_index == 1  # the words: the rest had forgotten


def test_an_index_of_other_embeddings_is_forgotten_from_as_well(server: ModelServer, tmp_path: Path) -> None:
    def opened(embeddings: LexicalEmbeddings) -> Memory:
        model = ChatVLLM(base_url=server.base_url)
        return Memory.open(tmp_path, "hybrid", model=model, embeddings=embeddings)

    with opened(SwitchableEmbeddings()) as memory:
        key, *_ = memory.write(NAMESPACE, clips(3))
        memory.flush()
    with opened(LexicalEmbeddings()) as memory:
        assert memory.forget(NAMESPACE, key).from_index == 2
        assert memory.forget(NAMESPACE).from_index == 4
    with opened(SwitchableEmbeddings()) as memory:
        assert isinstance(memory.reader, HybridReader)
        assert [index._source.client().count_collections() for index in memory.reader._indexes] == [0, 0]


def test_what_was_opened_is_closed_where_an_argument_is_wrong(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConfigError, match="embeddings is 42"):
        reading(server, embeddings=42)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "some"}, "mode is 'some': choose auto, whole, routed"),
        ({"segment_tokens": 0}, "segment_tokens is 0"),
        ({"budget_tokens": "many"}, "budget_tokens is 'many'"),
        ({"segment_tokens": 500, "budget_tokens": 400}, "budget_tokens is 400, less than one segment of 500"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HybridReader(ChatVLLM(base_url="http://127.0.0.1:9/v1"), **options)
