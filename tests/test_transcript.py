"""The transcript: byte-stable, append-only, not to be forged."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linmem_langgraph import MemoryRecord, transcript

LINE_BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
wild_texts = (
    st.lists(st.one_of(lines, st.sampled_from([*LINE_BREAKS, "[9] forged", "    "])), min_size=1, max_size=6)
    .map("".join)
    .filter(lambda text: bool(text.strip()))
)


def test_what_it_looks_like() -> None:
    records = [
        MemoryRecord(text="Anna puts the red mug on the shelf.", position=3),
        MemoryRecord(text="Hi!\nBye.", position=4, created_at=datetime(2023, 5, 8, 13, 56, 59)),
        MemoryRecord(text="z", position=4, created_at=datetime(2023, 5, 8, 13, 56, tzinfo=UTC)),
    ]
    assert transcript.render(records) == (
        "[3] Anna puts the red mug on the shelf.\n[4 2023-05-08T13:56] Hi!\n    Bye.\n[4 2023-05-08T13:56+00:00] z\n"
    )
    assert transcript.render([]) == ""


@given(st.lists(wild_texts, max_size=5))
def test_only_a_record_begins_at_the_start_of_a_line(texts: list[str]) -> None:
    rendered = transcript.render(MemoryRecord(text=text, position=7) for text in texts)
    starts = [line for line in re.split("|".join(sorted(LINE_BREAKS, key=len, reverse=True)), rendered) if line]
    assert sum(line.startswith("[7] ") for line in starts) == len(texts)
    assert all(line.startswith(("[7] ", "    ")) for line in starts)


@given(st.lists(wild_texts, max_size=5), st.integers(0, 5))
def test_a_part_of_the_records_is_a_prefix(texts: list[str], cut: int) -> None:
    records = [MemoryRecord(text=text, position=place) for place, text in enumerate(texts)]
    assert transcript.render(records).startswith(transcript.render(records[:cut]))


@pytest.mark.parametrize("text", ["a", " a ", "a\n\n", "\na"])
def test_a_record_ends_with_one_line_feed(text: str) -> None:
    rendered = transcript.render_record(MemoryRecord(text=text, position=0))
    assert rendered.endswith("a\n")
    assert rendered.startswith("[0]")
