"""Readers by name; each is loaded only when it is chosen."""

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers.base import Query, Reader

READERS = {"chroma": "linmem_langgraph.readers.chroma:ChromaReader"}

__all__ = ["READERS", "Query", "Reader", "create_reader"]


def create_reader(reader: str | Reader, path: Path, options: dict[str, Any]) -> Reader:
    """The reader of that name, keeping its files under `path`; a reader is returned as it is.

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
    known = [name for name in signature(factory).parameters if name not in ("path", "client")]
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f"unknown option {unknown[0]!r} of the {reader} reader; choose {', '.join(known)}")
    made: Reader = factory(path / reader, **options)
    return made
