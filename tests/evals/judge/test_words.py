"""Judging by words: what counts as the gold answer, and as saying that memory does not tell."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from evals.benchmarks import load_benchmark
from evals.benchmarks.m3_bench import read_annotations
from evals.judge import MAX_ANSWER, lexically_correct, token_f1, words
from evals.samples import Sample
from tests.evals.support import shared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The red MUG, on a shelf!", ["red", "mug", "on", "shelf"]),
        ("Anna's well-known friend", ["anna's", "well", "known", "friend"]),
        ("snake_case 7th", ["snake", "case", "7th"]),
        ("Straße É", ["strasse", "é"]),
        ("咖啡机 在窗边。", ["咖啡机", "在窗边"]),
        ("  ... - ", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("on the shelf", "It is on the shelf."),
        ("on the shelf", "ON SHELF"),
        ("The red mug.", "Anna took a red mug, then left"),
        ("Anna", "anna"),
        ("7 May 2023", "It was on 7 May, 2023."),
        ("3", "It happened 3 times."),
        ("3", "3"),
        ("Yes", "Yes, she did."),
        ("yes.", "YES"),
        ("No", "No."),
        ("Yes, twice", "I think yes, twice."),
    ],
)
def test_what_contains_the_gold_answer_is_correct(gold: str, answer: str) -> None:
    assert lexically_correct(gold, answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("art", "at the party"),
        ("art", "artist"),
        ("on the shelf", "on the table, not the shelf"),
        ("red mug", "mug red"),
        ("red mug", "red big mug"),
        ("3", "13"),
        ("3", "30"),
        ("10", "1 0"),
        ("Yes", "No, yes would be wrong"),
        ("No", "Yes, no doubt"),
        ("Yes", "yesterday"),
        ("No", "nobody"),
        ("No", "Not in memory."),
        ("Anna", ""),
        ("Anna", " . "),
        ("on the shelf", "Not in memory."),
    ],
)
def test_what_does_not_contain_it_is_not(gold: str, answer: str) -> None:
    assert not lexically_correct(gold, answer)


@pytest.mark.parametrize("answer", ["No information in memory.", "No record of it.", "No mention of cheese."])
def test_to_abstain_is_not_to_say_no(answer: str) -> None:
    assert not lexically_correct("No", answer)


@pytest.mark.parametrize("answer", ["No, she does not know him.", "No, Bob did not say so."])
def test_to_say_no_is_not_to_abstain(answer: str) -> None:
    assert lexically_correct("No", answer)


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("3", "3.5", False),
        ("1,000", "1000", True),
        ("don't know", "don\u2019t know", True),
        ("café", "cafe\u0301", True),
        ("A", "A", True),
    ],
)
def test_one_thing_written_in_two_ways(gold: str, answer: str, expected: bool) -> None:
    assert lexically_correct(gold, answer) is expected


@pytest.mark.parametrize(
    "answer",
    [
        "Not in memory.",
        "not in the memory",
        "I don't know.",
        "I don\u2019t know who it was",
        "Memory does not tell.",
        "It is not mentioned.",
        "There is no record of that.",
        "Unknown",
        "It cannot be determined.",
        "I cannot tell.",
    ],
)
def test_where_memory_does_not_tell_the_answer_must_say_so(answer: str) -> None:
    assert lexically_correct("not in memory", answer, answerable=False)


@pytest.mark.parametrize("answer", ["", "Anna", "In the kitchen.", "He knows.", "memory", "no", "not Anna"])
def test_an_answer_is_no_abstention(answer: str) -> None:
    assert not lexically_correct("not in memory", answer, answerable=False)


@pytest.mark.parametrize(
    "answer",
    ["I can't tell.", "It isn't mentioned.", "It could not be determined.", "There is not enough information."],
)
def test_ordinary_abstentions_are_known(answer: str) -> None:
    assert lexically_correct("not in memory", answer, answerable=False)


def test_an_answer_that_recites_memory_gains_nothing() -> None:
    recited = "Bob opens the door. " * 60

    assert len(recited) > MAX_ANSWER
    assert lexically_correct("on the shelf", f"It is on the shelf. {recited}")
    assert not lexically_correct("on the shelf", f"{recited} It is on the shelf.")


def test_reciting_memory_is_no_abstention() -> None:
    assert not lexically_correct("not in memory", "Bob opens the door. " * 60 + "I do not know.", answerable=False)


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("the red mug", "red mug", 1.0),
        ("red mug", "a blue mug", 1 / 2),  # one word in common, of two and of two
        ("red mug", "mug", 2 / 3),  # precision 1, recall 1/2
        ("mug", "the red mug on it", 2 / 5),  # precision 1/4, recall 1
        ("mug mug", "mug", 2 / 3),  # words count as often as they stand there
        ("mug", "shelf", 0.0),
        ("mug", "", 0.0),
        ("", "mug", 0.0),
        ("", "", 0.0),
    ],
)
def test_token_f1_by_hand(gold: str, answer: str, expected: float) -> None:
    assert token_f1(gold, answer) == pytest.approx(expected)


def samples_of(name: str) -> Sequence[Sample]:
    if name == "household":
        return load_benchmark("household").samples
    if name == "locomo":
        return load_benchmark("locomo", shared("locomo", "locomo4.json")).samples
    return read_annotations(shared("m3bench", f"{name}.json"), Counter())


@pytest.mark.parametrize("name", ["household", "locomo", "robot", "web"])
def test_gold_against_itself_passes_and_shuffled_mostly_fails(name: str) -> None:
    asked = [(sample, sample.answer) for sample in samples_of(name) if sample.answer is not None]
    shuffled = random.Random(0).sample(asked, len(asked))

    wrong = [sample.id for sample, gold in asked if not lexically_correct(gold, gold, answerable=sample.answerable)]
    lucky = sum(
        lexically_correct(gold, other, answerable=sample.answerable)
        for (sample, gold), (_, other) in zip(asked, shuffled, strict=True)
    )

    assert wrong == []
    # Two of the same answer meet by chance: how often is known from the answers themselves.
    golds = [" ".join(words(gold)) for _, gold in asked]
    chance = sum((golds.count(gold) / len(golds)) for gold in golds) / len(golds)
    assert lucky / len(asked) < chance + 0.05
    assert all(token_f1(gold, gold) == 1 for _, gold in asked)
