"""One face for LangChain embeddings and Chroma embedding functions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from linmem_langgraph.errors import ConfigError, ReaderUnavailable

Vectors = list[np.ndarray]


class Embedder:
    """Turns texts into vectors.

    Args:
        embeddings: a LangChain `Embeddings`, a Chroma embedding function, or None for Chroma's default
            (all-MiniLM-L6-v2 in ONNX, downloaded at first use).

    Raises:
        ConfigError: it is none of these.
    """

    def __init__(self, embeddings: Any = None) -> None:
        if embeddings is not None and not isinstance(embeddings, Embeddings) and not callable(embeddings):
            raise ConfigError(
                f"embeddings is {embeddings!r}: give a LangChain Embeddings, a Chroma embedding function or None"
            )
        self._given = embeddings
        self._is_default = embeddings is None
        self.name = _DEFAULT if embeddings is None else _name(embeddings)
        """Identifies the vectors: an index made by another name is not comparable."""

    def documents(self, texts: Sequence[str]) -> Vectors:
        """One vector for each text."""
        return self._call("embed_documents", list(texts))

    def query(self, text: str) -> np.ndarray:
        """The vector of a search text."""
        return self._call("embed_query", text if isinstance(self._given, Embeddings) else [text])[0]

    def _call(self, method: str, texts: Any) -> Vectors:
        try:
            if self._given is None:
                from chromadb.utils.embedding_functions import DefaultEmbeddingFunction

                self._given = DefaultEmbeddingFunction()
            # A Chroma embedding function is called for documents, and may have a way of its own for queries.
            embed = getattr(self._given, method, self._given)
            vectors = [np.asarray(vector, dtype=np.float32) for vector in _rows(embed(texts))]
            wanted = len(texts) if isinstance(texts, list) else 1
            if len(vectors) != wanted or len({vector.shape for vector in vectors}) != 1 or vectors[0].ndim != 1:
                shapes = [vector.shape for vector in vectors[:3]]
                raise ValueError(f"it gave {len(vectors)} vectors of shapes {shapes} for {wanted} texts")
            if not vectors[0].size or not np.isfinite(vectors).all():
                what = "numbers that are not finite" if vectors[0].size else "vectors without numbers"
                raise ValueError(f"it gave {what}: look at its model, and at the texts that it was given")
            return vectors
        except Exception as exc:
            raise ReaderUnavailable(
                _DEFAULT_HELP if self._is_default else f"embedding {self.name} failed: {exc}"
            ) from exc


_SETTINGS = ("model", "model_name", "dimensions")

_DEFAULT = "chroma:default:all-MiniLM-L6-v2"

_DEFAULT_HELP = (
    "Chroma's default embedding (all-MiniLM-L6-v2, 80 MB, downloaded at first use) could not be loaded. Allow the "
    "download once, or choose another embedding: embeddings=... takes any LangChain Embeddings, any "
    "Chroma embedding function (such as SentenceTransformerEmbeddingFunction with a local folder), or "
    "linmem_langgraph.embeddings.LexicalEmbeddings(), which needs no weights and knows no meaning"
)


def _rows(vectors: Any) -> Any:
    """The vectors as rows: LangChain's `embed_query` returns a single one."""
    return vectors if np.ndim(vectors[0]) else [vectors]


def _name(embeddings: Any) -> str:
    if isinstance(embeddings, Embeddings):
        kind = f"langchain:{type(embeddings).__qualname__}"
        settings = [getattr(embeddings, name, None) for name in _SETTINGS]
    else:
        # Chroma's base class leaves both unimplemented: a function of one's own may have neither.
        named, config = _told(embeddings, "name"), _told(embeddings, "get_config")
        if named == "default":
            return _DEFAULT
        kind = f"chroma:{named if isinstance(named, str) else type(embeddings).__qualname__}"
        settings = [config.get(name) for name in _SETTINGS] if isinstance(config, dict) else []
    return ":".join([kind, *(str(setting) for setting in settings if setting is not None)])


def _told(embeddings: Any, method: str) -> Any:
    ask = getattr(embeddings, method, None)
    try:
        return ask() if callable(ask) else None
    except NotImplementedError:
        return None
