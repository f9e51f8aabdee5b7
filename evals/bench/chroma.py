"""Our writes and reads against bare chromadb with the same vectors, in one process.

Bare chromadb is what a user would otherwise write: `collection.add` and `collection.query` with ids, texts, vectors and
positions. Ours has the durable log besides: a write is timed until the log has it and the index is up to date
(`write` + `flush`), and also until it is acknowledged (`write` alone).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from langchain_core.embeddings import Embeddings
from rich.console import Console
from rich.table import Table

from evals.bench.timing import Ratio, compare
from linmem_langgraph import Memory, MemoryRecord

DIMENSIONS = 384
BATCH = 100
NAMESPACE = ("bench",)


class TableEmbeddings(Embeddings):
    """Looks vectors up, so that embedding costs both sides the same next to nothing."""

    model = "table"

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        # Around 50 centres: texts cluster, uniform noise does not, and HNSW is made for the former.
        centres = rng.normal(size=(50, DIMENSIONS))
        vectors = centres[rng.integers(0, 50, size)] + 0.7 * rng.normal(size=(size, DIMENSIONS))
        self.vectors: list[list[float]] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of texts such as "note 17: ..."."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text that begins with its number."""
        return self.vectors[int(text.split(" ", 1)[0])]


def text(number: int) -> str:
    """A caption of ordinary length."""
    return f"{number} Anna walks from the kitchen to the garden with the red mug and talks to Bob about note {number}."


class Sides:
    """The same records on both sides, in folders of their own."""

    def __init__(self, folder: Path, embeddings: TableEmbeddings) -> None:
        self._embeddings = embeddings
        self.memory = Memory.open(folder / "ours", embeddings=embeddings)
        settings = Settings(anonymized_telemetry=False)
        self._client: Any = chromadb.PersistentClient(str(folder / "theirs"), settings=settings)
        self._collection: Any = self._client.create_collection(
            "bench", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )

    def write(self, numbers: range) -> None:
        """Ours, until the index has it."""
        self.acknowledge(numbers)
        self.memory.flush()

    def acknowledge(self, numbers: range) -> None:
        """Ours, until the log has it."""
        self.memory.write(NAMESPACE, [MemoryRecord(text=text(n), position=n, key=str(n)) for n in numbers])

    def add(self, numbers: range) -> None:
        """Theirs."""
        texts = [text(n) for n in numbers]
        self._collection.add(
            ids=[str(n) for n in numbers],
            documents=texts,
            embeddings=self._embeddings.embed_documents(texts),
            metadatas=[{"position": n, "kind": "episodic"} for n in numbers],
        )

    def read(self, number: int) -> None:
        """Ours."""
        assert self.memory.read(NAMESPACE, text(number), limit=10).records

    def query(self, number: int) -> None:
        """Theirs."""
        vector = self._embeddings.embed_query(text(number))
        assert self._collection.query(query_embeddings=[vector], n_results=10)["ids"][0]

    def close(self) -> None:
        """Release both."""
        self.memory.close()
        self._client.close()


@contextmanager
def both_sides(size: int) -> Iterator[Sides]:
    """Empty sides that can hold `size` records."""
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(Path(folder), TableEmbeddings(size))
        try:
            yield sides
        finally:
            sides.close()


def measure(size: int, repeats: int) -> dict[str, Ratio]:
    """The ratios at `size` records."""
    batches = [range(start, min(start + BATCH, size)) for start in range(0, size, BATCH)]
    extra = size + 2 * (repeats + 1) * (BATCH + 1)
    with both_sides(extra) as sides:
        found = {
            f"fill {size:,} in batches of {BATCH}": compare(
                lambda run: sides.write(batches[run]), lambda run: sides.add(batches[run]), len(batches) - 1
            )
        }
        singles = [range(size + run, size + run + 1) for run in range(repeats + 1)]
        acknowledged = [range(size + repeats + 1 + run, size + repeats + 2 + run) for run in range(repeats + 1)]
        found["write 1"] = compare(lambda run: sides.write(singles[run]), lambda run: sides.add(singles[run]), repeats)
        found["write 1, acknowledged"] = compare(
            lambda run: sides.acknowledge(acknowledged[run]),
            lambda run: sides.add(acknowledged[run]),
            repeats,
            after=sides.memory.flush,
        )
        found["read 10 of it"] = compare(sides.read, sides.query, repeats)
    return found


def main(sizes: tuple[int, ...] = (1_000, 10_000), repeats: int = 200) -> None:
    """Print the ratios."""
    table = Table(title="Memory over ChromaReader against bare chromadb, same vectors")
    for column in ("records", "what", "ours ms", "chromadb ms", "ratio", "quartiles"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for size in sizes:
        for what, ratio in measure(size, repeats).items():
            quartiles = f"{ratio.low:.2f} to {ratio.high:.2f}"
            figures = (f"{1e3 * ratio.ours:.2f}", f"{1e3 * ratio.theirs:.2f}", f"{ratio.ratio:.2f}", quartiles)
            table.add_row(f"{size:,}", what, *figures)
    Console(width=120).print(table)
