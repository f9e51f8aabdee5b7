"""The question writers: from the state as of a clip to questions with gold answers and gold evidence.

A writer gives only questions that have exactly one answer, by exactly one set of clips. Facts are overwritten: where a
thing is, who has it and what a person likes is what was told last.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise, product
from typing import NamedTuple

from evals.sample.world import PLACES, TOPICS, Event, State, at

NUMBERS = ("one", "two", "three", "four", "five", "six")
UNKNOWN = "not in memory"


class Question(NamedTuple):
    """A question without the clip it is asked at.

    `evidence` are the events that tell the answer; `rivals` counts the events told in like words that do not.
    """

    text: str
    answer: str
    evidence: tuple[Event, ...] = ()
    rivals: int = 0


Writer = Callable[[State], Iterator[Question]]


def where_thing(state: State) -> Iterator[Question]:
    for thing in state.things:
        if place := state.place(thing):
            *old, last = state.placings(thing)
            yield Question(f"Where is the {thing}?", place, (last,), len(old))


def where_person(state: State) -> Iterator[Question]:
    for person, (*old, last) in state.moves.items():
        if room := state.room(person):
            yield Question(f"Where is {person}?", room, (last,), len(old))


def who_touched(state: State) -> Iterator[Question]:
    for thing, (*old, last) in state.things.items():
        if last.verb in ("takes", "puts"):  # a gift is touched by two
            yield Question(f"Who touched the {thing} last?", last.person, (last,), len(old))


def who_has(state: State) -> Iterator[Question]:
    for thing, (*old, last) in state.things.items():
        if last.holder:
            yield Question(f"Who has the {thing}?", last.holder, (last,), len(old))


def who_put(state: State) -> Iterator[Question]:
    for thing, events in state.things.items():
        last = {event.target: event for event in events if event.verb == "puts"}
        for place, event in last.items():
            rivals = len([other for other in events if other.verb == "puts"]) - 1
            yield Question(f"Who put the {thing} {at(place)} last?", event.person, (event,), rivals)


def who_did(state: State) -> Iterator[Question]:
    for act, (*old, last) in state.acts.items():
        yield Question(f"Who was the last to {act}?", last.person, (last,), len(old))


def before_place(state: State) -> Iterator[Question]:
    for thing in state.things:
        placings = state.placings(thing)
        visits = Counter(event.target for event in placings)
        for old, new in pairwise(placings):
            if visits[new.target] == 1:
                text = f"Where was the {thing} before it was {at(new.target)}?"
                yield Question(text, old.target, (old, new), len(placings) - 2)


def before_liked(state: State) -> Iterator[Question]:
    for (person, topic), events in state.likes.items():
        times = Counter(event.target for event in events)
        for old, new in pairwise(events):
            if times[new.target] == 1:
                text = f"Which {topic} did {person} like before {new.target}?"
                yield Question(text, old.target, (old, new), len(events) - 2)


def often_did(state: State) -> Iterator[Question]:
    for act, events in state.acts.items():
        for person in state.cast.people:
            yield from _count(f"How often did {person} {act}?", person, events)


def often_took(state: State) -> Iterator[Question]:
    for thing, events in state.things.items():
        takes = [event for event in events if event.verb == "takes"]
        for person in state.cast.people:
            yield from _count(f"How often did {person} take the {thing}?", person, takes)


def _count(text: str, person: str, events: list[Event]) -> Iterator[Question]:
    mine = tuple(event for event in events if event.person == person)
    if 1 <= len(mine) <= len(NUMBERS):
        yield Question(text, NUMBERS[len(mine) - 1], mine, len(mine) - 1)


def said(state: State) -> Iterator[Question]:
    for (person, topic), (*old, last) in state.likes.items():
        yield Question(f"Which {topic} does {person} like?", last.target, (last,), len(old))


def hop_given(state: State) -> Iterator[Question]:
    gifts = [event for events in state.things.values() for event in events if event.verb == "gives"]
    pairs = Counter((gift.person, gift.target) for gift in gifts)
    for gift in gifts:
        if pairs[gift.person, gift.target] == 1 and (place := state.place(gift.thing)):
            last = state.placings(gift.thing)[-1]
            yield Question(f"Where is the thing that {gift.person} gave to {gift.target}?", place, (gift, last))


def hop_put(state: State) -> Iterator[Question]:
    for put, noun in _single_puts(state):
        *_, last = state.things[put.thing]
        if last.holder:
            yield Question(f"Who has the {noun} that {put.person} put {at(put.target)}?", last.holder, (put, last))


def hop_color(state: State) -> Iterator[Question]:
    for put, noun in _single_puts(state):
        for topic in TOPICS:
            liked = state.liked(put.person, topic)
            if liked and [state.liked(person, topic) for person in state.cast.people].count(liked) == 1:
                text = f"Which color is the {noun} that the person who likes {liked} put {at(put.target)}?"
                yield Question(text, put.thing.split()[0], (put, state.likes[put.person, topic][-1]))


def _single_puts(state: State) -> Iterator[tuple[Event, str]]:
    """Each put that only its person, noun and place tell apart, with the noun."""
    puts = [event for thing in state.things for event in state.placings(thing) if event.verb == "puts"]
    times = Counter((put.person, put.thing.split()[1], put.target) for put in puts)
    for put in puts:
        noun = put.thing.split()[1]
        if times[put.person, noun, put.target] == 1:
            yield put, noun


def hop_holder(state: State) -> Iterator[Question]:
    for thing, (*_, last) in state.things.items():
        if last.holder:
            whom = f"the person who has the {thing}"
            if room := state.room(last.holder):
                yield Question(f"Where is {whom}?", room, (last, state.moves[last.holder][-1]))
            for topic in TOPICS:
                if liked := state.liked(last.holder, topic):
                    text = f"Which {topic} does {whom} like?"
                    yield Question(text, liked, (last, state.likes[last.holder, topic][-1]))


def hop_putter(state: State) -> Iterator[Question]:
    for put in _only_puts(state):
        for topic in TOPICS:
            if liked := state.liked(put.person, topic):
                text = f"Which {topic} does the person who put the {put.thing} {at(put.target)} like?"
                yield Question(text, liked, (put, state.likes[put.person, topic][-1]))


def _only_puts(state: State) -> Iterator[Event]:
    """Each put of a thing at a place where it was at no other time."""
    for thing in state.things:
        visits = Counter(event.target for event in state.placings(thing))
        yield from (put for put in state.placings(thing) if put.verb == "puts" and visits[put.target] == 1)


def is_at(state: State) -> Iterator[Question]:
    for thing, (*old, last) in state.things.items():
        for place in {event.target: None for event in state.placings(thing)}:
            yield _decide(f"Is the {thing} {at(place)}?", place == state.place(thing), last, len(old))


def is_in(state: State) -> Iterator[Question]:
    for person, (*old, last) in state.moves.items():
        for room in {event.target: None for event in state.moves[person]}:
            yield _decide(f"Is {person} in the {room}?", room == state.room(person), last, len(old))


def does_have(state: State) -> Iterator[Question]:
    for thing, (*old, last) in state.things.items():
        for person in {event.holder: None for event in [*old, last] if event.holder}:
            yield _decide(f"Does {person} have the {thing}?", person == last.holder, last, len(old))


def did_put(state: State) -> Iterator[Question]:
    for put in _only_puts(state):
        for person in {event.person: None for event in state.things[put.thing] if event.person}:
            text = f"Did {person} put the {put.thing} {at(put.target)}?"
            yield _decide(text, person == put.person, put, len(state.things[put.thing]) - 1)


def _decide(text: str, true: bool, deciding: Event, rivals: int) -> Question:
    return Question(text, "yes" if true else "no", (deciding,), rivals)


def did_act(state: State) -> Iterator[Question]:
    for act, events in state.acts.items():
        times = Counter(event.person for event in events)
        for event in events:
            if times[event.person] == 1:
                yield _decide(f"Did {event.person} {act}?", True, event, len(events) - 1)
        yield from (Question(f"Did {person} {act}?", "no") for person in state.moves if person not in times)


def unknown_thing(state: State) -> Iterator[Question]:
    nouns = {thing.split()[1] for thing in state.things}
    for thing in state.cast.things + state.cast.absent:
        if thing not in state.things and thing.split()[1] in nouns:
            yield Question(f"Where is the {thing}?", UNKNOWN)
            yield Question(f"Who touched the {thing} last?", UNKNOWN)


def unknown_topic(state: State) -> Iterator[Question]:
    topics = {topic for _, topic in state.likes}
    for person, topic in product(state.moves, TOPICS):
        if topic in topics and (person, topic) not in state.likes:
            yield Question(f"Which {topic} does {person} like?", UNKNOWN)


def all_taken(state: State) -> Iterator[Question]:
    for person in state.cast.people:
        takes = [event for event in _events(state.things) if (event.verb, event.person) == ("takes", person)]
        yield from _list(f"What did {person} take?", takes, [event.thing for event in takes])


def all_done(state: State) -> Iterator[Question]:
    for person in state.cast.people:
        acts = [event for event in _events(state.acts) if event.person == person]
        yield from _list(f"What did {person} do?", acts, [event.target for event in acts])


def all_liked(state: State) -> Iterator[Question]:
    for person in state.cast.people:
        last = sorted(events[-1] for (name, _), events in state.likes.items() if name == person)
        yield from _list(f"What does {person} like?", last, [event.target for event in last])


def all_put(state: State) -> Iterator[Question]:
    for place in PLACES:
        puts = [event for event in _events(state.things) if (event.verb, event.target) == ("puts", place)]
        yield from _list(f"What was put {at(place)}?", puts, [event.thing for event in puts])


def all_places(state: State) -> Iterator[Question]:
    for thing in state.things:
        placings = state.placings(thing)
        yield from _list(f"Where was the {thing}?", placings, [event.target for event in placings])


def all_rooms(state: State) -> Iterator[Question]:
    for person, events in state.moves.items():
        rooms = [event for event in events if event.verb == "enters"]
        yield from _list(f"Where was {person}?", rooms, [event.target for event in rooms])


def _events(by_subject: Mapping[str, list[Event]]) -> list[Event]:
    return sorted(event for events in by_subject.values() for event in events)


def _list(text: str, events: list[Event], items: list[str]) -> Iterator[Question]:
    if 2 <= len(events) <= len(NUMBERS):
        yield Question(text, ", ".join(dict.fromkeys(reversed(items))), tuple(events))


WRITERS: dict[str, tuple[Writer, ...]] = {
    "where": (where_thing, where_person),
    "who": (who_touched, who_has, who_put, who_did),
    "before": (before_place, before_liked),
    "how_often": (often_did, often_took),
    "two_hop": (hop_given, hop_put, hop_color, hop_holder, hop_putter),
    "said": (said,),
    "yes_no": (is_at, is_in, does_have, did_put, did_act),
    "unanswerable": (unknown_thing, unknown_topic),
}
"""The kinds of question and who writes them."""

SUMMARIES: dict[str, tuple[Writer, ...]] = {"summary": (all_taken, all_done, all_liked, all_put, all_places, all_rooms)}
"""Those whose answer is a list, in which comes first what was told last. The benchmark does not ask them."""
