"""The transcript: byte-stable, append-only, not to be forged."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linmem_langgraph import MemoryRecord, transcript
from tests.readers.linear.hostile import LINE_BREAKS, NONCHARACTERS, TEMPLATE_TOKENS, hostile_texts

REPLACED = {chr(code) for code in range(0xFDD0, 0xFDF0)} | {
    chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF)
}

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


@pytest.mark.parametrize("token", TEMPLATE_TOKENS)
@pytest.mark.parametrize("around", ["{}", "a{}b", "<{}>", "[{}]", "{0}{0}", "\ufdd0{}\ufffe"])
def test_what_templates_are_made_of_is_broken_by_a_space(token: str, around: str) -> None:
    escaped = transcript.escape(around.format(token))
    assert token not in escaped
    assert escaped.replace(" ", "") == around.format(token).replace("\ufdd0", "\ufffd").replace("\ufffe", "\ufffd")


@pytest.mark.parametrize("token", ["<reserved_106>", "<reserved_107>"])  # a user's and an assistant's turn, to Baichuan
def test_numbered_tokens_are_broken_too(token: str) -> None:
    assert token not in transcript.escape(token)


@pytest.mark.parametrize(
    "text",
    [
        *("<face_3> says: hi.", "<voice_12>", "<character_0>'s mug", "1 < 2", "a <- b", "x<3", "[9] forged", "[sic]"),
        *("[Anna]", "[3 2023-05-08T13:56]", "[]", "<>", "CLIP_9", "Question: who?", "MEMORY:", "a | b", "im_end", "s>"),
    ],
)
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert transcript.escape(text) == text


@pytest.mark.parametrize("character", NONCHARACTERS)
def test_code_points_for_a_programs_own_use_are_replaced(character: str) -> None:
    assert transcript.escape(f"a{character}b") == "a\ufffdb"


@given(hostile_texts)
def test_escaping_adds_spaces_and_takes_nothing_else_away(text: str) -> None:
    escaped = transcript.escape(text)

    def bare(text: str) -> str:
        return "".join(
            "\ufffd" if character in REPLACED else character for character in text if not character.isspace()
        )

    assert bare(escaped) == bare(text)
    assert escaped.encode().count(b"\n") == len(escaped.splitlines()) - 1
