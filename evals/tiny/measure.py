"""How well linmem-tiny reads: `python -m evals.tiny.measure evals/tiny/models/hybrid`.

It is asked through `LinearReader`, after the last clip, about households of the benchmark's people that are in neither
the benchmark nor the lessons. An answer is right if its last sentence is; its evidence, if it names just the clips that
tell.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Annotated, NamedTuple

import typer
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.table import Table

from evals.sample.generate import Draft
from evals.sample.questions import UNKNOWN, WRITERS, Writer
from evals.sample.world import PEOPLE, Event
from evals.statistics import clustered
from evals.tiny.chat import ANSWER, TinyChatModel, tiny_model
from evals.tiny.lessons import choose, household
from graphs.extractive import conclusion
from linmem_langgraph import LinearReader, Memory, MemoryRecord, Reading, transcript
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers._linear.prompt import named_positions, prime_messages, read_messages
from linmem_langgraph.readers.base import NOTHING, Query
from linmem_langgraph.records import ScoredRecord

CLIPS = (8, 16, 32, 64)
EACH = 12
"""Questions of one household."""


class Result(NamedTuple):
    """One question.

    Args:
        form: who wrote the question, a name in `evals.sample.questions`.
        is_right: whether the last sentence of what was read answers it.
        is_told: whether what was read has every item of the answer somewhere.
        named: the positions that the reading names, as its words do, or best first where a model wrote none.
        evidence: those that tell the answer.
        candidates: how many positions the memory has.
        seconds: what the read took.
    """

    household: str
    question: str
    form: str
    is_right: bool
    is_told: bool
    named: tuple[int, ...]
    evidence: tuple[int, ...]
    candidates: int
    seconds: float

    @property
    def is_founded(self) -> bool:
        """Whether just the clips that tell are named."""
        return set(self.named) == set(self.evidence)


class Home(NamedTuple):
    """A household, and what is asked about it."""

    name: str
    records: list[MemoryRecord]
    asked: list[Draft]


def homes(
    clips: int,
    questions: int,
    *,
    seed: str = "measured",
    writers: Mapping[str, Sequence[Writer]] = WRITERS,
    told: Callable[[Sequence[Event]], Sequence[Event]] = tuple,
) -> list[Home]:
    """So many questions, to as many households as that takes; the same arguments give the same ones.

    Args:
        writers: who asks.
        told: which events the memory tells, in which order.
    """
    made, left, number = list[Home](), questions, 0
    while left:
        rng = Random(f"{seed}:{clips}:{number}")
        events, drafts = household(rng, clips, PEOPLE, writers=writers)
        records = [MemoryRecord(text=event.caption, position=event.clip) for event in told(events)]
        if asked := choose(rng, drafts, min(EACH, left)):
            made.append(Home(f"{seed}-{clips}-{number}", records, asked))
            left -= len(asked)
        number += 1
    return made


def measure(memory: Memory, asked: Sequence[Home]) -> list[Result]:
    """What a reader makes of the questions."""
    results = list[Result]()
    for home in asked:
        namespace = ("measured", home.name)
        memory.write(namespace, home.records)
        memory.flush()
        results += [graded(home, each, memory.read(namespace, each.question.text)) for each in home.asked]
        memory.forget(namespace)
    return results


def measure_as_told(model: TinyChatModel, asked: Sequence[Home]) -> list[Result]:
    """What a model makes of the questions when it reads the records as they come, where a log would sort them."""
    results = list[Result]()
    for home in asked:
        told, known = transcript.render(home.records), tuple(ScoredRecord(record=record) for record in home.records)
        model.prime(prime_messages(told), cache_salt=home.name)
        for each in home.asked:
            begin = time.perf_counter()
            said = model.invoke(read_messages(told, Query(text=each.question.text)), cache_salt=home.name).text
            seconds = time.perf_counter() - begin
            reading = Reading(text=said, records=known, reader="as told", model=model.folder.name, seconds=seconds)
            results.append(graded(home, each, reading))
        model.forget(home.name)
    return results


def graded(home: Home, asked: Draft, reading: Reading) -> Result:
    """What a reading is worth."""
    said = UNKNOWN if reading.text == NOTHING else conclusion(reading.text).removesuffix(".")
    listed = list(dict.fromkeys(hit.record.position or 0 for hit in reading.records))
    items = asked.question.answer.split(", ")
    return Result(
        household=home.name,
        question=asked.question.text,
        form=asked.form,
        is_right=said == asked.question.answer,
        # An act is told as "drinks tea", and asked for as "drink tea".
        is_told=all(re.search(rf"\b{item.replace(' ', 's? ', 1)}\b", reading.text) for item in items),
        named=tuple(named_positions(reading.text, listed)[0] if reading.model else listed),
        evidence=tuple(sorted({event.clip for event in asked.question.evidence})),
        candidates=len({record.position for record in home.records}),
        seconds=reading.seconds,
    )


def main(
    model: Annotated[str, typer.Argument(help="hybrid, linear, softmax, or the folder of a model.")],
    clips: Annotated[list[int] | None, typer.Option(help="Of a household; can be given several times.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="For each number of clips.")] = 500,
) -> None:
    """Measure a model in this process."""
    table = Table("clips", "n", "right", "95%", "evidence", title=f"linmem-tiny {model}")
    forms: dict[str, dict[int, str]] = defaultdict(dict)
    try:
        chat = tiny_model(model)
    except ConfigError as exc:
        raise typer.BadParameter(str(exc)) from exc
    with Memory(LinearReader(chat, max_tokens=ANSWER), store=InMemoryStore()) as memory:
        for number in clips or CLIPS:
            found = measure(memory, homes(number, questions))
            right = clustered((result.household, float(result.is_right)) for result in found)
            assert right is not None
            founded = sum(result.is_founded for result in found) / len(found)
            interval = f"{right.low:.3f} to {right.high:.3f}"
            table.add_row(str(number), str(len(found)), f"{right.mean:.3f}", interval, f"{founded:.3f}")
            for form in {result.form for result in found}:
                of_form = [result.is_right for result in found if result.form == form]
                forms[form][number] = f"{sum(of_form)} of {len(of_form)}"
    Console().print(table)
    by_form = Table("form", *map(str, clips or CLIPS), title="right, by form of question")
    for form, shares in sorted(forms.items()):
        by_form.add_row(form, *(shares.get(number, "") for number in clips or CLIPS))
    Console().print(by_form)


if __name__ == "__main__":
    typer.run(main)
