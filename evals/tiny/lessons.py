"""What linmem-tiny is taught: memories of households that the benchmark does not have, and questions to them.

The text of a lesson is what `LinearReader` sends and what it should be answered. The answer tells its evidence first,
a sentence a record with its position, and then the answer itself: "Noah enters the kitchen [3]. kitchen."
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from tokenizers import Tokenizer

from evals.sample.generate import Draft, askable
from evals.sample.questions import SUMMARIES, UNKNOWN, WRITERS, Writer
from evals.sample.world import Event, State, draw_cast, simulate
from evals.tiny.language import ASSISTANT, END, LIMITS, POSITIONS, TAUGHT_PEOPLE, USER
from linmem_langgraph import transcript
from linmem_langgraph.readers._linear.prompt import memory_message, question_lines
from linmem_langgraph.readers.base import NOTHING, Query
from linmem_langgraph.records import MemoryRecord

LATEST_FIRST = frozenset(
    {
        "before_place",
        "before_liked",
        "often_did",
        "often_took",
        "hop_color",
        *(writer.__name__ for each in SUMMARIES.values() for writer in each),
    }
)
"""Questions whose evidence is found the other way round: each of it leads to the one before."""

SHIFTED = 0.25
"""How often a memory begins at another position than [0]: any position is read, in any part of a long memory."""

LIMITED = 0.1
"""How often a question has a limit of positions."""


BY_SUBJECT = 0.1
"""How often a memory tells all about one subject, then all about the next."""


class Lesson(NamedTuple):
    """A memory and questions, in tokens.

    Args:
        answers: which of the tokens are to be said.
        clips: the clip that each token of the memory is about; -1 where there is none.
        lengths: how many of the tokens are the memory, and how many are each question with its answer.
    """

    tokens: list[int]
    answers: list[bool]
    clips: list[int]
    lengths: list[int]


def lesson(
    rng: Random, tokenizer: Tokenizer, *, clips: int, questions: int, people: Sequence[str] = TAUGHT_PEOPLE
) -> Lesson:
    """A household of so many clips, and so many questions after the last of them."""
    events, drafts = household(rng, clips, people, writers=WRITERS | SUMMARIES, shifted=SHIFTED)
    told = by_subject(events) if rng.random() < BY_SUBJECT else events
    tokens = tokenizer.encode(USER + memory_message(rendered(told))).ids
    answers, about, lengths = [False] * len(tokens), [*_clips(tokenizer, tokens)], [len(tokens)]
    for asked in choose(rng, drafts, questions):
        limit = rng.choice(LIMITS) if rng.random() < LIMITED else None
        question = tokenizer.encode(f"\n{question_lines(Query(text=asked.question.text, limit=limit))}{ASSISTANT}").ids
        said = tokenizer.encode(answer(asked) + END).ids
        tokens += question + said
        answers += [False] * len(question) + [True] * len(said)
        lengths.append(len(question) + len(said))
    return Lesson(tokens, answers, about + [-1] * (len(tokens) - len(about)), lengths)


def household(
    rng: Random,
    clips: int,
    people: Sequence[str],
    *,
    writers: Mapping[str, Sequence[Writer]] = WRITERS,
    shifted: float = 0.0,
) -> tuple[list[Event], list[Draft]]:
    """What happens in one, and all that can be asked after its last clip.

    Args:
        writers: who asks.
        shifted: how often it begins at another position than 0.
    """
    events = simulate(rng, cast := draw_cast(rng, people), clips)
    start = rng.randrange(POSITIONS - clips + 1) if rng.random() < shifted else 0
    events = [event._replace(clip=event.clip + start) for event in events]
    state = State(cast)
    for event in events:
        state.add(event)
    return events, [*askable(state, events[-1].clip, writers)]


def by_subject(events: Sequence[Event]) -> list[Event]:
    """All about one person or thing, then all about the next; what two take part in is told at both."""
    subjects = dict.fromkeys(subject for event in events for subject in _subjects(event))
    return [event for subject in subjects for event in events if subject in _subjects(event)]


def _subjects(event: Event) -> list[str]:
    receiver = event.target if event.verb == "gives" else ""
    return [subject for subject in (event.thing, event.person, receiver) if subject]


def rendered(events: Sequence[Event]) -> str:
    """The transcript of what happened."""
    return transcript.render(MemoryRecord(text=event.caption, position=event.clip) for event in events)


def choose(rng: Random, drafts: Sequence[Draft], count: int) -> list[Draft]:
    """So many of `drafts`, or all: each kind as often as another, each form of it, and yes as often as no."""
    left, chosen = list(drafts), list[Draft]()
    while left and len(chosen) < count:
        few = left
        for aspect in (_kind, _answered, _form):
            value = rng.choice(sorted({aspect(asked) for asked in few}))
            few = [asked for asked in few if aspect(asked) == value]
        chosen.append(rng.choices(few, [(1 + asked.question.rivals) ** 2 for asked in few])[0])
        left.remove(chosen[-1])
    return chosen


def answer(asked: Draft) -> str:
    """What is to be said: the evidence, with positions, and the answer."""
    if asked.question.answer == UNKNOWN:
        return NOTHING
    evidence = asked.question.evidence[:: -1 if asked.form in LATEST_FIRST else 1]
    told = [f"{event.caption.removesuffix('.')} [{event.clip}]." for event in evidence]
    return " ".join([*told, f"{asked.question.answer}."])


def _clips(tokenizer: Tokenizer, memory: Sequence[int]) -> Iterator[int]:
    clip = -1
    for token in map(tokenizer.id_to_token, memory):
        clip = int(token[1:-1]) if token and token.startswith("[") else clip
        yield clip


def _kind(asked: Draft) -> str:
    return asked.kind


def _form(asked: Draft) -> str:
    return asked.form


def _answered(asked: Draft) -> str:
    return asked.question.answer if asked.kind == "yes_no" else ""
