"""What readers say to the same questions, by number of clips; kept, so that a run goes on where it stopped."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from langgraph.store.memory import InMemoryStore

from evals.tiny.chat import ANSWER, TinyChatModel
from evals.tiny.measure import Home, Result, measure, measure_as_told
from linmem_langgraph import ChromaReader, LinearReader, Memory, Reader
from linmem_langgraph.embeddings import LexicalEmbeddings

Measured = Mapping[str, Mapping[int, list[Result]]]
"""Results by reader and number of clips."""


Measure = Callable[[Sequence[Home]], list[Result]]
"""Asks a reader."""


class Compared(NamedTuple):
    """A reader; `version` tells it from others, and from itself with other weights or options."""

    version: str
    measure: Measure


def chroma(limit: int) -> Compared:
    """Chroma as `make demo` has it, with so many positions."""
    reader = partial(ChromaReader, embeddings=LexicalEmbeddings(), by="position", limit=limit)
    return Compared(f"lexical, by position, {limit}", lambda asked: _read(reader(), asked))


def linear(model: TinyChatModel) -> Compared:
    """The linear reader."""
    version = f"{model.fingerprint}, {ANSWER}"
    return Compared(version, lambda asked: _read(LinearReader(model, max_tokens=ANSWER), asked))


def as_told(model: TinyChatModel) -> Compared:
    """A model that reads the records in the order in which they come."""
    return Compared(f"{model.fingerprint}, as told", partial(measure_as_told, model))


def measured(
    readers: Mapping[str, Compared], asked: Mapping[int, Sequence[Home]], folder: Path, say: Callable[[str], object]
) -> Measured:
    """Ask them all what is not in the folder yet.

    Args:
        asked: households by the number of their clips.
    """
    found: dict[str, dict[int, list[Result]]] = {name: {} for name in readers}
    for clips, homes in asked.items():
        for name, reader in readers.items():
            file = folder / f"{clips}_{_digest(reader.version, homes)}.json"
            if not file.exists():
                say(f"{name}: {sum(len(home.asked) for home in homes)} questions about households of {clips} clips")
                _keep(reader.measure(homes), file)
            found[name][clips] = [_result(row) for row in json.loads(file.read_text("utf-8"))]
    return found


def _digest(version: str, asked: Sequence[Home]) -> str:
    """Of the reader, all that it is told and asked, and what is kept of an answer."""
    told = [([record.text for record in home.records], [draft.told for draft in home.asked]) for home in asked]
    return sha256(json.dumps([version, Result._fields, told]).encode()).hexdigest()[:16]


def _read(reader: Reader, asked: Sequence[Home]) -> list[Result]:
    with Memory(reader, store=InMemoryStore()) as memory:
        return measure(memory, asked)


def _keep(results: Sequence[Result], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps([result._asdict() for result in results]), "utf-8")
    new.replace(file)


def _result(row: dict[str, object]) -> Result:
    found = Result(**row)  # type: ignore[arg-type]
    return found._replace(named=tuple(found.named), evidence=tuple(found.evidence))
