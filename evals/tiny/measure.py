"""How well linmem-tiny reads: `python -m evals.tiny.measure evals/tiny/models/hybrid`.

It is asked through `LinearReader`, after the last clip, about households of the benchmark's people that are in neither
the benchmark nor the lessons. An answer is right if its last sentence is; its evidence, if it names just the clips that
tell.
"""

from collections import defaultdict
from random import Random
from typing import Annotated, NamedTuple

import typer
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.table import Table

from evals.sample.generate import Draft
from evals.sample.questions import UNKNOWN
from evals.sample.world import PEOPLE
from evals.statistics import clustered
from evals.tiny.chat import tiny_model
from evals.tiny.lessons import choose, household
from graphs.extractive import conclusion
from linmem_langgraph import LinearReader, Memory, MemoryRecord, Reading
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers.base import NOTHING

CLIPS = (8, 16, 32, 64)
EACH = 12
"""Questions of one household."""


class Result(NamedTuple):
    """One question: whether the answer was right, and its evidence."""

    household: str
    kind: str
    is_right: bool
    is_founded: bool


def measure(memory: Memory, clips: int, questions: int, *, seed: str = "measured") -> list[Result]:
    """So many questions, to as many households as that takes."""
    results = list[Result]()
    while len(results) < questions:
        rng, namespace = Random(f"{seed}:{clips}:{len(results)}"), ("measured", seed, str(clips), str(len(results)))
        events, drafts = household(rng, clips, PEOPLE)
        memory.write(namespace, [MemoryRecord(text=event.caption, position=event.clip) for event in events])
        memory.flush()
        for each in choose(rng, drafts, min(EACH, questions - len(results))):
            results.append(graded(namespace[-1], each, memory.read(namespace, each.question.text)))
        memory.forget(namespace)
    return results


def graded(home: str, asked: Draft, reading: Reading) -> Result:
    """What a reading is worth."""
    said = UNKNOWN if reading.text == NOTHING else conclusion(reading.text).removesuffix(".")
    named = {hit.record.position for hit in reading.records}
    told = {event.clip for event in asked.question.evidence}
    return Result(home, asked.kind, said == asked.question.answer, named == told)


def main(
    model: Annotated[str, typer.Argument(help="hybrid, linear, or the folder of a model.")],
    clips: Annotated[list[int] | None, typer.Option(help="Of a household; can be given several times.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="For each number of clips.")] = 500,
) -> None:
    """Measure a model in this process."""
    table = Table("clips", "n", "right", "95%", "evidence", title=f"linmem-tiny {model}")
    kinds: dict[str, list[str]] = defaultdict(list)
    try:
        chat = tiny_model(model)
    except ConfigError as exc:
        raise typer.BadParameter(str(exc)) from exc
    with Memory(LinearReader(chat, max_tokens=128), store=InMemoryStore()) as memory:
        for number in clips or CLIPS:
            found = measure(memory, number, questions)
            right = clustered((result.household, float(result.is_right)) for result in found)
            assert right is not None
            founded = sum(result.is_founded for result in found) / len(found)
            interval = f"{right.low:.3f} to {right.high:.3f}"
            table.add_row(str(number), str(len(found)), f"{right.mean:.3f}", interval, f"{founded:.3f}")
            for kind in sorted({result.kind for result in found}):
                of_kind = [result.is_right for result in found if result.kind == kind]
                kinds[kind].append(f"{sum(of_kind) / len(of_kind):.2f}")
    Console().print(table)
    by_kind = Table("kind", *map(str, clips or CLIPS))
    for kind, shares in kinds.items():
        by_kind.add_row(kind, *shares)
    Console().print(by_kind)


if __name__ == "__main__":
    typer.run(main)
