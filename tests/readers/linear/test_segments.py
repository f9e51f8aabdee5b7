"""Memories larger than the context: what is read together, and how the findings become one."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, LinearReader, Memory, MemoryRecord, ReaderUnavailable, transcript
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.plan import filled
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import TEMPLATE, ModelServer, memory_of, said, tokens
from tests.readers.linear.conftest import Remember
from tests.readers.linear.hostile import hostile_texts
from tests.readers.linear.words import entries, findings, positions

CONTEXT, ANSWER = 2_400, 40
ROOM = 646
"""Tokens that are left for memory in such a context."""


@pytest.fixture(scope="module")
def cutting() -> Iterator[tuple[ModelServer, Memory]]:
    with ModelServer(positions, context=CONTEXT) as server:
        server.refuses_long_prompts = False
        reader = LinearReader(ChatVLLM(base_url=server.base_url), max_tokens=ANSWER, prime="off")
        with Memory(reader, store=InMemoryStore()) as memory:
            yield server, memory


def segments(server: ModelServer, whole: str) -> list[str]:
    """The parts in which the memory has been read, in its order."""
    return sorted(map(memory_of, server.asked("read")), key=whole.index)


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(9, 20))
def test_as_many_as_fit_then_the_next_as_many(sizes: list[int], capacity: int) -> None:
    runs = filled(sizes, capacity)
    assert [index for run in runs for index in run] == list(range(len(sizes)))
    assert all(sum(sizes[index] for index in run) <= capacity for run in runs)
    for run, after in pairwise(runs):
        assert sum(sizes[index] for index in run) + sizes[after[0]] > capacity
    for stop in range(len(sizes)):
        before = filled(sizes[:stop], capacity)
        assert before[:-1] == runs[: max(len(before) - 1, 0)]


def test_a_server_may_say_that_a_text_has_no_tokens() -> None:
    assert filled([0, 3], 9) == [[0, 1]]


words = st.text("ab\n\u5496", min_size=1, max_size=180).filter(lambda text: bool(text.strip()))


@settings(max_examples=30)
@given(chunks=st.lists(st.lists(words, min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_transcript_is_cut_between_records_and_full_segments_stay(
    cutting: tuple[ModelServer, Memory], chunks: list[list[str]]
) -> None:
    server, memory = cutting
    namespace, full = ("cut", uuid4().hex), list[str]()
    for chunk in chunks:
        memory.write(namespace, chunk)
        server.clear()
        reading = memory.read(namespace, "?")
        whole = transcript.render(memory.records(namespace))
        parts = segments(server, whole)
        assert "".join(parts) == whole
        assert all(tokens(part) <= ROOM for part in parts)
        assert all(part.startswith("[") for part in parts)
        assert parts[: len(full)] == full
        assert [hit.record for hit in reading.records] == memory.records(namespace)
        full = parts[:-1]
    last = memory.records(namespace)[-1].position or 0
    for until in range(last):
        server.clear()
        memory.read(namespace, "?", until=until)
        bounded = transcript.render(memory.records(namespace, until=until))
        parts = segments(server, bounded)
        assert "".join(parts) == bounded
        assert parts[:-1] == full[: len(parts) - 1]


@settings(max_examples=30)
@given(
    texts=st.lists(hostile_texts.map(lambda text: text[:100] or "x"), min_size=1, max_size=20).filter(
        lambda texts: all(text.strip() for text in texts)
    ),
    question=hostile_texts.map(lambda text: text[:60]).filter(lambda text: bool(text.strip())),
    limit=st.none() | st.integers(1, 1_000_000),
    exclude=st.frozensets(st.integers(0, 40)),
    answer=hostile_texts,
)
def test_no_prompt_is_longer_than_the_context(
    cutting: tuple[ModelServer, Memory],
    texts: list[str],
    question: str,
    limit: int | None,
    exclude: frozenset[int],
    answer: str,
) -> None:
    server, memory = cutting
    namespace = ("fits", uuid4().hex)
    memory.write(namespace, [MemoryRecord(text=text, position=2**53 - 99 + 2 * n) for n, text in enumerate(texts)])
    server.clear()
    server.says = answer.encode()[:ANSWER].decode(errors="ignore").strip() or "x"
    # An answer that is only a thought is none.
    with suppress(ReaderUnavailable):
        memory.read(namespace, question, limit=limit, exclude={2**53 - 99 + place for place in exclude})
    server.says = positions
    for body in server.bodies("read", "merge"):
        size = TEMPLATE + sum(tokens(message["content"]) for message in body["messages"])
        assert size + body["max_tokens"] <= CONTEXT


def fill(memory: Memory, namespace: Namespace, count: int) -> None:
    """So many segments, a record each, at positions that leave gaps."""
    memory.write(namespace, [MemoryRecord(text=f"{place:<300}|", position=7 * place) for place in range(2 * count)])
    memory.flush()


def test_a_finding_that_stands_alone_is_not_merged(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context, server.says = CONTEXT, lambda message: "Anna [7]" if "\n[7] " in message else NOTHING
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, 4)
    reading = memory.read(namespace, "?")
    assert len(server.asked("read")) == 4
    assert not server.asked("merge")
    assert (reading.text, [hit.record.position for hit in reading.records]) == ("Anna [7]", [7])


def test_a_part_is_told_what_is_known_of_it_and_no_more(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = CONTEXT
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, 3)
    memory.read(namespace, "?", exclude=[0, 28, 35])
    told = sorted(said(request).rpartition("Question: ?")[2].strip() for request in server.asked("read"))
    known = "Known already, so leave it out unless the answer needs it: "
    assert told == ["", f"{known}[0].", f"{known}[28, 35]."]


def test_parts_that_hold_nothing_are_not_merged(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context = CONTEXT
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, 3)
    assert memory.read(namespace, "?").text == NOTHING
    assert not server.asked("merge")


def test_only_what_was_found_is_merged_in_order_of_position(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    def say(message: str) -> str:
        if message.startswith("FINDINGS:\n"):
            return "Both [7] and\n[35]."
        first = entries(message)[0][0]
        return NOTHING if first == 14 else f"Seen at\n\n[{first + 7}] <|im_end|>, and [{first + 8}]."

    server.context, server.says = CONTEXT, say
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, 3)
    reading = memory.read(namespace, "Who?")
    (merge,) = server.asked("merge")
    assert said(merge) == (
        "FINDINGS:\nPositions 0 to 7: Seen at [7] < |im_end|>, and [8].\n"
        "Positions 28 to 35: Seen at [35] < |im_end|>, and [36].\n\nQuestion: Who?"
    )
    assert reading.text == "Both [7] and\n[35]."
    assert [hit.record.position for hit in reading.records] == [7, 35]
    assert reading.invented == 2


def test_what_was_invented_once_is_counted_once(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context, server.says = CONTEXT, "Seen at [0] and at [99999]."
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, 2)
    assert memory.read(namespace, "?").invented == 1


def test_a_merge_names_only_what_was_found(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    def say(message: str) -> str:
        return "[0] [7] [14]" if message.startswith("FINDINGS:\n") else f"[{entries(message)[0][0]}]"

    server.context, server.says = CONTEXT, say
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, 2)
    reading = memory.read(namespace, "?")
    assert ([hit.record.position for hit in reading.records], reading.invented) == ([0, 14], 1)


def test_a_merge_may_find_that_nothing_helps(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context = CONTEXT
    server.says = lambda message: NOTHING if message.startswith("FINDINGS:\n") else "Something [0] or [14]."
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, 2)
    reading = memory.read(namespace, "?")
    assert (reading.text, reading.records) == (NOTHING, ())


@pytest.mark.parametrize(("length", "at_once"), [(30, 11), (180, 3), (280, 2), (2_000, 2)])
def test_findings_are_merged_in_rounds_where_they_do_not_fit_one_call(
    server: ModelServer, remember: Remember, namespace: Namespace, length: int, at_once: int
) -> None:
    def say(message: str) -> str:
        first = re.search(r"\[\d+\]", message)
        return f"{first[0] if first else NOTHING}{'x' * length}"

    server.context, server.says, server.refuses_long_prompts = CONTEXT, say, length <= 280
    memory = remember(max_tokens=ANSWER, prime="off")
    fill(memory, namespace, 11)
    server.clear()
    reading = memory.read(namespace, "?")
    merged = [findings(said(merge)) for merge in server.asked("merge")]
    assert max(map(len, merged)) == at_once
    assert min(map(len, merged)) >= 2
    spans = {(first, last) for findings in merged for first, last, _ in findings}
    assert {(14 * part, 14 * part + 7) for part in range(11)} <= spans
    for findings_of_one in merged:
        assert [first for first, _, _ in findings_of_one] == sorted(first for first, _, _ in findings_of_one)
        assert all(last < first for (_, last, _), (first, _, _) in pairwise(findings_of_one))
    assert (merged[-1][0][0], merged[-1][-1][1]) == (0, 21 * 7)
    assert [hit.record.position for hit in reading.records] == [0]
    assert not any("|" in said(merge) for merge in server.asked("merge"))


def test_a_context_too_small_for_anything_is_refused_with_the_numbers(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = 1_600
    memory = remember()
    memory.write(namespace, "Anna sleeps")
    with pytest.raises(ConfigError, match=r"context of 1,600 tokens is too small: instructions take 1,390, a question"):
        memory.read(namespace, "?")


@pytest.mark.parametrize(("configured", "served", "used"), [(CONTEXT, 9_000, CONTEXT), (9_000, CONTEXT, CONTEXT)])
def test_the_smaller_context_counts(
    server: ModelServer,
    remember: Remember,
    namespace: Namespace,
    caplog: pytest.LogCaptureFixture,
    configured: int,
    served: int,
    used: int,
) -> None:
    server.context = served
    memory = remember(max_tokens=ANSWER, context_tokens=configured, prime="off")
    fill(memory, namespace, 3)
    memory.read(namespace, "?")
    assert len(server.asked("read")) == 3
    told = [record.getMessage() for record in caplog.records if "context_tokens" in record.getMessage()]
    assert len(told) == (served < configured)
    assert all("9000" in message and "2400" in message for message in told)


def test_a_server_that_tells_no_context_is_given_the_configured_one(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = None
    unbounded, bounded = remember(prime="off"), remember(max_tokens=ANSWER, context_tokens=CONTEXT, prime="off")
    for memory, parts in [(unbounded, 1), (bounded, 3)]:
        server.clear()
        fill(memory, namespace, 3)
        memory.read(namespace, "?")
        assert len(server.asked("read")) == parts
