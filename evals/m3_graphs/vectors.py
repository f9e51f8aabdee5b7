"""The vectors that graphs came with, as LangChain embeddings: texts are not embedded again, queries are."""

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings

from evals.benchmarks.checked import read_jsonl
from linmem_langgraph.errors import ConfigError


class StoredEmbeddings(Embeddings):
    """Vectors of texts that are known; a query is asked of the model they were made with.

    Args:
        stored: the vector of a text.
        queries: that model.
        name: what the vectors are called: an index of others is not compared with them.
    """

    def __init__(self, stored: Callable[[str], np.ndarray], queries: Embeddings, *, name: str = "stored") -> None:
        self._stored, self._queries, self.model = stored, queries, name

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The stored vectors.

        Raises:
            ConfigError: a text has none.
        """
        return [self._stored(text).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """A new vector."""
        return self._queries.embed_query(text)


class StoredVectors:
    """What `python -m evals import-graphs` kept in a folder; of a text with several vectors the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, text: str) -> np.ndarray:
        """The vector (dimensions,) of a text.

        Raises:
            ConfigError: there is none.
        """
        place = self._places.get(hash(text))
        if place is None:
            raise ConfigError(f"{self._folder / 'vectors'} has no vector of {text!r:.80}: import its graph again")
        video, row = place
        found: np.ndarray = _matrix(self._folder / "vectors" / f"{video}.npz")[row]
        return found

    @cached_property
    def _places(self) -> Mapping[int, tuple[str, int]]:
        """Video and row by the hash of a text: the texts themselves would take too much."""
        places = dict[int, tuple[str, int]]()
        for file in sorted((self._folder / "vectors").glob("*.npz")):
            with np.load(file) as stored:
                rows = {f"node_{number}": row for row, number in reversed([*enumerate(stored["nodes"].tolist())])}
            for _, record in read_jsonl(self._folder / "memories" / f"{file.stem}.jsonl"):
                if (row := rows.get(str(record.get("key")))) is not None:
                    places.setdefault(hash(str(record.get("text"))), (file.stem, row))
        return places


@lru_cache(maxsize=4)
def _matrix(file: Path) -> np.ndarray:
    with np.load(file) as stored:
        found: np.ndarray = stored["vectors"]
        return found
