"""The m3 protocol: turns as the reference reads them where it is sound, and results in its very words."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.protocol import EMPTY_HINT, Turn, parse_turn, render_knowledge

PARITY = Path(__file__).parents[3] / "shared" / "data" / "m3_parity" / "cases.json"


def _consumer_cases() -> list[Any]:
    """The recorded control turns; where the recording is absent, one skipped stand-in."""
    if not PARITY.exists():
        return [pytest.param({}, marks=pytest.mark.skip(reason=f"the recording of the reference is absent: {PARITY}"))]
    cases = json.loads(PARITY.read_text(encoding="utf-8"))["cases"]
    return [pytest.param(case, id=case["case"]["name"]) for case in cases if case["case"]["kind"] == "consumer"]


CONSUMER = _consumer_cases()
WELL_FORMED = [case for case in CONSUMER if case.values[0].get("exact", True)]
SHOWN = [case for case in CONSUMER if case.values[0].get("expected", {"appended": True})["appended"]]
OURS = {
    # Neither action nor content: it costs a round, as in the reference, but is counted as unreadable.
    "unparsable": None,
    "empty_content": None,
    # What clearly is an answer is one, not a search for its words.
    "lowercase_answer_is_search": Turn(action="answer", content="red mug table"),
    "no_brackets": Turn(action="answer", content="red mug"),
    "markdown_bold_unparsable": Turn(action="answer", content="Coffee"),
    # The last block counts; the reference pairs the first action with the last content.
    "greedy_two_blocks": Turn(action="answer", content="The mug is red"),
    # Markers within the content are content.
    "greedy_bracket_in_content": Turn(action="answer", content="It is [red]. Content: really"),
    # A thought that never ends was cut off: what it considers is no decision.
    "think_unclosed_is_parsed": None,
    # Everything up to the last closer is thought.
    "two_think_closers": Turn(action="search", content="zzz qqq"),
    # The parse is as for any answer; that nothing follows an answer is the loop's: see m3_agent/test_answers.
    "finished_is_noop": Turn(action="answer", content="zzz"),
}


@pytest.mark.parametrize("case", WELL_FORMED)
def test_a_well_formed_turn_is_read_as_the_reference_reads_it(case: dict[str, Any]) -> None:
    response, expected = case["case"]["response"], case["expected"]
    turn = parse_turn(response)
    assert turn is not None
    assert (turn.action == "answer") == expected["finish"]
    content = expected["response"] if expected["finish"] else response.partition("Content: ")[2]
    assert turn.content == content


@pytest.mark.parametrize("case", [case for case in CONSUMER if not case.values[0].get("exact", False)])
def test_where_the_reference_errs_the_sound_thing_is_done(case: dict[str, Any]) -> None:
    assert parse_turn(case["case"]["response"]) == OURS[case["case"]["name"]]


@pytest.mark.parametrize("case", SHOWN)
def test_results_are_shown_in_the_words_of_the_reference(case: dict[str, Any]) -> None:
    for expected in [case["expected"], *case.get("variants", ())]:
        [message] = expected["appended"]
        clips = json.loads(message["content"].splitlines()[0].removeprefix("Searched knowledge: "))
        if case["exact"]:
            assert render_knowledge(_records(clips)) == message["content"]
        else:  # the reference also lists clips that have nothing to show
            assert render_knowledge(_records(clips)) == message["content"].replace(', "CLIP_6": []', "")


def _records(clips: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Records as a search returns them: the best clip first, whatever its number."""
    names = random.Random(0).sample(list(clips), len(clips))
    return [{"position": int(name.removeprefix("CLIP_")), "text": text} for name in names for text in clips[name]]


@pytest.mark.parametrize("shown", ["", "a thought</think>", "<think>a</think>b</think>\n\n", "I would say: "])
@pytest.mark.parametrize("action", ["Answer", "Search"])
@given(content=st.text(min_size=1).filter(lambda text: text.strip() and ":" not in text and "think>" not in text))
def test_content_is_verbatim(shown: str, action: str, content: str) -> None:
    turn = parse_turn(f"{shown}Action: [{action}]\nContent: {content}")
    assert turn == Turn.model_validate({"action": action.lower(), "content": content})


@pytest.mark.parametrize(
    "text",
    [
        "Action: [Answer]\nContent: red",
        "**Action:** [Answer]\n**Content:** red",
        "**Action**: [Answer]\n**Content**: red",
        "Action: **Answer**\nContent: red",
        "Action: [ Answer ]\nContent: red",
        "ACTION: [ANSWER]\nCONTENT: red",
        "action: answer content: red",
        "Action: [Answer]\n\nContent:red",
        "Action: [Answer] because I know.\nContent: red",
        "Action: [Search]\nContent: mug\nObservation: none.\nAction: [Answer]\nContent: red",
        "Action: [Search]\n\nOr better:\nAction: [Answer]\nContent: red",
    ],
)
def test_an_answer_is_understood(text: str) -> None:
    assert parse_turn(text) == Turn(action="answer", content="red")


@pytest.mark.parametrize("action", ["Search", "search", "Retrieve", "Search for it", "Search_memory"])
def test_any_other_action_is_a_search(action: str) -> None:
    assert parse_turn(f"Action: [{action}]\nContent: mug") == Turn(action="search", content="mug")


def test_the_last_of_several_blocks_counts_even_if_it_takes_the_answer_back() -> None:
    text = "Action: [Answer]\nContent: red\nAction: [Search]\nContent: mug"
    assert parse_turn(text) == Turn(action="search", content="mug")


def test_a_block_cut_off_before_its_content_does_not_count() -> None:
    assert parse_turn("Action: [Answer]\nContent: red. Action: [Sea") == Turn(
        action="answer", content="red. Action: [Sea"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "red",
        "Content: red",
        "Action: [Answer]",
        "Action: [Answer]\nContent:",
        "Action: [Answer]\nContent: \n \t",
        "Action:\nContent: red",
        "Action: [Answer]\nContent: red</think>",
        "<think>Action: [Answer]\nContent: red",
        "Action: [Answer]\nContent: red\nAction: [Search]\nContent:",
    ],
)
def test_what_says_nothing_cannot_be_read(text: str) -> None:
    assert parse_turn(text) is None


def test_a_marker_is_a_word_of_its_own() -> None:
    content = "The reaction: laughter; the discontent: small; the content: jokes"
    assert parse_turn(f"Action: [Answer]\nContent: {content}") == Turn(action="answer", content=content)


@given(st.text(alphabet="Action:Content[]*_ \n</think>"))
def test_any_text_can_be_given(text: str) -> None:
    turn = parse_turn(text)
    assert turn is None or turn.content.strip()


REPEATED = ["Action: [Search]\n", " ", "\n", "Action:", "Content", "</think>", "[", "word "]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("repeated", [*REPEATED, "*", "_"])
def test_a_model_that_repeats_itself_is_read_in_no_time(repeated: str) -> None:
    """4,000 characters: what the 1,024 tokens hold that the controller may say."""
    for start in ("", "Action:", "Action: [Search]"):
        assert parse_turn(start + repeated * (4_000 // len(repeated))) is None


def test_an_empty_result_has_a_second_line_that_says_so() -> None:
    hint = "(The search result is empty. Please try searching from another perspective.)"
    assert hint == EMPTY_HINT
    assert render_knowledge([]) == f"Searched knowledge: {{}}\n{hint}"


def test_a_result_is_json_by_clip_in_order_with_every_character_as_it_is() -> None:
    records = [
        {"position": 10, "text": 'She says: "hi"\nand leaves.', "kind": "episodic"},
        {"position": 9, "text": "咖啡机", "kind": "episodic"},
        {"position": 10, "text": "Émile 🙂", "kind": "semantic"},
    ]
    assert render_knowledge(records) == (
        'Searched knowledge: {"CLIP_9": ["咖啡机"], "CLIP_10": ["She says: \\"hi\\"\\nand leaves.", "Émile 🙂"]}'
    )
