"""A reader is given memories and asked about them; what it says is kept with what it took."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel, ConfigDict, ValidationError

from evals.compare_readers.candidates import Candidate
from linmem_langgraph import Memory, MemoryRecord, Reading

logger = logging.getLogger(__name__)

NAMESPACE = ("compared",)

Read = Callable[..., Reading]
"""`Memory.read` of the memory that is asked."""

SINGLE = 4
"""Records of each memory that are written one by one, the last ones."""


class Asked(BaseModel):
    """One question: how well it was answered, and what the read took, in seconds and tokens.

    Args:
        cluster: of the questions that are not independent.
        scores: by measure, from 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str
    question: str
    scores: dict[str, float]
    seconds: float
    prompt: int = 0
    cached: int = 0


class Written(BaseModel):
    """What one memory took.

    Args:
        records: how many it has.
        filled: seconds a record, written all together, until the reader has followed.
        acknowledged: seconds of each single write, until the log has it.
        followed: seconds of each single write, until the reader has followed.
        state: bytes of what the reader keeps beside the log, on disk and in this process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: int
    filled: float
    acknowledged: list[float]
    followed: list[float]
    state: int


class Measured(BaseModel):
    """What was measured; `error` = why nothing was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: str = ""


class Work(Measured):
    """A reader's work on memories of one size."""

    asked: list[Asked] = []
    written: list[Written] = []


Kind = TypeVar("Kind", bound=Measured)


def kept(folder: Path, told: str, kind: type[Kind], work: Callable[[], Kind]) -> Kind:
    """`work`, from the folder if it is there; one that failed is told apart from wrong answers, and done again then.

    Args:
        told: all that the work depends on.
    """
    file = folder / f"{sha256(told.encode()).hexdigest()[:16]}.json"
    try:
        return kind.model_validate_json(file.read_text("utf-8"))
    except (OSError, ValidationError):
        pass
    try:
        done = work()
    except Exception as exc:
        logger.debug("a reader failed", exc_info=True)
        return kind(error=f"{type(exc).__name__}: {' '.join(str(exc).split())}")
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(done.model_dump_json(), "utf-8")
    new.replace(file)
    return done


def all_kept(folder: Path, works: Iterable[tuple[str, Callable[[], Work]]]) -> Work:
    """`kept` of each, one after the other, as one work; the first that fails ends it, and those before it stay kept."""
    done = list[Work]()
    for told, work in works:
        done.append(kept(folder, told, Work, work))
        if done[-1].error:
            return done[-1]
    return Work(asked=[a for each in done for a in each.asked], written=[w for each in done for w in each.written])


def answered(cluster: str, question: str, scores: dict[str, float], reading: Reading) -> Asked:
    """A question with what its reading took."""
    return Asked(
        cluster=cluster,
        question=question,
        scores=scores,
        seconds=reading.seconds,
        prompt=reading.usage.prompt_tokens,
        cached=reading.usage.cached_tokens,
    )


@contextmanager
def filled(candidate: Candidate, records: Sequence[MemoryRecord]) -> Iterator[tuple[Read, Written]]:
    """A memory of those records: what reads it, and what it took to fill it."""
    with TemporaryDirectory() as folder, Memory(candidate.make(Path(folder)), store=InMemoryStore()) as memory:
        try:
            yield partial(memory.read, NAMESPACE), _fill(memory, candidate, records, Path(folder))
        finally:
            memory.forget(NAMESPACE)


def _fill(memory: Memory, candidate: Candidate, records: Sequence[MemoryRecord], folder: Path) -> Written:
    first = records[:-SINGLE]
    begin = time.perf_counter()
    memory.write(NAMESPACE, first)
    memory.flush()
    seconds = (time.perf_counter() - begin) / len(first)
    # What a model keeps of the memory as it was before each single write is of no use, so it is not counted.
    state = candidate.held() + sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    acknowledged, followed = list[float](), list[float]()
    for record in records[-SINGLE:]:
        begin = time.perf_counter()
        memory.write(NAMESPACE, record)
        acknowledged.append(time.perf_counter() - begin)
        memory.flush()
        followed.append(time.perf_counter() - begin)
    return Written(records=len(records), filled=seconds, acknowledged=acknowledged, followed=followed, state=state)
