"""What every benchmark is turned into: memories to write, and samples to ask of them."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from linmem_langgraph.records import MAX_POSITION, MemoryRecord


def _unicode(text: str) -> str:
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_unicode)]
"""Text that can be written: without lone surrogates."""

Positions = Annotated[tuple[int, ...], AfterValidator(lambda found: tuple(sorted(set(found))))]
"""Positions, each once and ascending, in whatever order they were given."""

PART = "::"
"""In the id of a memory that is a part of another, after that one's."""


class Sample(BaseModel):
    """One question about one memory.

    Args:
        id: unique in the benchmark.
        memory: which memory it is asked of.
        answer: the gold answer; None = it cannot be scored.
        types: the benchmark's own question types.
        until: the position as of which it is asked, inclusive; None = the whole memory.
        evidence: the gold positions, ascending; empty where the benchmark names none.
        answerable: False where the right answer is that memory does not tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text = Field(min_length=1)
    memory: Text = Field(min_length=1)
    question: Text = Field(min_length=1)
    answer: Text | None
    types: tuple[Text, ...] = ()
    until: int | None = Field(default=None, ge=0, le=MAX_POSITION)
    evidence: Positions = ()
    answerable: bool = True


class Benchmark(BaseModel):
    """Memories by id, samples, and the quirks the loader met, counted by what they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    memories: dict[str, tuple[MemoryRecord, ...]]
    samples: tuple[Sample, ...]
    quirks: dict[str, int] = {}
    fingerprint: str
    """SHA-256 of all that was loaded: runs are compared only when it is the same."""
