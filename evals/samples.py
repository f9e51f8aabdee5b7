"""What every benchmark is turned into: memories to write, and samples to ask of them."""

from pydantic import BaseModel, ConfigDict, Field

from linmem_langgraph.records import MemoryRecord

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

    id: str = Field(min_length=1)
    memory: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: str | None
    types: tuple[str, ...] = ()
    until: int | None = Field(default=None, ge=0)
    evidence: tuple[int, ...] = ()
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
