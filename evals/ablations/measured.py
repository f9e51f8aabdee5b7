"""What every reader says to the same questions, by number of clips; kept, so that a run goes on where it stopped."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from langgraph.store.memory import InMemoryStore

from evals.tiny.chat import tiny_model
from evals.tiny.measure import Result, measure
from linmem_langgraph import ChromaReader, LinearReader, Memory, Reader
from linmem_langgraph.embeddings import LexicalEmbeddings

RETRIEVAL = "chroma (lexical)"

Measured = Mapping[str, Mapping[int, list[Result]]]
"""Results by reader and number of clips."""


def readers(models: Mapping[str, str]) -> dict[str, Callable[[], Reader]]:
    """What makes each reader that is compared: retrieval, and one for each of the models, by what it is called."""
    made: dict[str, Callable[[], Reader]] = {
        RETRIEVAL: lambda: ChromaReader(embeddings=LexicalEmbeddings(), by="position", limit=20)
    }
    return made | {name: lambda model=model: LinearReader(tiny_model(model)) for name, model in models.items()}


def measured(
    models: Mapping[str, str], lengths: list[int], questions: int, folder: Path, say: Callable[[str], object]
) -> Measured:
    """Ask them all what is not in the folder yet."""
    found: dict[str, dict[int, list[Result]]] = {}
    for name, make in readers(models).items():
        version = tiny_model(models[name]).fingerprint[:12] if name in models else "chroma"
        for clips in lengths:
            file = folder / f"{version}_{clips}_{questions}.json"
            if not file.exists():
                say(f"{name}: {questions} questions about households of {clips} clips")
                _measure(make(), clips, questions, file)
            found.setdefault(name, {})[clips] = [_result(row) for row in json.loads(file.read_text("utf-8"))]
    return found


def _measure(reader: Reader, clips: int, questions: int, file: Path) -> None:
    with Memory(reader, store=InMemoryStore()) as memory:
        results = measure(memory, clips, questions)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(results), "utf-8")
    partial.replace(file)


def _result(row: list[object]) -> Result:
    found = Result(*row)  # type: ignore[arg-type]
    return found._replace(named=tuple(found.named), evidence=tuple(found.evidence))
