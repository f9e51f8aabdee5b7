"""Embeddings of every kind behind one face, and the default one that cannot be had."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from chromadb.api.types import Documents, EmbeddingFunction
from chromadb.api.types import Embeddings as ChromaVectors
from langchain_core.embeddings import Embeddings
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, ConfigError, Memory, ReaderUnavailable
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._embedder import Embedder

LEXICAL = LexicalEmbeddings(64)


class ChromaFunction(EmbeddingFunction[Documents]):
    """A Chroma embedding function as their documentation has it; a query is embedded in a way of its own."""

    def __init__(self, model: str = "one") -> None:
        self.model = model

    def __call__(self, input: Documents) -> ChromaVectors:
        return [np.array(vector, dtype=np.float32) for vector in LEXICAL.embed_documents(input)]

    def embed_query(self, input: Documents) -> ChromaVectors:
        return self([f"query {text}" for text in input])

    @staticmethod
    def name() -> str:
        return "test-function"

    def get_config(self) -> dict[str, Any]:
        return {"model": self.model}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "ChromaFunction":
        return ChromaFunction(**config)


def plain_function(input: list[str]) -> list[list[float]]:
    """A function alone."""
    return LEXICAL.embed_documents(input)


@pytest.mark.parametrize("given", [LEXICAL, ChromaFunction(), plain_function], ids=["langchain", "chroma", "function"])
def test_every_kind_of_embedding(tmp_path: Path, namespace: Namespace, given: Any) -> None:
    with Memory(ChromaReader(tmp_path, embeddings=given), store=InMemoryStore()) as memory:
        memory.write(namespace, ["Anna sleeps", "Bert reads a book"])
        assert memory.read(namespace, "who reads a book", limit=1).text == "[1] Bert reads a book"
        memory.flush()


def test_a_query_is_embedded_its_own_way() -> None:
    embedder = Embedder(ChromaFunction())
    assert np.allclose(embedder.query("mug"), LEXICAL.embed_query("query mug"), atol=1e-6)
    assert np.allclose(embedder.documents(["mug"])[0], LEXICAL.embed_query("mug"), atol=1e-6)


def test_the_name_tells_embeddings_apart() -> None:
    names = [
        Embedder(given).name
        for given in (None, LEXICAL, LexicalEmbeddings(128), ChromaFunction(), ChromaFunction("two"), plain_function)
    ]
    assert len(set(names)) == len(names)
    assert Embedder(ChromaFunction()).name == Embedder(ChromaFunction()).name


@pytest.mark.parametrize("given", ["all-MiniLM-L6-v2", 7, object()])
def test_what_cannot_embed_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="LangChain Embeddings"):
        Embedder(given)


class Broken(Embeddings):
    """Gives what it was made with."""

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.vectors  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


@pytest.mark.parametrize(
    "vectors", [[], None, [[1.0, 0.0]], [["a", "b"]] * 2, [[1.0, 0.0], [1.0]], [[float("nan")] * 2] * 2]
)
def test_embeddings_that_give_nonsense_are_an_error_of_this_package(
    tmp_path: Path, namespace: Namespace, vectors: Any
) -> None:
    with Memory(ChromaReader(tmp_path, embeddings=Broken(vectors)), store=InMemoryStore()) as memory:
        memory.write(namespace, ["Anna sleeps", "Bert reads"])
        with pytest.raises(ReaderUnavailable, match=r"embedding .*Broken failed: "):
            memory.flush()
        with pytest.raises(ReaderUnavailable, match=r"embedding .*Broken failed: "):
            memory.read(namespace, "Anna")


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Chroma's default model is not here, and cannot be fetched."""
    from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2

    tried: list[str] = []

    def refuse(self: object, url: str, *arguments: object, **named: object) -> None:
        tried.append(url)
        raise httpx.ConnectError("Name or service not known")

    monkeypatch.setattr(ONNXMiniLM_L6_V2, "DOWNLOAD_PATH", tmp_path / "models")
    monkeypatch.setattr(ONNXMiniLM_L6_V2, "_download", refuse)
    return tried


def test_the_default_that_cannot_be_downloaded_is_an_error_with_the_alternatives(
    tmp_path: Path, namespace: Namespace, no_download: list[str]
) -> None:
    with Memory.open(tmp_path / "memory") as memory:
        memory.write(namespace, "Anna sleeps")
        for act in (memory.flush, lambda: memory.read(namespace, "Anna"), lambda: memory.rebuild(namespace)):
            with pytest.raises(ReaderUnavailable, match="could not be loaded") as refused:
                act()
            for word in ("MiniLM", "LangChain", "embedding function", "LexicalEmbeddings"):
                assert word in str(refused.value)
        assert no_download
        assert [record.text for record in memory.records(namespace)] == ["Anna sleeps"]
        assert memory.forget(namespace).from_log == 1
        memory.write(namespace, "Bert reads")
    # Nothing was indexed with anything else meanwhile, and a named alternative is taken as it is.
    with Memory.open(tmp_path / "memory", embeddings=LexicalEmbeddings(64)) as memory:
        try:
            reading = memory.read(namespace, "Bert")
        except ConfigError:
            memory.rebuild(namespace)
            reading = memory.read(namespace, "Bert")
        assert reading.text == "[0] Bert reads"
