"""What a model is sent, as text: no record and no question can be anything but a record and a question."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

from linmem_langgraph import MemoryRecord, transcript
from linmem_langgraph.readers._linear.prompt import (
    INSTRUCTIONS,
    MERGE_INSTRUCTIONS,
    Found,
    finding,
    found_nothing,
    longest_frame,
    memory_message,
    merge_messages,
    prime_messages,
    read_messages,
)
from linmem_langgraph.readers.base import NOTHING, Query
from tests.readers.linear.hostile import LINE_BREAKS, TEMPLATE_TOKENS, hostile_texts

BREAKS = re.compile("|".join(sorted(LINE_BREAKS, key=len, reverse=True)))
POSITION = re.compile(r"\[(\d+)(?: \d{4}-\d\d-\d\dT\d\d:\d\d(?:[+-][\d:]+)?)?\] ")

records = st.lists(
    st.builds(
        MemoryRecord,
        text=hostile_texts,
        position=st.integers(0, 10**6),
        created_at=st.none() | st.datetimes(timezones=st.none() | st.timezones()),
    ),
    max_size=6,
)
queries = st.builds(Query, text=hostile_texts, limit=st.none() | st.integers(1, 9))
reported = st.frozensets(st.integers(0, 60), max_size=40)


def user(messages: Sequence[BaseMessage]) -> str:
    system, last = messages
    assert (system.type, last.type) == ("system", "human")
    assert system.text in (INSTRUCTIONS, MERGE_INSTRUCTIONS)
    return str(last.content)


@given(records, queries, reported)
def test_only_a_record_begins_with_a_bracket(
    records: list[MemoryRecord], query: Query, reported: frozenset[int]
) -> None:
    message = user(read_messages(transcript.render(records), query, reported))
    heading, *lines = BREAKS.split(message)
    assert heading == "MEMORY:"
    blank = lines.index("")
    memory, question = lines[:blank], lines[blank + 1 :]
    positions = [int(found[1]) for line in memory if (found := POSITION.match(line))]
    assert positions == [record.position for record in records]
    assert all(line.startswith("    ") for line in memory if not POSITION.match(line))
    assert sum(line.startswith("[") for line in lines) == len(records)
    # After the question come our own lines alone, and nothing else begins as they do.
    assert question[0].startswith("Question: ")
    ours = [line for line in question[1:] if not line.startswith("    ")]
    assert len(ours) == (query.limit is not None) + bool(reported)
    assert all(line.startswith(("Name ", "Known already")) for line in ours)


@given(records, queries)
def test_no_token_of_a_chat_template_is_sent(records: list[MemoryRecord], query: Query) -> None:
    found = Found(0, 9, " ".join(record.text for record in records), [])
    for messages in (read_messages(transcript.render(records), query), merge_messages([found], query)):
        message = user(messages)
        assert not [token for token in TEMPLATE_TOKENS if token in message]
        assert not re.search(r"<\|[^ |>]+\|>|\[/?INST\]|</?s>", message)


@given(records, records, queries, reported)
def test_a_prime_begins_every_later_read(
    before: list[MemoryRecord], after: list[MemoryRecord], query: Query, reported: frozenset[int]
) -> None:
    primed = prime_messages(transcript.render(before))
    for later in (before, [*before, *after]):
        read = read_messages(transcript.render(later), query, reported)
        assert primed[0] == read[0]
        assert user(read).startswith(user(primed))
    assert user(primed) == memory_message(transcript.render(before))


@given(st.lists(hostile_texts, min_size=1, max_size=5), queries)
def test_a_finding_is_one_line_of_a_merge(texts: list[str], query: Query) -> None:
    found = [Found(10 * place, 10 * place + 9, text, []) for place, text in enumerate(texts)]
    message = user(merge_messages(found, query))
    heading, *lines = BREAKS.split(message)
    assert heading == "FINDINGS:"
    for place, line in enumerate(lines[: len(texts)]):
        assert line.startswith(f"Positions {10 * place} to {10 * place + 9}: ")
        assert f"{line}\n" == finding(found[place])
    assert lines[len(texts)] == ""
    assert lines[len(texts) + 1].startswith("Question: ")


@given(queries, reported)
def test_no_frame_is_longer_than_the_longest(query: Query, reported: frozenset[int]) -> None:
    everything_else = [*read_messages("", query, reported), *merge_messages([], query)]
    question = transcript.escape(query.text)
    sizes = [len(message.text) for message in everything_else]
    assert max(sizes[0] + sizes[1], sizes[2] + sizes[3]) <= len(longest_frame()) + len(question)


def test_what_was_reported_is_named_in_ranges_and_the_latest_of_many() -> None:
    def told(positions: Sequence[int]) -> str:
        return user(read_messages("", Query(text="q"), positions)).splitlines()[-1]

    assert told([8, 3, 7, 9]) == "Known already, so leave it out unless the answer needs it: [3, 7-9]."
    assert told([]) == "Question: q"
    many = told(range(0, 100, 2))
    assert re.findall(r"\d+", many) == [str(position) for position in range(60, 100, 2)]


@pytest.mark.parametrize(
    "text", [NOTHING, "nothing in memory matches", f' "{NOTHING}"\n', "**Nothing in memory matches.**", f"`{NOTHING}`"]
)
def test_finding_nothing_may_be_said_with_marks_around_it(text: str) -> None:
    assert found_nothing(text)


@pytest.mark.parametrize(
    "text", ["", "Nothing.", f"{NOTHING} [3]", f"{NOTHING} But Anna lives in Oslo [3].", "Anna said: nothing matches."]
)
def test_words_beside_it_are_a_finding(text: str) -> None:
    assert not found_nothing(text)
