"""What becomes of a query: the model's words, the records they rest on, and what they cost."""

import pytest

from linmem_langgraph import Memory, MemoryRecord, ReaderUnavailable, Reading
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.records import Usage
from tests.model_server import MODEL, TEMPLATE, ModelServer, kind, memory_of, said, tokens
from tests.readers.linear.conftest import Remember
from tests.readers.linear.words import positions

LONG = "Anna waters the plants in the kitchen. " * 40
CLIPS = ["Anna puts the red mug on the shelf", "Bert takes the red mug", "Carl hangs a coat", "Bert washes the red mug"]


@pytest.fixture
def clips(memory: Memory, namespace: Namespace) -> list[str]:
    """The keys of four remembered clips."""
    return memory.write(namespace, CLIPS)


def read_positions(reading: Reading) -> list[int]:
    return [hit.record.position or 0 for hit in reading.records]


def test_the_text_is_what_the_model_wrote(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    server.says = "  Bert washed it [3]; Anna had put it on the shelf [0].\n"
    reading = memory.read(namespace, "Where is the mug?")
    assert reading.text == "Bert washed it [3]; Anna had put it on the shelf [0]."
    assert [hit.record.key for hit in reading.records] == [clips[0], clips[3]]
    assert [hit.record.text for hit in reading.records] == [CLIPS[0], CLIPS[3]]
    assert [hit.score for hit in reading.records] == [None, None]
    assert (reading.reader, reading.model, reading.invented) == ("linear", MODEL, 0)
    assert reading.seconds > 0


def test_records_are_in_log_order_and_all_of_a_position_are_there(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    memory.write(namespace, [MemoryRecord(text=f"{place} {turn}", position=place) for place in (5, 2) for turn in "ab"])
    server.says = "[5] after [2]"
    assert [hit.record.text for hit in memory.read(namespace, "?").records] == ["2 a", "2 b", "5 a", "5 b"]


def test_words_without_positions_rest_on_no_record(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    server.says = "Bert washed it, I believe."
    reading = memory.read(namespace, "Where is the mug?")
    assert (reading.text, reading.records, reading.invented) == ("Bert washed it, I believe.", (), 0)


def test_invented_positions_are_dropped_and_counted(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    server.says = "Bert [3, 9] met Zoe [17], in May [2023-05-08], again [9]."
    reading = memory.read(namespace, "Who?")
    assert reading.text == server.says
    assert (read_positions(reading), reading.invented) == ([3], 2)


@pytest.mark.parametrize("words", [NOTHING, "nothing in memory matches", f'"{NOTHING}"\n'])
def test_finding_nothing_is_an_empty_reading(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str], words: str
) -> None:
    server.says = words
    reading = memory.read(namespace, "Where is Zoe?")
    assert (reading.text, reading.records, reading.model) == (NOTHING, (), MODEL)
    assert reading.usage.prompt_tokens > 0


def test_the_limit_counts_positions_in_the_order_they_are_named(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    memory.write(namespace, MemoryRecord(text="Bert dries the mug", position=3))
    server.says = "Bert washed it [3]. He had taken it [1] from the shelf [0]."
    texts = [hit.record.text for hit in memory.read(namespace, "?", limit=2).records]
    assert texts == [CLIPS[1], CLIPS[3], "Bert dries the mug"]
    assert read_positions(memory.read(namespace, "?", limit=1)) == [3, 3]
    # What was invented takes no place.
    server.says = "[77] [3] [1]"
    assert read_positions(memory.read(namespace, "?", limit=1)) == [3, 3]


def test_what_is_excluded_is_in_no_record_and_takes_no_place(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    server.says = "[3], [1], [0]"
    reading = memory.read(namespace, "?", exclude=[3, clips[1]])
    assert (read_positions(reading), reading.invented) == ([0], 0)
    assert read_positions(memory.read(namespace, "?", exclude=[3], limit=1)) == [1]
    # It is read all the same, since later records are to be understood.
    assert {memory_of(request) for request in server.asked("read")} == {
        "".join(f"[{place}] {text}\n" for place, text in enumerate(CLIPS))
    }


def test_nothing_is_asked_where_nothing_can_be_read(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    memory.flush()
    server.clear()
    readings = [
        memory.read((*namespace, "empty"), "?"),
        memory.read(namespace, "?", until=-1),
        memory.read(namespace, "?", exclude=[0, 1, 2, clips[3]]),
        memory.read(namespace, "?", filter={"kind": "semantic"}),
    ]
    for reading in readings:
        assert (reading.text, reading.records, reading.usage, reading.model) == (NOTHING, (), Usage(), None)
    assert server.requests == []


def test_until_reads_a_prefix(server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]) -> None:
    server.says = positions
    memory.write(namespace, MemoryRecord(text="Carl leaves", position=1))
    for until, shown in [(0, [0]), (1, [0, 1, 1]), (2, [0, 1, 1, 2]), (99, [0, 1, 1, 2, 3]), (None, [0, 1, 1, 2, 3])]:
        server.clear()
        assert read_positions(memory.read(namespace, "?", until=until)) == shown
        whole = "[0] {}\n[1] {}\n[1] Carl leaves\n[2] {}\n[3] {}\n".format(*CLIPS)
        assert memory_of(server.asked("read")[0]) == "".join(whole.splitlines(keepends=True)[: len(shown)])


def test_positions_beyond_until_are_invented(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    server.says = "[1] [2] [3]"
    reading = memory.read(namespace, "?", until=1)
    assert (read_positions(reading), reading.invented) == ([1], 2)


def test_a_filter_has_a_transcript_of_its_own_which_is_never_primed(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    server.says = positions
    kinds = ["episodic", "semantic"] * 3
    memory.write(namespace, [MemoryRecord(text=f"{place} {LONG}", kind=kind) for place, kind in enumerate(kinds)])
    memory.flush()
    server.clear()
    reading = memory.read(namespace, "?", filter={"kind": "semantic"}, until=4)
    assert read_positions(reading) == [1, 3]
    assert [kind(request) for request in server.requests] == ["read"]
    assert memory_of(server.requests[0]) == "".join(f"[{place}] {place} {LONG.strip()}\n" for place in (1, 3))


def test_usage_is_the_sum_of_all_that_was_asked(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.says, server.context = positions, 3_500
    memory = remember(max_tokens=100)
    memory.write(namespace, [f"Anna sees cat number {place}." * 8 for place in range(10)])
    memory.flush()
    for _ in range(2):
        server.clear()
        reading = memory.read(namespace, "Which cats?", until=8)
        asked = server.asked("prime", "read", "merge")
        assert len(server.asked("merge")) == 1
        sizes = [
            TEMPLATE + sum(tokens(message["content"]) for message in request.body["messages"]) for request in asked
        ]
        words = [1 if kind(request) == "prime" else tokens(positions(said(request))) for request in asked]
        assert reading.usage.prompt_tokens == sum(sizes)
        assert reading.usage.completion_tokens == sum(words)
        assert 0 < reading.usage.cached_tokens < sum(sizes)
    assert not server.asked("prime")


def test_an_answer_without_usage_costs_what_nobody_knows(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    server.tells_usage = False
    server.says = "[3]"
    reading = memory.read(namespace, "?")
    assert (read_positions(reading), reading.usage) == ([3], Usage())


def test_words_are_asked_for_where_there_are_none(
    server: ModelServer, memory: Memory, namespace: Namespace, clips: list[str]
) -> None:
    server.says = " \n"
    with pytest.raises(ReaderUnavailable, match=rf"{MODEL} at {server.base_url} wrote nothing within 512 tokens"):
        memory.read(namespace, "?")


def test_a_query_is_as_long_as_the_context_allows(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = 4_000
    memory = remember()
    memory.write(namespace, "Anna sleeps")
    memory.read(namespace, "?" * 500)
    with pytest.raises(ValueError, match=r"query '\?\?\?.*has 501 tokens; .*context of 4,000 500 are kept for it"):
        memory.read(namespace, "?" * 501)
    server.tokens = lambda text: len(text.split())
    memory = remember()
    memory.write(namespace, "Anna sleeps")
    memory.read(namespace, "is " * 500)
    with pytest.raises(ValueError, match=r"query 'is is is .*has 501 tokens"):
        memory.read(namespace, "is " * 501)
