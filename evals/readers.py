"""The reader a config names, and the two controls, which are readers as well."""

from collections.abc import Collection
from inspect import signature
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

from langchain_core.embeddings import Embeddings

from evals.cache import ContentCache
from evals.config import ReaderConfig
from evals.m3_graphs.formats import FORMATS, FormattedReader
from evals.m3_graphs.reader import GraphReader
from evals.m3_graphs.vectors import StoredEmbeddings, StoredVectors
from evals.reads import READS
from linmem_langgraph import by_name, transcript
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers import Query, Reader, create_reader
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.readers.chroma import ChromaReader
from linmem_langgraph.readers.linear import LinearReader
from linmem_langgraph.readers.rolling import RollingReader
from linmem_langgraph.records import Reading, ScoredRecord

EMBEDDED = "tiny:"
"""What the name of a model in this process begins with: "tiny:hybrid", "tiny:linear", or "tiny:" and a folder."""


def configured_reader(config: ReaderConfig, path: Path, cache: ContentCache | None = None) -> Reader:
    """The reader, keeping its files under `path`.

    Without `cache` nothing is found in a server's cache that another run left there; with it, what other such runs left
    is.

    Raises:
        ConfigError: the reader, an option, or the name of a model or of embeddings is unknown.
    """
    options = dict(config.options)
    if config.name == GraphReader.name:
        return _graph_reader(options, path, cache)
    if config.name == FormattedReader.name:
        return _formatted_reader(config, path, cache)
    if config.name in READS:
        if config.name != RollingReader.name and not str(options.get("model")).startswith(EMBEDDED):
            # Questions come as of positions: what is primed when it is read is what they read.
            options.setdefault("prime", "reads")
        # What is kept is found by its request, of which this is a part: it is the same in all runs that keep.
        options.setdefault("cache_secret", "kept" if cache else token_hex())
        if str(options.get("model")).startswith(EMBEDDED):
            from evals.tiny.chat import tiny_model  # onnxruntime

            options["model"] = tiny_model(options["model"].removeprefix(EMBEDDED))
        elif cache:
            url = {"base_url": options.pop("base_url")} if options.get("base_url") else {}
            options["model"] = cache.model(by_name.chat_model(options.get("model", "vllm:"), **url))
    if cache and (name := options.get("embeddings")):
        options["embeddings"] = _embeddings(name, cache)
    return create_reader(config.name, path, options)


def _formatted_reader(config: ReaderConfig, path: Path, cache: ContentCache | None) -> FormattedReader:
    """With `format`, and the options of the linear reader."""
    options = dict(config.options)
    format = options.pop("format", None)
    if format not in FORMATS:
        raise ConfigError(f"format of the m3_linear reader is {format!r}; choose {', '.join(FORMATS)}")
    inner = configured_reader(config.model_copy(update={"name": LinearReader.name, "options": options}), path, cache)
    assert isinstance(inner, LinearReader)
    return FormattedReader(inner, format)


def _embeddings(name: str, cache: ContentCache | None) -> Embeddings | None:
    """Those of that name; what is computed in this process is not kept."""
    found = by_name.embeddings(name)
    return cache.embeddings(found, name) if cache and found and ":" in name else found


def _graph_reader(options: dict[str, Any], path: Path, cache: ContentCache | None) -> GraphReader:
    """With `vectors`, the folder that graphs were imported into, and `embeddings`, what they were made with."""
    own = signature(GraphReader).parameters.keys() - {"inner"}
    known = {*own, "vectors", "embeddings", "hnsw"}
    if unknown := sorted(options.keys() - known):
        raise ConfigError(f"unknown option {unknown[0]!r} of the m3_graph reader; choose {', '.join(sorted(known))}")
    if not isinstance(folder := options.get("vectors"), str) or not (Path(folder) / "vectors").is_dir():
        raise ConfigError(f"vectors is {folder!r}: name the folder of python -m evals import-graphs")
    name = str(options.get("embeddings"))
    queries = _embeddings(name, cache)
    if queries is None:
        raise ConfigError("embeddings is 'default': name those the graphs were made with")
    stored = StoredEmbeddings(StoredVectors(Path(folder)), queries, name=f"graph:{name}")
    inner = create_reader("chroma", path, {"embeddings": stored, "hnsw": options.get("hnsw")})
    assert isinstance(inner, ChromaReader)
    return GraphReader(inner, **{name: value for name, value in options.items() if name in own})


def weights(config: ReaderConfig) -> str:
    """What tells the model of a reader from another one in the same folder; "" where a server has it."""
    model = str(config.options.get("model"))
    if not model.startswith(EMBEDDED):
        return ""
    from evals.tiny.chat import tiny_model  # onnxruntime

    return tiny_model(model.removeprefix(EMBEDDED)).fingerprint


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
