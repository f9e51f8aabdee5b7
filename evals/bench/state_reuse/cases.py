"""Random cases: memories that grow, asked in between and as of any position."""

from random import Random

from pydantic import BaseModel, ConfigDict


class Ask(BaseModel):
    """A question to a memory that has `records` records by then.

    Args:
        until: a position, or None.
        flushed: whether the memory has been primed before the read.
    """

    model_config = ConfigDict(frozen=True)

    memory: int
    number: int
    records: int
    until: int | None
    flushed: bool


ASKS_EACH = 5
"""Cases of one memory."""


def cases(count: int, most: int, *, seed: int) -> list[list[Ask]]:
    """`count` cases, by memory and in the order in which they are asked: a memory never has fewer records than before.

    Args:
        most: records a memory may have in the end.
    """
    choose, made = Random(seed), list[list[Ask]]()
    for number in range(count):
        if number % ASKS_EACH == 0:
            made.append([])
        before = made[-1][-1].records if made[-1] else 0
        records = choose.randint(before, before + max((most - before) // 2, 1)) or 1
        until = choose.choice([None, choose.randrange(records)])
        asked = {"memory": len(made) - 1, "number": number, "records": records, "until": until}
        made[-1].append(Ask(flushed=choose.random() < 0.5, **asked))
    return made
