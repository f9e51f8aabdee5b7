"""What every reader says to the same questions, by number of clips; kept, so that a run goes on where it stopped."""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from langgraph.store.memory import InMemoryStore

from evals.tiny.chat import ANSWER, TinyChatModel
from evals.tiny.measure import Home, Result, homes, measure
from linmem_langgraph import ChromaReader, LinearReader, Memory, Reader
from linmem_langgraph.embeddings import LexicalEmbeddings

RANKING = 20
"""Positions that retrieval names."""

Measured = Mapping[str, Mapping[int, list[Result]]]
"""Results by reader and number of clips."""


class Compared(NamedTuple):
    """A reader; `version` tells it from others, and from itself with other weights or options."""

    version: str
    make: Callable[[], Reader]


RETRIEVAL = "chroma (lexical)"
_CHROMA = Compared(
    f"lexical, by position, {RANKING}",
    lambda: ChromaReader(embeddings=LexicalEmbeddings(), by="position", limit=RANKING),
)


def measured(
    models: Mapping[str, TinyChatModel],
    lengths: Sequence[int],
    questions: int,
    folder: Path,
    say: Callable[[str], object],
) -> Measured:
    """Ask them all what is not in the folder yet; retrieval first."""
    found: dict[str, dict[int, list[Result]]] = {}
    for clips in lengths:
        asked = homes(clips, questions)
        for name, reader in ({RETRIEVAL: _CHROMA} | {name: _linear(model) for name, model in models.items()}).items():
            file = folder / f"{clips}_{_digest(reader.version, asked)}.json"
            if not file.exists():
                say(f"{name}: {questions} questions about households of {clips} clips")
                _measure(reader.make(), asked, file)
            found.setdefault(name, {})[clips] = [_result(row) for row in json.loads(file.read_text("utf-8"))]
    return found


def _linear(model: TinyChatModel) -> Compared:
    return Compared(f"{model.fingerprint}, {ANSWER}", lambda: LinearReader(model, max_tokens=ANSWER))


def _digest(version: str, asked: Sequence[Home]) -> str:
    """Of the reader and all that it is told and asked."""
    told = [([record.text for record in home.records], [draft.told for draft in home.asked]) for home in asked]
    return sha256(json.dumps([version, told]).encode()).hexdigest()[:16]


def _measure(reader: Reader, asked: Sequence[Home], file: Path) -> None:
    with Memory(reader, store=InMemoryStore()) as memory:
        results = measure(memory, asked)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps([result._asdict() for result in results]), "utf-8")
    partial.replace(file)


def _result(row: dict[str, object]) -> Result:
    found = Result(**row)  # type: ignore[arg-type]
    return found._replace(named=tuple(found.named), evidence=tuple(found.evidence))
