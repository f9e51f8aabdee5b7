"""Made-up memories: captions, and questions about them."""

from random import Random

from linmem_langgraph import MemoryRecord
from linmem_langgraph.transcript import render_record

PEOPLE = ("Anna", "Bob", "Cleo", "Dmitri", "Esra", "Farid", "Grace", "Hugo")
THINGS = ("red mug", "blue key", "old map", "green coat", "silver bowl", "torn letter", "black umbrella", "camera")
PLACES = ("shelf", "sink", "sofa", "desk", "garden table", "kitchen floor", "window sill", "upper drawer")
DEEDS = ("puts {} on", "takes {} from", "looks for {} near", "forgets {} on", "cleans {} beside", "hides {} under")


def records(characters: int, *, seed: int | str, length: int, first: int = 0) -> list[MemoryRecord]:
    """One record a position from `first` on, until their transcript has about so many characters; one at least."""
    made, size = list[MemoryRecord](), 0
    while not made or size < characters:
        text = caption(length, seed=f"{seed} {first + len(made)}")
        made.append(MemoryRecord(text=text, position=first + len(made), key=str(first + len(made))))
        size += len(render_record(made[-1]))
    return made


def caption(length: int, *, seed: int | str) -> str:
    """What is seen in a clip, in so many characters."""
    choose = Random(str(seed)).choice
    text = ""
    while len(text) <= length:
        deed = choose(DEEDS).format(f"the {choose(THINGS)}")
        text += f"{choose(PEOPLE)} {deed} the {choose(PLACES)}. "
    return text[: length - 1].rstrip() + "."


def question(number: int | str) -> str:
    """Another question for each number."""
    choose = Random(f"question {number}").choice
    return f"Case {number}: where did {choose(PEOPLE)} leave the {choose(THINGS)}?"
