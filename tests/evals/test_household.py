"""`household`, checked from its captions alone: the solver here reads text, never the simulated state."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.sample.generate import generate, main
from evals.sample.world import PEOPLE, PLACES, TOPICS
from evals.samples import Sample
from linmem_langgraph.records import MemoryRecord

BUNDLE = Path(__file__).parents[2] / "evals" / "sample" / "household"
KINDS = {"where", "who", "before", "how_often", "two_hop", "said", "yes_no", "unanswerable"}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
UNKNOWN = "not in memory"

CAPTIONS = {
    "is": r"The (?P<what>\w+ \w+) is (?P<prep>on|in|under) the (?P<to>\w+)\.",
    "puts": r"(?P<who>\w+) puts the (?P<what>\w+ \w+) (?P<prep>on|in|under) the (?P<to>\w+)\.",
    "takes": r"(?P<who>\w+) takes the (?P<what>\w+ \w+)\.",
    "gives": r"(?P<who>\w+) gives the (?P<what>\w+ \w+) to (?P<to>\w+)\.",
    "enters": r"(?P<who>\w+) enters the (?P<to>\w+)\.",
    "leaves": r"(?P<who>\w+) leaves the (?P<to>\w+)\.",
    "says": r"(?P<who>\w+) says: I like (?P<to>\w+)\.",
    "does": r"(?P<who>\w+) (?P<what>(?!enters|leaves)\w+s (?:the )?\w+)\.",
}


class Fact(NamedTuple):
    clip: int
    verb: str
    who: str
    what: str
    to: str
    prep: str


Told: TypeAlias = tuple[str, list[Fact]]
"""An answer, or what a phrase stands for, and the facts that tell it."""

Facts: TypeAlias = Sequence[Fact]
World: TypeAlias = tuple[dict[str, tuple[MemoryRecord, ...]], tuple[Sample, ...]]


class Ambiguous(Exception):
    """The captions do not give exactly one answer by exactly one set of clips."""


def parse(record: MemoryRecord) -> Fact:
    matches = {verb: match for verb, form in CAPTIONS.items() if (match := re.fullmatch(form, record.text))}
    ((verb, match),) = matches.items()
    groups = match.groupdict()
    assert record.position is not None
    return Fact(record.position, verb, *(groups.get(name, "") for name in ("who", "what", "to", "prep")))


def one(facts: Facts) -> Fact:
    if len(facts) != 1:
        raise Ambiguous(facts)
    return facts[0]


def need(condition: bool) -> None:
    if not condition:
        raise Ambiguous


def story(facts: Facts, thing: str) -> list[Fact]:
    return [fact for fact in facts if fact.what == thing and fact.verb != "does"]


def placings(facts: Facts, thing: str) -> list[Fact]:
    return [fact for fact in story(facts, thing) if fact.verb in ("is", "puts")]


def had(fact: Fact) -> str:
    return {"takes": fact.who, "gives": fact.to}.get(fact.verb, "")


def likes(facts: Facts, person: str, topic: str) -> list[Fact]:
    return [fact for fact in facts if fact.verb == "says" and fact.who == person and fact.to in TOPICS[topic]]


def the_person(facts: Facts, phrase: str) -> Told:
    """Whom `phrase` stands for."""
    if match := re.fullmatch(r"the person who has the (\w+ \w+)", phrase):
        return who_has(facts, match[1])
    if match := re.fullmatch(r"the person who put the (\w+ \w+) \w+ the (\w+)", phrase):
        put = one([fact for fact in placings(facts, match[1]) if fact.to == match[2]])
        need(put.verb == "puts")
        return put.who, [put]
    if match := re.fullmatch(r"the person who likes (\w+)", phrase):
        topic = next(topic for topic, values in TOPICS.items() if match[1] in values)
        said = {fact.who: fact for fact in facts if fact.verb == "says" and fact.to in TOPICS[topic]}
        now = one([fact for fact in said.values() if fact.to == match[1]])
        return now.who, [now]
    assert re.fullmatch(r"\w+", phrase)
    return phrase, []


def the_thing(facts: Facts, phrase: str) -> Told:
    """Which thing `phrase` stands for."""
    if match := re.fullmatch(r"thing that (\w+) gave to (\w+)", phrase):
        gift = one([fact for fact in facts if fact.verb == "gives" and (fact.who, fact.to) == match.groups()])
        return gift.what, [gift]
    if match := re.fullmatch(r"(\w+) that (.+) put \w+ the (\w+)", phrase):
        person, why = the_person(facts, match[2])
        puts = [fact for fact in facts if fact.verb == "puts" and (fact.who, fact.to) == (person, match[3])]
        put = one([fact for fact in puts if fact.what.endswith(f" {match[1]}")])
        return put.what, [*why, put]
    assert re.fullmatch(r"\w+ \w+", phrase)
    return phrase, []


def where_person(facts: Facts, phrase: str) -> Told:
    person, why = the_person(facts, phrase)
    moves = [fact for fact in facts if fact.who == person and fact.verb in ("enters", "leaves")]
    need(bool(moves) and moves[-1].verb == "enters")
    return moves[-1].to, [*why, moves[-1]]


def where_thing(facts: Facts, phrase: str) -> Told:
    thing, why = the_thing(facts, phrase)
    if not why and unseen(facts, thing):
        return UNKNOWN, []
    last = story(facts, thing)[-1]
    need(last.verb in ("is", "puts"))
    return last.to, [*why, last]


def unseen(facts: Facts, thing: str) -> bool:
    need(any(fact.what.endswith(thing.split()[1]) for fact in facts))  # a neighbour is there
    return not story(facts, thing)


def who_touched(facts: Facts, thing: str) -> Told:
    if unseen(facts, thing):
        return UNKNOWN, []
    last = story(facts, thing)[-1]
    need(last.verb in ("takes", "puts"))
    return last.who, [last]


def who_has(facts: Facts, phrase: str) -> Told:
    thing, why = the_thing(facts, phrase)
    last = story(facts, thing)[-1]
    need(bool(had(last)))
    return had(last), [*why, last]


def who_put(facts: Facts, thing: str, place: str) -> Told:
    last = [fact for fact in placings(facts, thing) if fact.verb == "puts" and fact.to == place][-1]
    return last.who, [last]


def who_did(facts: Facts, act: str) -> Told:
    last = done(facts, act)[-1]
    return last.who, [last]


def count(facts: list[Fact]) -> Told:
    need(0 < len(facts) < len(NUMBERS))
    return NUMBERS[len(facts)], facts


def done(facts: Facts, act: str) -> list[Fact]:
    return [fact for fact in facts if fact.verb == "does" and fact.what == act.replace(" ", "s ", 1)]


def before_place(facts: Facts, thing: str, place: str) -> Told:
    return previous(placings(facts, thing), place)


def before_liked(facts: Facts, topic: str, person: str, liked: str) -> Told:
    return previous(likes(facts, person, topic), liked)


def previous(facts: Facts, target: str) -> Told:
    new = one([fact for fact in facts if fact.to == target])
    old = facts[facts.index(new) - 1]
    need(facts.index(new) > 0)
    return old.to, [old, new]


def often_took(facts: Facts, person: str, thing: str) -> Told:
    takes = [fact for fact in story(facts, thing) if fact.verb == "takes" and fact.who == person]
    return count(takes)


def often_did(facts: Facts, person: str, act: str) -> Told:
    acts = [fact for fact in done(facts, act) if fact.who == person]
    return count(acts)


def which_liked(facts: Facts, topic: str, phrase: str) -> Told:
    person, why = the_person(facts, phrase)
    said = likes(facts, person, topic)
    if not said:
        need(any(fact.verb == "says" and fact.to in TOPICS[topic] for fact in facts))
        need(not why and any(fact.who == person for fact in facts))
        return UNKNOWN, []
    return said[-1].to, [*why, said[-1]]


def which_color(facts: Facts, phrase: str) -> Told:
    thing, why = the_thing(facts, phrase)
    return thing.split()[0], why


def is_at(facts: Facts, thing: str, place: str) -> Told:
    need(any(fact.to == place for fact in placings(facts, thing)))
    last = story(facts, thing)[-1]
    return yes(last.verb in ("is", "puts") and last.to == place), [last]


def is_in(facts: Facts, person: str, room: str) -> Told:
    moves = [fact for fact in facts if fact.who == person and fact.verb in ("enters", "leaves")]
    need(any(fact.to == room for fact in moves))
    return yes(moves[-1].verb == "enters" and moves[-1].to == room), [moves[-1]]


def does_have(facts: Facts, person: str, thing: str) -> Told:
    need(any(had(fact) == person for fact in story(facts, thing)))
    last = story(facts, thing)[-1]
    return yes(had(last) == person), [last]


def did_put(facts: Facts, person: str, thing: str, place: str) -> Told:
    put = one([fact for fact in placings(facts, thing) if fact.to == place])
    need(put.verb == "puts" and any(fact.who == person for fact in story(facts, thing)))
    return yes(put.who == person), [put]


def did_act(facts: Facts, person: str, act: str) -> Told:
    need(bool(done(facts, act)))
    mine = [fact for fact in done(facts, act) if fact.who == person]
    return yes(bool(mine)), [one(mine)] if mine else []


def yes(true: bool) -> str:
    return "yes" if true else "no"


T, AT = r"the (\w+ \w+)", r"(?:on|in|under) the (\w+)"
QUESTIONS: dict[str, tuple[str, Callable[..., Told]]] = {
    r"Where is (\w+|the person .+)\?": ("where", where_person),
    r"Where is the (?!person)(.+)\?": ("where", where_thing),
    rf"Who touched {T} last\?": ("who", who_touched),
    r"Who has the (.+)\?": ("who", who_has),
    rf"Who put {T} {AT} last\?": ("who", who_put),
    r"Who was the last to (.+)\?": ("who", who_did),
    rf"Where was {T} before it was {AT}\?": ("before", before_place),
    r"Which (\w+) did (\w+) like before (\w+)\?": ("before", before_liked),
    rf"How often did (\w+) take {T}\?": ("how_often", often_took),
    r"How often did (\w+) (\w+ \w+|\w+ the \w+)\?": ("how_often", often_did),
    r"Which (\w+) does (.+) like\?": ("said", which_liked),
    r"Which color is the (.+)\?": ("two_hop", which_color),
    rf"Is {T} {AT}\?": ("yes_no", is_at),
    r"Is (\w+) in the (\w+)\?": ("yes_no", is_in),
    rf"Does (\w+) have {T}\?": ("yes_no", does_have),
    rf"Did (\w+) put {T} {AT}\?": ("yes_no", did_put),
    r"Did (\w+) (\w+ \w+|\w+ the \w+)\?": ("yes_no", did_act),
}


def solve(facts: Facts, question: str) -> tuple[str, str, tuple[int, ...]]:
    """The question's kind, answer and evidence, from what `facts` tell."""
    (form,) = [form for form in QUESTIONS if re.fullmatch(form, question)]
    kind, rule = QUESTIONS[form]
    match = re.fullmatch(form, question)
    assert match
    answer, why = rule(facts, *match.groups())
    if re.search(" that | who (has|put|likes) ", question):
        kind = "two_hop"
        need(len(why) == 2)
    return "unanswerable" if answer == UNKNOWN else kind, answer, tuple(sorted({fact.clip for fact in why}))


def solved(facts: Facts, sample: Sample) -> tuple[str, str, tuple[int, ...]]:
    until = sample.until
    assert until is not None
    return solve([fact for fact in facts if fact.clip <= until], sample.question)


def check_answers(memories: dict[str, tuple[MemoryRecord, ...]], samples: Sequence[Sample]) -> None:
    facts = {name: [parse(record) for record in records] for name, records in memories.items()}
    for sample in samples:
        kind, answer, evidence = solved(facts[sample.memory], sample)
        assert (sample.types, sample.answer, sample.evidence) == ((kind,), answer, evidence), sample
        assert sample.answerable == (answer != UNKNOWN)
        assert len(answer.split()) <= 4
        sorted_in_clips = sorted(facts[sample.memory])
        assert solved(sorted_in_clips, sample) == (kind, answer, evidence), "the order within a clip matters"


def check_story(facts: Facts) -> None:
    """Nobody uses what is not at hand, and nobody is in two rooms."""
    rooms, places, holders = defaultdict[str, str](str), dict[str, str](), dict[str, str]()
    liked = dict[tuple[str, int], str]()
    for fact in facts:
        here = rooms[fact.who]
        match fact.verb:
            case "is":
                assert fact.what not in places.keys() | holders.keys()
            case "puts":
                assert holders.pop(fact.what) == fact.who
                assert PLACES[fact.to][1] == here
            case "takes":
                assert PLACES[places.pop(fact.what)][1] == here
                holders[fact.what] = fact.who
            case "gives":
                assert holders[fact.what] == fact.who != fact.to
                assert here == rooms[fact.to] != ""
                holders[fact.what] = fact.to
            case "enters":
                assert fact.to != here
                rooms[fact.who] = fact.to
            case "leaves":
                assert rooms.pop(fact.who) == fact.to
            case "says":
                topic = next(i for i, values in enumerate(TOPICS.values()) if fact.to in values)
                assert here
                assert liked.get((fact.who, topic)) != fact.to
                liked[fact.who, topic] = fact.to
            case _:
                assert here
        if fact.verb in ("is", "puts"):
            places[fact.what] = fact.to


@cache
def many() -> World:
    return generate(worlds=300, clips=60, questions=18, seed=1)


@cache
def bundle() -> World:
    memories = defaultdict[str, list[MemoryRecord]](list)
    for line in (BUNDLE / "memories.jsonl").read_text().splitlines():
        fields = json.loads(line)
        memories[fields.pop("memory")].append(MemoryRecord(**fields))
    lines = (BUNDLE / "samples.jsonl").read_text().splitlines()
    return {name: tuple(told) for name, told in memories.items()}, tuple(map(Sample.model_validate_json, lines))


def test_every_gold_answer_of_the_bundle_follows_from_its_captions() -> None:
    check_answers(*bundle())


def test_every_gold_answer_of_many_worlds_follows_from_their_captions() -> None:
    check_answers(*many())


@pytest.mark.parametrize("clips", [4, 8, 16, 32, 64, 128])
def test_any_length_gives_questions_that_hold(clips: int) -> None:
    memories, samples = generate(worlds=40, clips=clips, questions=18, seed=3)
    check_answers(memories, samples)
    assert {record.position for record in memories["home_00"]} == set(range(clips))
    counts = Counter(sample.memory for sample in samples)
    assert all(1 <= counts[name] <= 18 for name in memories)
    if clips >= 32:
        assert set(counts.values()) == {18}
    for sample in samples:
        assert sample.until is not None
        assert clips / 3 <= sample.until < clips


def test_the_households_are_consistent() -> None:
    for records in (*many()[0].values(), *bundle()[0].values()):
        check_story([parse(record) for record in records])


def test_a_clip_has_one_to_three_captions_and_a_thing_several() -> None:
    for name, records in many()[0].items():
        clips = Counter(record.position for record in records)
        assert list(clips) == list(range(60))
        assert set(clips.values()) <= {1, 2, 3}
        assert records[0].key == f"{name}_c000_1"
        assert len({record.key for record in records}) == len(records)
        things = Counter(fact.what for fact in map(parse, records) if fact.what and fact.verb != "does")
        assert len(things) >= 8
        assert things.total() / len(things) >= 2.5
    total = [fact.what for records in many()[0].values() for fact in map(parse, records) if fact.verb != "does"]
    assert len([what for what in total if what]) >= 3 * 14 * len(many()[0])


def test_the_bundle_is_what_its_command_writes(tmp_path: Path) -> None:
    main(tmp_path / "new", worlds=12, clips=60, questions=18, seed=7)
    for name in ("memories.jsonl", "samples.jsonl"):
        assert (tmp_path / "new" / name).read_bytes() == (BUNDLE / name).read_bytes()


def test_the_bundle_is_large_enough() -> None:
    memories, samples = bundle()
    assert len(memories) >= 10
    assert len(samples) >= 150
    assert all(records[-1].position == 59 for records in memories.values())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(), few=st.integers(0, 3), more=st.integers(0, 3), questions=st.integers(0, 20))
def test_a_world_depends_on_its_own_number_only(seed: int, few: int, more: int, questions: int) -> None:
    memories, samples = generate(worlds=few, clips=20, questions=questions, seed=seed)
    longer, others = generate(worlds=few + more, clips=20, questions=questions, seed=seed)
    assert {name: longer[name] for name in memories} == memories
    assert others[: len(samples)] == samples
    assert generate(worlds=few, clips=20, questions=questions + 1, seed=seed)[0] == memories


def test_every_kind_is_in_nearly_every_world_and_none_is_rare() -> None:
    _, samples = many()
    kinds = defaultdict[str, set[str]](set)
    for sample in samples:
        kinds[sample.memory].update(sample.types)
    assert sum(found == KINDS for found in kinds.values()) >= 0.98 * len(kinds)
    shares = Counter(sample.types[0] for sample in samples)
    assert all(0.1 <= shares[kind] / len(samples) <= 0.15 for kind in KINDS), shares


def test_yes_is_as_frequent_as_no_and_no_has_a_deciding_clip() -> None:
    answers = Counter((sample.answer, bool(sample.evidence)) for sample in many()[1] if sample.types == ("yes_no",))
    no = answers["no", True] + answers["no", False]
    assert 0.45 <= no / answers.total() <= 0.55
    assert answers["yes", False] == 0
    assert answers["no", True] >= 0.7 * no


@pytest.mark.parametrize("world", [bundle, many])
def test_ids_and_questions_are_unique(world: Callable[[], World]) -> None:
    memories, samples = world()
    assert len({sample.id for sample in samples}) == len(samples)
    assert len({(sample.memory, sample.question, sample.until) for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.memory in memories
        assert re.fullmatch(rf"{sample.memory}_q\d\d", sample.id)


@pytest.mark.parametrize("world", [bundle, many])
def test_answers_depend_on_when_the_question_is_asked(world: Callable[[], World]) -> None:
    memories, samples = world()
    ends = defaultdict[str, list[bool]](list)
    for sample in samples:
        facts = [parse(record) for record in memories[sample.memory]]
        try:
            end = solve(facts, sample.question)[1]
        except Ambiguous:
            end = sample.answer or ""  # no answer at the end is not counted as another one
        ends[sample.types[0]].append(end != sample.answer)
    assert all(sum(ends[kind]) >= 0.25 * len(ends[kind]) for kind in ("where", "who", "said"))
    assert sum(ends["unanswerable"]) >= 0.1 * len(ends["unanswerable"]), "some become answerable"


@pytest.mark.parametrize("world", [bundle, many])
def test_some_questions_are_asked_twice_with_another_answer(world: Callable[[], World]) -> None:
    memories, samples = world()
    answers = defaultdict[tuple[str, str], list[str | None]](list)
    for sample in samples:
        answers[sample.memory, sample.question].append(sample.answer)
    assert all(len(set(given)) == len(given) for given in answers.values())
    assert sum(len(given) > 1 for given in answers.values()) >= len(memories)


def test_the_language_is_small_and_has_one_form_for_one_thing() -> None:
    memories, samples = many()
    texts = [record.text for records in memories.values() for record in records]
    texts += [f"{sample.question} {sample.answer}" for sample in samples]
    words = {word.lower() for text in texts for word in re.findall(r"\w+", text)}
    assert len(words) <= 400
    phrases = {match for text in texts for match in re.findall(r"(on|in|under) the (\w+)", text)}
    assert len({place for _, place in phrases}) == len(phrases), "a place takes one preposition"
    assert all(sample.question.endswith("?") and sample.question[0].isupper() for sample in samples)


def test_names_and_ids_can_be_chosen() -> None:
    names = ("Ada", "Ben", "Cem", "Dot", "Eve")
    memories, samples = generate(worlds=2, clips=20, questions=5, seed=0, people=names, prefix="train")
    assert list(memories) == ["train_00", "train_01"]
    assert samples[0].id == "train_00_q00"
    text = " ".join(record.text for records in memories.values() for record in records)
    assert not set(re.findall(r"\w+", text)) & set(PEOPLE)


@pytest.mark.parametrize(("clips", "people"), [(3, PEOPLE), (20, ("Ada", "Ben", "Cem", "Dot", "Dot"))])
def test_too_few_clips_or_people_are_refused(clips: int, people: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least 4 clips and 5 people"):
        generate(worlds=1, clips=clips, questions=1, seed=0, people=people)
