"""What linmem-tiny can read and say."""

from itertools import product

import pytest

from evals.benchmarks import household
from evals.sample.generate import generate
from evals.sample.world import PEOPLE
from evals.tiny.language import POSITIONS, SPECIAL, TAUGHT_PEOPLE, UNKNOWN, tokenizer
from linmem_langgraph.readers._linear.prompt import memory_message, question_lines
from linmem_langgraph.readers.base import NOTHING, Query


def test_it_knows_every_word_of_the_benchmark_and_of_other_households() -> None:
    words = tokenizer()
    bundled = household.load(None)
    others, samples = generate(worlds=20, clips=60, questions=30, seed=11)
    texts = [record.text for memory in (*bundled.memories.values(), *others.values()) for record in memory]
    texts += [text for sample in (*bundled.samples, *samples) for text in (sample.question, sample.answer or "")]
    texts += [NOTHING, memory_message(""), question_lines(Query(text="Where is Anna?", limit=10))]
    assert [text for text in dict.fromkeys(texts) if UNKNOWN in words.encode(text).tokens] == []
    assert [
        text for text in dict.fromkeys(texts) if words.decode(words.encode(text).ids) != " ".join(text.split())
    ] == []


@pytest.mark.parametrize("people", [PEOPLE, TAUGHT_PEOPLE])
def test_a_name_is_two_tokens_that_make_no_other_name(people: tuple[str, ...]) -> None:
    words = tokenizer()
    tokens = [tuple(words.encode(name).ids) for name in people]
    assert {len(each) for each in tokens} == {2}
    assert len(set(tokens)) == len(people)


def test_the_people_of_the_lessons_are_others_with_the_same_beginnings_and_ends() -> None:
    words = tokenizer()
    assert not {*PEOPLE} & {*TAUGHT_PEOPLE}
    assert len(TAUGHT_PEOPLE) > 500
    for half in (0, 1):
        taught = {words.encode(name).ids[half] for name in TAUGHT_PEOPLE}
        assert taught == {words.encode(name).ids[half] for name in PEOPLE}


def test_a_position_and_a_mark_of_the_dialogue_are_one_token_each() -> None:
    words = tokenizer()
    assert [len(words.encode(f"[{position}]").ids) for position in range(POSITIONS)] == [1] * POSITIONS
    assert words.encode("".join(SPECIAL)).tokens == [*SPECIAL]
    assert words.encode(f"[{POSITIONS}]").tokens != [f"[{POSITIONS}]"]


def test_what_goes_on_from_a_text_does_not_change_its_tokens() -> None:
    """The prompt of a read begins with the tokens of its prime."""
    words = tokenizer()
    lines = [f"[{place}] {name} enters the kitchen.\n" for place, name in enumerate(PEOPLE)]
    for before, after in product(range(0, len(lines), 5), repeat=2):
        first, second = "".join(lines[:before]), "".join(lines[:after]) + "\nQuestion: Where is Anna?"
        assert words.encode(first + second).ids == words.encode(first).ids + words.encode(second).ids
