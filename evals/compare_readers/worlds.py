"""Household memories of several sizes, about which the same questions are asked.

A memory is several worlds, one after the other. Nobody lives in two of them, and only questions that name somebody, and
have the same answer and evidence in the largest memory, are asked. The people asked about are the benchmark's, who are
in no lesson of linmem-tiny; those of the worlds that only make a memory larger are not, as the benchmark's are too few.

linmem-tiny knows `POSITIONS`: in a longer memory several clips share one, and stand there in order.
"""

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from evals.sample.generate import Draft, askable
from evals.sample.world import PEOPLE, Cast, Event, State, draw_cast, simulate
from evals.tiny.language import POSITIONS, TAUGHT_PEOPLE
from evals.tiny.lessons import choose
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord

CLIPS = 16
"""Of one world."""

ASKED = 4
"""Worlds of a memory that are asked about, if it has as many: each has at most 5 of the benchmark's 24 people."""

LARGEST_CAST = 5
"""Names that a world takes."""

EACH = 12
"""Questions about one world, at most."""


class World(NamedTuple):
    """A household, and what is asked about it."""

    name: str
    cast: Cast
    events: list[Event]
    asked: tuple[Draft, ...] = ()


class Merged(NamedTuple):
    """A memory of several worlds, and their questions with the world that each is about."""

    name: str
    records: list[MemoryRecord]
    asked: list[tuple[str, Draft]]


def merged(clips: int, questions: int, largest: int) -> list[Merged]:
    """Memories of so many clips, and at least so many questions; the same ones for every `clips`.

    Args:
        clips: of a memory, a multiple of `CLIPS`.
        questions: of all memories together; each is asked after the last clip.
        largest: the clips of the largest memory that is asked the same questions.

    Raises:
        ConfigError: a size is not a multiple of `CLIPS`, or there are not enough names.
    """
    if clips % CLIPS or largest % CLIPS or not CLIPS <= clips <= largest:
        raise ConfigError(
            f"{clips} clips, of {largest} at most, are not worlds of {CLIPS} clips: choose multiples of it"
        )
    memories, found, family = list[Merged](), 0, 0
    while found < questions:
        for worlds in _parts(_worlds(family, largest // CLIPS), clips // CLIPS):
            memories.append(_merge(f"{family}-{clips}-{len(memories)}", worlds))
            found += len(memories[-1].asked)
        family += 1
    return memories


def clip_name(world: str, clip: int) -> str:
    """What the keys of a clip's records begin with, up to the last slash."""
    return f"{world}/{clip}"


def _worlds(family: int, count: int) -> list[World]:
    """Those that are asked about, among others, as they follow one another in the largest memory."""
    rng = Random(f"compared:{family}:{count}:{CLIPS}")
    free = {True: rng.sample(PEOPLE, len(PEOPLE)), False: rng.sample(TAUGHT_PEOPLE, len(TAUGHT_PEOPLE))}
    places = frozenset(rng.sample(range(count), min(ASKED, count)))
    worlds = [_world(rng, f"{family}:{place}", free[place in places]) for place in range(count)]
    everything = _state(worlds)
    return [
        world._replace(asked=_questions(rng, world, everything)) if place in places else world
        for place, world in enumerate(worlds)
    ]


def _world(rng: Random, name: str, free: list[str]) -> World:
    """One whose people are taken from those that are free."""
    if len(free) < LARGEST_CAST:
        raise ConfigError(f"there are not enough names for so many worlds of {CLIPS} clips: make smaller memories")
    cast = draw_cast(rng, free[-LARGEST_CAST:])
    del free[-LARGEST_CAST:]
    return World(name, cast, simulate(rng, cast, CLIPS))


def _questions(rng: Random, world: World, everything: State) -> tuple[Draft, ...]:
    """Those that name somebody and have the same answer and evidence when all worlds are one memory."""
    still = {_told(draft) for draft in askable(everything, 0)}
    drafts = [draft for draft in askable(_state([world]), world.events[-1].clip) if _told(draft) in still]
    return tuple(choose(rng, [draft for draft in drafts if _names(draft, world.cast.people)], EACH))


def _told(draft: Draft) -> tuple[str, str, tuple[Event, ...]]:
    return draft.question.text, draft.question.answer, draft.question.evidence


def _names(draft: Draft, people: Sequence[str]) -> bool:
    return any(re.search(rf"\b{name}\b", draft.question.text) for name in people)


def _state(worlds: Sequence[World]) -> State:
    """What all of them have come to, one after the other."""
    casts = [world.cast for world in worlds]
    state = State(
        Cast(
            people=tuple(name for cast in casts for name in cast.people),
            rooms=tuple(dict.fromkeys(room for cast in casts for room in cast.rooms)),
            things=tuple(dict.fromkeys(thing for cast in casts for thing in cast.things)),
            absent=(),
            habits={name: acts for cast in casts for name, acts in cast.habits.items()},
            topics={name: topics for cast in casts for name, topics in cast.topics.items()},
        )
    )
    for world in worlds:
        for event in world.events:
            state.add(event)
    return state


def _parts(worlds: Sequence[World], size: int) -> Iterator[list[World]]:
    """Memories of so many worlds; each world that is asked about is in one of them."""
    asked = [place for place, world in enumerate(worlds) if world.asked]
    others = [place for place, world in enumerate(worlds) if not world.asked]
    step = min(size, ASKED)
    for start in range(0, len(asked), step):
        chosen = asked[start : start + step]
        yield [worlds[place] for place in sorted([*chosen, *others[: size - len(chosen)]])]


def _merge(name: str, worlds: Sequence[World]) -> Merged:
    clips = [(world, clip) for world in worlds for clip in range(world.events[-1].clip + 1)]
    share = max(1, -(-len(clips) // POSITIONS))
    records = [
        MemoryRecord(text=event.caption, position=place // share, key=f"{clip_name(world.name, clip)}/{number}")
        for place, (world, clip) in enumerate(clips)
        for number, event in enumerate(event for event in world.events if event.clip == clip)
    ]
    return Merged(name, records, [(world.name, draft) for world in worlds for draft in world.asked])
