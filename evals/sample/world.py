"""The simulated household: people, rooms, things, what happens to them, and the captions that tell it.

The language is controlled: one form for one relation, one preposition for one place. Within a clip every person, thing
and act occurs in one caption at most, so the order of a clip's captions never matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import NamedTuple

PEOPLE = (
    "Anna", "Bob", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Irene", "Jack", "Karen", "Leo",
    "Maria", "Noah", "Olga", "Paul", "Quinn", "Rosa", "Simon", "Tina", "Victor", "Wendy", "Yusuf", "Zoe",
)  # fmt: skip
PLACES = {
    "shelf": ("on", "kitchen"),
    "stove": ("on", "kitchen"),
    "sink": ("in", "kitchen"),
    "bench": ("on", "hall"),
    "hook": ("on", "hall"),
    "basket": ("in", "hall"),
    "table": ("on", "lounge"),
    "sofa": ("under", "lounge"),
    "rug": ("under", "lounge"),
    "bed": ("under", "bedroom"),
    "drawer": ("in", "bedroom"),
    "chair": ("on", "bedroom"),
    "desk": ("on", "office"),
    "cabinet": ("in", "office"),
    "stool": ("on", "bathroom"),
    "bathtub": ("in", "bathroom"),
}
"""Place: its preposition and its room."""

ROOMS = tuple(dict.fromkeys(room for _, room in PLACES.values()))
COLORS = ("red", "blue", "green", "yellow", "white", "black", "brown", "gray")
NOUNS = ("mug", "key", "book", "bag", "ball", "hat", "bottle", "lamp", "towel", "phone", "knife", "toy")
TOPICS = {
    "drink": ("tea", "coffee", "milk", "juice", "cocoa", "lemonade", "cider", "soda"),
    "food": ("soup", "rice", "cake", "bread", "fish", "cheese", "salad", "pasta"),
    "color": COLORS,
}
"""What a person can like one of."""

ACTS = (
    *(f"drink {drink}" for drink in TOPICS["drink"]),
    *(f"eat {food}" for food in TOPICS["food"]),
    *("open the window", "open the door", "close the window", "close the door", "feed the cat", "feed the dog"),
    *("clean the floor", "clean the mirror", "water the plant", "read the newspaper", "play the piano"),
)

CAPTIONS = {
    "is": "The {thing} is {at}.",
    "puts": "{person} puts the {thing} {at}.",
    "takes": "{person} takes the {thing}.",
    "gives": "{person} gives the {thing} to {target}.",
    "enters": "{person} enters the {target}.",
    "leaves": "{person} leaves the {target}.",
    "says": "{person} says: I like {target}.",
    "does": "{person} {act}.",
}
WEIGHTS = {"is": 10, "puts": 15, "takes": 12, "gives": 13, "enters": 5, "leaves": 1, "says": 6, "does": 7}
"""How often each verb is tried; what the state does not allow is drawn again."""

MAX_HELD = 2
TOPIC_OF = {liked: topic for topic, values in TOPICS.items() for liked in values}


def at(place: str) -> str:
    """`place` with its preposition: "on the shelf"."""
    return f"{PLACES[place][0]} the {place}"


class Event(NamedTuple):
    """One thing that happens. `target` is a place, a room, a receiver, an act, or what is liked, as the verb has it."""

    clip: int
    verb: str
    person: str
    thing: str
    target: str

    @property
    def caption(self) -> str:
        """The sentence that tells it."""
        where = at(self.target) if self.target in PLACES else ""
        act = "s ".join(self.target.split(" ", 1))
        return CAPTIONS[self.verb].format(person=self.person, thing=self.thing, target=self.target, at=where, act=act)

    @property
    def holder(self) -> str:
        """Who has the thing afterwards; "" where nobody does."""
        return {"takes": self.person, "gives": self.target}.get(self.verb, "")

    @property
    def subjects(self) -> set[str]:
        """The people, the thing and the act it is about."""
        other = self.target if self.verb in ("gives", "does") else ""
        return {self.person, self.thing, other} - {""}


class Cast(NamedTuple):
    """Who and what a household consists of.

    `absent` are things that never occur, of nouns and colors that do; `habits` are the acts a person does and `topics`
    those a person speaks about.
    """

    people: tuple[str, ...]
    rooms: tuple[str, ...]
    things: tuple[str, ...]
    absent: tuple[str, ...]
    habits: dict[str, tuple[str, ...]]
    topics: dict[str, tuple[str, ...]]


def draw_cast(rng: Random, people: Sequence[str]) -> Cast:
    """A household of 4 or 5 of `people`, in 4 rooms, with 12 to 16 things that share nouns and colors."""
    names = tuple(rng.sample(people, rng.randint(4, 5)))
    things = [f"{color} {noun}" for color, noun in product(rng.sample(COLORS, 5), rng.sample(NOUNS, 5))]
    rng.shuffle(things)
    count = rng.randint(12, 16)
    acts = rng.sample(ACTS, 6)
    return Cast(
        people=names,
        rooms=tuple(rng.sample(ROOMS, 4)),
        things=tuple(things[:count]),
        absent=tuple(things[count:]),
        habits={name: tuple(rng.sample(acts, 3)) for name in names},
        topics={name: tuple(rng.sample(list(TOPICS), 2)) for name in names},
    )


@dataclass(frozen=True)
class State:
    """All that happened so far, by what it happened to; every list is in order of time."""

    cast: Cast
    things: dict[str, list[Event]] = field(default_factory=dict)
    moves: dict[str, list[Event]] = field(default_factory=dict)
    likes: dict[tuple[str, str], list[Event]] = field(default_factory=dict)
    acts: dict[str, list[Event]] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Let `event` happen."""
        match event.verb:
            case "enters" | "leaves":
                self.moves.setdefault(event.person, []).append(event)
            case "says":
                self.likes.setdefault((event.person, TOPIC_OF[event.target]), []).append(event)
            case "does":
                self.acts.setdefault(event.target, []).append(event)
            case _:
                self.things.setdefault(event.thing, []).append(event)

    def placings(self, thing: str) -> list[Event]:
        """The events that left `thing` at a place."""
        return [event for event in self.things.get(thing, ()) if event.verb in ("is", "puts")]

    def place(self, thing: str) -> str:
        """Where `thing` lies; "" while somebody has it and before it was seen."""
        last = self.things[thing][-1] if thing in self.things else None
        return last.target if last and not last.holder else ""

    def holder(self, thing: str) -> str:
        """Who has `thing`; "" where nobody does."""
        return self.things[thing][-1].holder if thing in self.things else ""

    def room(self, person: str) -> str:
        """The room `person` is in; "" outside."""
        last = self.moves[person][-1] if person in self.moves else None
        return last.target if last and last.verb == "enters" else ""

    def liked(self, person: str, topic: str) -> str:
        """What `person` last said to like; "" before the first time."""
        said = self.likes.get((person, topic))
        return said[-1].target if said else ""


def simulate(rng: Random, cast: Cast, clips: int) -> list[Event]:
    """`clips` clips of one to three events each, in order of time, each possible after those before it."""
    state, events = State(cast), list[Event]()
    for clip in range(clips):
        busy = set[str]()
        for _ in range(rng.randint(1, 3)):
            if free := [name for name in cast.people if name not in busy]:
                event = _next(rng, state, clip, free, busy)
                busy |= event.subjects
                state.add(event)
                events.append(event)
    return events


def _next(rng: Random, state: State, clip: int, free: Sequence[str], busy: set[str]) -> Event:
    while True:  # ends: whoever is free can always enter a room
        verb = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if options := _options(rng, state, verb, rng.choice(free)):
            event = Event(clip, verb, *rng.choice(options))
            if not busy & event.subjects:
                return event


def _options(rng: Random, state: State, verb: str, person: str) -> list[tuple[str, str, str]]:
    """The (person, thing, target) with which `verb` can happen now."""
    room = state.room(person)
    near = [place for place, (_, where) in PLACES.items() if where == room]
    held = [thing for thing in state.things if state.holder(thing) == person]
    match verb:
        case "is":
            unseen = {rng.choice(state.cast.things)} - state.things.keys()  # the rarer, the more has been seen
            return [("", thing, place) for thing in unseen for place in PLACES if PLACES[place][1] in state.cast.rooms]
        case "puts":
            return [(person, x, place) for x in held for place in near if place != state.placings(x)[-1].target]
        case "takes" if len(held) < MAX_HELD:
            return [(person, thing, "") for thing in state.things if state.place(thing) in near]
        case "gives":
            others = [name for name in state.cast.people if name != person and room and state.room(name) == room]
            return [(person, thing, name) for thing in held for name in others]
        case "enters":
            return [(person, "", name) for name in state.cast.rooms if name != room]
        case "leaves" if room:
            return [(person, "", room)]
        case "says" if room:
            values = [value for topic in state.cast.topics[person] for value in TOPICS[topic]]
            return [(person, "", value) for value in values if value != state.liked(person, TOPIC_OF[value])]
        case "does" if room:
            return [(person, "", act) for act in state.cast.habits[person]]
    return []
