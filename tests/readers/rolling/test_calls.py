"""How often the model is called: once a segment."""

from collections.abc import Sequence
from typing import Any

import pytest

from linmem_langgraph import LinearReader, Memory, MemoryRecord
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer, said
from tests.readers.rolling.conftest import SEGMENT, Remember, clip, clips
from tests.readers.rolling.words import asks_for_a_note, calls, note, notes, question_of, shown, span

SIZES = [1, 2, 5, 50]


def triples(count: int, start: int = 0) -> list[list[int]]:
    return [[*range(3 * place, 3 * place + 3)] for place in range(start, count)]


def read_positions(memory: Memory, namespace: Namespace, **options: Any) -> list[int | None]:
    return [hit.record.position for hit in memory.read(namespace, "Where?", **options).records]


@pytest.mark.parametrize("segments", SIZES)
def test_a_read_is_one_call_a_segment(server: ModelServer, memory: Memory, namespace: Namespace, segments: int) -> None:
    memory.write(namespace, clips(3 * segments))
    memory.flush()
    assert calls(server) == []
    reading = memory.read(namespace, "Where is the mug?")
    assert [shown(message) for message in calls(server)] == triples(segments)
    assert [asks_for_a_note(message) for message in calls(server)] == [True] * (segments - 1) + [False]
    assert {question_of(message) for message in calls(server)} == {"Where is the mug?"}
    assert [span(message) for message in calls(server)] == [None, *((0, 3 * n - 1) for n in range(1, segments))]
    assert [hit.record.position for hit in reading.records] == [*range(3 * segments)]
    # Another question has another note.
    memory.read(namespace, "Who is there?")
    assert len(calls(server)) == 2 * segments


@pytest.mark.parametrize("segments", SIZES)
def test_with_a_standing_note_a_read_is_one_call(
    server: ModelServer, standing: Memory, namespace: Namespace, segments: int
) -> None:
    standing.write(namespace, clips(3 * segments))
    standing.flush()
    assert [shown(message) for message in calls(server)] == triples(segments - 1)
    assert all(asks_for_a_note(message) and question_of(message) is None for message in calls(server))
    server.clear()
    for question in ("Where is the mug?", "Who is there?"):
        reading = standing.read(namespace, question)
        assert [hit.record.position for hit in reading.records] == [*range(3 * segments)]
    assert [shown(message) for message in calls(server)] == triples(segments, segments - 1) * 2
    assert [question_of(message) for message in calls(server)] == ["Where is the mug?", "Who is there?"]


def test_a_standing_note_reads_each_segment_once_however_it_is_written(
    server: ModelServer, standing: Memory, namespace: Namespace
) -> None:
    for position in range(20):
        standing.write(namespace, clip(position))
        if position % 4 == 0:
            standing.read(namespace, "?")
    standing.flush()
    assert [shown(message) for message in notes(server)] == triples(6)
    # The last write filled no segment.
    standing.write(namespace, clip(20))
    standing.flush()
    assert len(notes(server)) == 6
    standing.write(namespace, clip(21))
    standing.flush()
    assert [shown(message) for message in notes(server)] == triples(7)


def test_a_memory_of_one_segment_is_read_as_the_linear_reader_reads_it(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    memory.write(namespace, clips(3))
    memory.read(namespace, "Where?", limit=2, exclude=[1])
    with Memory(LinearReader(ChatVLLM(base_url=server.base_url), prime="off"), store=memory.store) as linear:
        linear.read(namespace, "Where?", limit=2, exclude=[1])
    rolling, other = (request.body["messages"] for request in server.asked("read"))
    assert rolling == other


@pytest.mark.parametrize("until", [-1, 0, 2, 3, 7, 8, 99])
def test_until_reads_the_segments_of_a_prefix(
    server: ModelServer, memory: Memory, namespace: Namespace, until: int
) -> None:
    memory.write(namespace, clips(10))
    assert read_positions(memory, namespace, until=until) == [*range(min(until + 1, 10))]
    seen = [position for message in calls(server) for position in shown(message)]
    assert seen == [*range(min(until + 1, 10))]
    assert len(calls(server)) == -(-len(seen) // 3)


@pytest.mark.parametrize("variant", [False, True])
def test_a_filter_reads_a_transcript_of_its_own_with_the_question_in_view(
    server: ModelServer, remember: Remember, namespace: Namespace, variant: bool
) -> None:
    memory = remember(standing=variant)
    memory.write(
        namespace,
        [clip(p).model_copy(update={"kind": "semantic" if p % 2 else "episodic"}) for p in range(14)],
    )
    memory.flush()
    server.clear()
    assert read_positions(memory, namespace, filter={"kind": "semantic"}) == [1, 3, 5, 7, 9, 11, 13]
    assert [shown(message) for message in calls(server)] == [[1, 3, 5], [7, 9, 11], [13]]
    assert {question_of(message) for message in calls(server)} == {"Where?"}


def test_nothing_is_asked_where_nothing_can_be_read(
    server: ModelServer, standing: Memory, namespace: Namespace
) -> None:
    standing.write(namespace, clips(7))
    standing.flush()
    server.clear()
    for options in ({"until": -1}, {"exclude": [*range(7)]}, {"filter": {"kind": "none"}}):
        assert read_positions(standing, namespace, **options) == []
    assert read_positions(standing, (*namespace, "empty")) == []
    assert server.requests == []


def sized(sizes: Sequence[int]) -> list[MemoryRecord]:
    return [MemoryRecord(text="x" * (size - 5), position=place) for place, size in enumerate(sizes)]


def test_a_record_larger_than_a_segment_is_read_alone(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    memory.write(namespace, sized([100, 100, SEGMENT + 500, 100, 150, 100]))
    assert read_positions(memory, namespace) == [*range(6)]
    assert [shown(message) for message in calls(server)] == [[0, 1], [2], [3, 4], [5]]


@pytest.mark.parametrize(("max_tokens", "answer"), [(10, 10), (5_000, 1_000)])
def test_the_context_leaves_room_for_note_question_and_answer(
    server: ModelServer, remember: Remember, namespace: Namespace, max_tokens: int, answer: int
) -> None:
    server.context = 8_000  # the server refuses what is longer, with what may be written
    server.says = lambda message: ("x" * 40 + " [0]\n") * 100
    memory = remember(note_tokens=5_000, segment_tokens=50_000, max_tokens=max_tokens)
    memory.write(namespace, [clip(position) for position in range(100)])
    memory.read(namespace, "?" * 1_000, limit=1_000_000, exclude=[*range(0, 100, 2)])
    bodies = server.bodies("read")
    assert len(bodies) > 2
    assert [body["max_tokens"] for body in bodies] == [1_000] * (len(bodies) - 1) + [answer]
    sizes = [sum(len(each["content"]) for each in body["messages"]) + body["max_tokens"] for body in bodies]
    assert 7_000 < max(sizes) <= 8_000
    written = ["\n".join(note(said(request))) for request in server.asked("read")[1:]]
    assert all(800 < len(text) <= 1_000 for text in written)


def test_questions_share_the_beginning_of_each_call(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    memory.write(namespace, clips(9))
    for question in ("Where?", "Who?"):
        memory.read(namespace, question)
    one, other = calls(server)[:3], calls(server)[3:]
    for first, second in zip(one, other, strict=True):
        memory_part = first.partition("\n\n")[0]
        assert len(memory_part) > SEGMENT
        assert second.startswith(memory_part)
