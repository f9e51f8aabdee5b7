"""Readers by name; each is loaded only when it is chosen."""

from collections.abc import Collection
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from linmem_langgraph import by_name
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers.base import Query, Reader

READERS = {
    "chroma": "linmem_langgraph.readers.chroma:ChromaReader",
    "delta": "linmem_langgraph.readers.delta:DeltaReader",
    "hybrid": "linmem_langgraph.readers.hybrid:HybridReader",
    "linear": "linmem_langgraph.readers.linear:LinearReader",
    "rolling": "linmem_langgraph.readers.rolling:RollingReader",
}

__all__ = ["READERS", "Query", "Reader", "create_reader"]


def create_reader(reader: str | Reader, path: Path, options: dict[str, Any]) -> Reader:
    """The reader of that name, keeping its files in a folder under `path`; a reader is returned as it is.

    Args:
        options: the reader's own arguments. `embeddings` and `model` may be names, as in `linmem_langgraph.by_name`;
            beside a model's name, `base_url` says where it is served. Without a model: the one on `VLLM_BASE_URL`.

    Raises:
        ConfigError: the name or an option is unknown.
    """
    if isinstance(reader, Reader):
        if options:
            raise ConfigError(f"options {sorted(options)} need a reader's name, but a {reader.name} reader was given")
        return reader
    if reader not in READERS:
        raise ConfigError(f"unknown reader {reader!r}; choose {', '.join(READERS)}")
    module, _, name = READERS[reader].partition(":")
    factory = getattr(import_module(module), name)
    parameters = signature(factory).parameters.keys() - {"path", "client"}
    known = parameters | ({"base_url"} if "model" in parameters else set())
    if unknown := sorted(set(options) - known):
        raise ConfigError(f"unknown option {unknown[0]!r} of the {reader} reader; choose {', '.join(sorted(known))}")
    made: Reader = factory(**_named(options, parameters), path=path / reader)
    return made


def _named(options: dict[str, Any], parameters: Collection[str]) -> dict[str, Any]:
    """The options with a model and embeddings instead of their names."""
    named = dict(options)
    if isinstance(named.get("embeddings"), str):
        named["embeddings"] = by_name.embeddings(named["embeddings"])
    if "model" in parameters and isinstance(model := named.get("model", "vllm:"), str):
        url = {"base_url": named.pop("base_url")} if named.get("base_url") else {}
        named["model"] = by_name.chat_model(model, **url)
    if "base_url" in named:
        raise ConfigError(f"base_url is {named['base_url']!r}, but the model was given: give the model its base_url")
    return named
