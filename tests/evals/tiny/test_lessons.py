"""What linmem-tiny is taught, and that none of it is in the benchmark."""

import re
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.benchmarks import household as bundled
from evals.sample.generate import Draft
from evals.sample.questions import SUMMARIES, Question
from evals.sample.questions import UNKNOWN as NOT_IN_MEMORY
from evals.sample.world import PEOPLE, Event
from evals.tiny.language import ASSISTANT, END, POSITIONS, USER, tokenizer
from evals.tiny.language import UNKNOWN as UNKNOWN_WORD
from evals.tiny.lessons import Lesson, answer, by_subject, choose, household, lesson
from linmem_langgraph.readers.base import NOTHING

WORDS = tokenizer()


def text(made: Lesson) -> str:
    return WORDS.decode(made.tokens, skip_special_tokens=False)


def turns(made: Lesson) -> tuple[list[str], list[tuple[str, str]]]:
    """The memory's lines, and the questions with their answers."""
    memory, *asked = re.split(r"Question:", text(made).removeprefix(f"{USER} MEMORY:"))
    lines = re.split(r"(?=\[\d+\])", memory.strip())
    pairs = [each.removesuffix(END).split(ASSISTANT) for each in (part.strip() for part in asked)]
    return [line.strip() for line in lines if line.strip()], [(q.strip(), a.strip()) for q, a in pairs]


@given(st.integers(0, 10**6), st.sampled_from([4, 9, 40]))
@settings(max_examples=25, deadline=None)
def test_an_answer_tells_records_of_the_memory_with_their_positions(seed: int, clips: int) -> None:
    lines, asked = turns(lesson(Random(seed), WORDS, clips=clips, questions=12))
    assert asked
    for _, said in asked:
        *evidence, last = re.split(r"(?<=\.) ", said)
        assert all(
            f"{match[2]} {match[1]}." in lines for told in evidence if (match := re.match(r"(.*) (\[\d+\])\.", told))
        )
        assert all(re.search(r"\[\d+\]\.$", told) for told in evidence)
        assert said == NOTHING or "[" not in last


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_only_answers_are_learnt_with_their_end(seed: int) -> None:
    made = lesson(Random(seed), WORDS, clips=8, questions=6)
    assert len(made.tokens) == len(made.answers)
    told = WORDS.decode(
        [token for token, said in zip(made.tokens, made.answers, strict=True) if said], skip_special_tokens=False
    )
    assert [each.strip() for each in told.split(END)[:-1]] == [said for _, said in turns(made)[1]]
    assert UNKNOWN_WORD not in text(made)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_each_token_of_the_memory_has_the_clip_of_its_line(seed: int) -> None:
    made = lesson(Random(seed), WORDS, clips=12, questions=6)
    pairs = groupby(zip(made.clips, made.tokens, strict=True), itemgetter(0))
    spans = [(clip, [token for _, token in each]) for clip, each in pairs]
    (first, begin), *clips, (last, _) = spans
    assert (first, last, WORDS.decode(begin, skip_special_tokens=False)) == (-1, -1, f"{USER} MEMORY:")
    lines = [f"[{clip}] {line}" for clip, tokens in clips for line in WORDS.decode(tokens).split(f"[{clip}] ")[1:]]
    assert [line.strip() for line in lines] == turns(made)[0]


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_memory_and_questions_are_all_there_is(seed: int) -> None:
    made = lesson(Random(seed), WORDS, clips=8, questions=6)
    memory, *asked = made.lengths
    ends = [memory, *accumulate(asked, initial=memory)][1:]
    assert ends[-1] == len(made.tokens)
    for begin, end in pairwise(ends):
        text = WORDS.decode(made.tokens[begin:end], skip_special_tokens=False)
        assert (text.startswith("Question:"), text.endswith(END), text.count(ASSISTANT)) == (True, True, 1)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_by_subject_all_is_told_in_order_of_time_and_nothing_else(seed: int) -> None:
    events, _ = household(Random(seed), 12, PEOPLE)
    sorted_ = by_subject(events)
    assert set(sorted_) == set(events)
    for subject in {event.thing or event.person for event in events}:
        about = [
            event for event in events if subject in (event.thing, event.person) or event[1::3] == ("gives", subject)
        ]
        start = sorted_.index(about[0])
        assert any(sorted_[at : at + len(about)] == about for at in range(start, len(sorted_)))


@given(st.integers(0, 10**6), st.sampled_from([6, 20]))
@settings(max_examples=25, deadline=None)
def test_a_summary_lists_what_its_evidence_tells_the_last_first(seed: int, clips: int) -> None:
    _, drafts = household(Random(seed), clips, PEOPLE, writers=SUMMARIES)
    assert drafts or clips < 20
    for asked in drafts:
        events = asked.question.evidence
        assert 2 <= len(events) <= 6
        assert list(events) == sorted(events)
        told = [event.thing if asked.form in ("all_taken", "all_put") else event.target for event in events]
        assert asked.question.answer == ", ".join(dict.fromkeys(told[::-1]))


def test_the_same_seed_gives_the_same_lesson() -> None:
    one, same, other = (lesson(Random(seed), WORDS, clips=8, questions=6) for seed in (1, 1, 2))
    assert one == same != other


def test_nothing_that_is_said_of_a_person_is_in_the_benchmark() -> None:
    benchmark = bundled.load(None)
    there = {record.text for memory in benchmark.memories.values() for record in memory}
    there |= {sample.question for sample in benchmark.samples}
    personal = {each for each in there if any(re.search(rf"\b{name}\b", each) for name in PEOPLE)}
    assert len(personal) > 0.7 * len(there)
    taught = " ".join(text(lesson(Random(seed), WORDS, clips=64, questions=24)) for seed in range(40))
    assert [name for name in PEOPLE if re.search(rf"\b{name}\b", taught)] == []
    assert [each for each in personal if each in taught] == []


def test_positions_from_the_first_to_the_last_are_taught() -> None:
    found = {
        position
        for seed in range(400)
        for position in map(int, re.findall(r"\[(\d+)\]", text(lesson(Random(seed), WORDS, clips=4, questions=1))))
    }
    assert min(found) == 0
    assert POSITIONS - 4 <= max(found) < POSITIONS
    assert len(found) > 0.8 * POSITIONS


def drafts(seed: int) -> list[Draft]:
    return household(Random(seed), 40, PEOPLE)[1]


def test_every_kind_is_asked_as_often_as_another_and_no_question_twice() -> None:
    chosen = [asked for seed in range(60) for asked in choose(Random(seed), drafts(seed), 16)]
    counts = {kind: sum(asked.kind == kind for asked in chosen) for kind in {asked.kind for asked in chosen}}
    assert len(counts) == 8
    assert min(counts.values()) > 0.6 * max(counts.values())
    said = [asked.question.answer for asked in chosen if asked.kind == "yes_no"]
    assert 0.3 < said.count("yes") / len(said) < 0.7
    for seed in range(10):
        everything = drafts(seed)
        assert sorted(choose(Random(seed), everything, 10**6)) == sorted(everything)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("often_did", "Anna drinks tea [3]. Anna drinks tea [1]. two."),
        ("all_done", "Anna drinks tea [3]. Anna drinks tea [1]. two."),
        ("hop_given", "Anna drinks tea [1]. Anna drinks tea [3]. two."),
    ],
)
def test_evidence_is_told_in_the_order_in_which_it_is_found(form: str, said: str) -> None:
    events = tuple(Event(clip, "does", "Anna", "", "drink tea") for clip in (1, 3))
    assert answer(Draft("kind", form, 3, Question("?", "two", events))) == said
    assert answer(Draft("kind", form, 3, Question("?", NOT_IN_MEMORY))) == NOTHING
