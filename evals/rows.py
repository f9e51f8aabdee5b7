"""The rows of a run's files, appended one by one and durable, so that a killed run resumes to the row."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from evals.benchmarks.checked import parse, read_jsonl, shown
from evals.samples import PART
from linmem_langgraph.errors import ConfigError

Key = tuple[str, str, int]

R = TypeVar("R", bound="Row")


class Row(BaseModel):
    """A row is about one question, asked in one arm of a run with one seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    arm: str
    config: str
    question_id: str
    seed: int

    @property
    def key(self) -> Key:
        """What makes a row unique in its file."""
        return self.config, self.question_id, self.seed


class Tokens(BaseModel):
    """Tokens used, summed over calls."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: int = 0
    cached: int = 0
    completion: int = 0


def added(parts: Iterable[Tokens]) -> Tokens:
    """All of them together."""
    each = list(parts)
    return Tokens(**{name: sum(getattr(part, name) for part in each) for name in Tokens.model_fields})


class Call(TypedDict):
    """A tool that the model called."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    name: str
    args: dict[str, Any]


class Message(TypedDict):
    """What was said; `positions` are those a search found, `written` is how a model wrote what it found."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    role: str
    text: str
    calls: NotRequired[list[Call]]
    positions: NotRequired[list[int]]
    written: NotRequired[dict[str, Any]]


class Prediction(Row):
    """What an agent answered.

    Args:
        gold: the gold answer; None = it cannot be scored.
        error: what went wrong, "" if nothing did; a row with an error counts as wrong and is shown as an error.
        messages: the dialogue.
        shown: the positions that the searches returned, in order of appearance.
        ranking: the positions a direct read with the question returned, best first, each once.
        candidates: how many positions the memory has as of `until`.
    """

    memory: str
    question: str
    gold: str | None
    types: tuple[str, ...]
    until: int | None
    evidence: tuple[int, ...]
    answerable: bool
    answer: str = ""
    error: str = ""
    rounds: int = 0
    searches: int = 0
    forced: bool = False
    unparsable: int = 0
    seconds: float = 0.0
    controller: Tokens = Tokens()
    reader: Tokens = Tokens()
    messages: tuple[Message, ...] = ()
    shown: tuple[int, ...] = ()
    ranking: tuple[int, ...] = ()
    candidates: int = 0

    @property
    def cluster(self) -> str:
        """What its figures depend on with those of others: the memory, of which it may have been asked a part."""
        return self.memory.partition(PART)[0]


class Grade(Row):
    """What the judge made of a prediction.

    Args:
        label: "unscored" where there is no gold answer; an "error" counts as wrong.
        f1: token F1 against the gold answer, whoever judged.
        judge: who judged: kind, model, parse, and a hash of prompt and options.
        answer: a hash of the answer that was judged: another answer needs another grade.
        raw: the judge's reply.
        flagged: the reply could not be read, even when asked again; the label is then "incorrect".
        other: what the other way to read the reply ("official" or "strict") says; None where there is none.
        tokens: of the judge's model.
    """

    label: str
    f1: float
    judge: str
    answer: str = ""
    raw: str = ""
    flagged: bool = False
    other: str | None = None
    tokens: Tokens = Tokens()

    @property
    def score(self) -> float:
        """1 if correct, else 0."""
        return float(self.label == "correct")


class RowFile:
    """A JSONL file of rows; safe to append to from several threads of one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()

    def read(self, model: type[R], *, cut_off: bool = False) -> Iterator[R]:
        """The rows, each of its key once.

        Args:
            cut_off: pass over a last one that was cut off when a process was killed, where nothing is to be written.

        Raises:
            ConfigError: a row is wrong or stands twice; file, line and field are named.
        """
        seen: set[Key] = set()
        for place, fields in read_jsonl(self.path, cut_off=cut_off) if self.path.exists() else ():
            row = parse(model, fields, place)
            if row.key in seen:
                name = f"question {shown(row.question_id)} of arm {shown(row.arm)}"
                raise ConfigError(f"{place}: {name} stands there twice")
            seen.add(row.key)
            yield row

    def mend(self) -> None:
        """Drop a last row that was cut off when a process was killed."""
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)
                os.fsync(file.fileno())

    def replace(self, rows: Iterable[Row]) -> None:
        """Have these rows and no others."""
        new = RowFile(self.path.with_name(f"{self.path.name}.new"))
        new.path.unlink(missing_ok=True)
        for row in rows:
            new.append(row)
        new.path.touch()
        new.path.replace(self.path)

    def append(self, row: Row) -> None:
        """Add a row; on return it is on the disk."""
        line = json.dumps(row.model_dump(), ensure_ascii=False) + "\n"
        with self._lock, self.path.open("ab") as file:
            file.write(line.encode("utf-8", errors="backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
