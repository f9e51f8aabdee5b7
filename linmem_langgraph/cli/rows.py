"""Records from texts and from lines."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from linmem_langgraph.errors import ConfigError, RecordError
from linmem_langgraph.jsonl import as_valid, from_rows, lines
from linmem_langgraph.records import MemoryRecord

Fields = dict[str, Any]

STREAM = "-"
"""Stands for stdin, or stdout, in place of a file."""


def read_source(source: str) -> tuple[bytes, str]:
    """The content of a file, or of stdin for "-"; and what to call it in errors.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return (sys.stdin.buffer.read(), "stdin") if source == STREAM else (Path(source).read_bytes(), source)
    except OSError as exc:
        raise ConfigError(f"cannot read {source}: {exc.strerror or exc}") from exc


def from_texts(texts: Iterable[str], fields: Fields) -> list[MemoryRecord]:
    """A record a text, each with the further `fields`.

    Raises:
        RecordError: one is not valid.
    """
    return [as_valid({**fields, "text": text}, f"text {number}") for number, text in enumerate(texts, start=1)]


def from_lines(data: bytes, place: str, fields: Fields) -> list[MemoryRecord]:
    """A record a line: JSON Lines if the first line begins with a brace, else texts, each with the further `fields`.

    Raises:
        RecordError: a line is not a valid record, or JSON Lines came with further fields.
    """
    found = lines(data, place)
    if not found or not found[0][1].startswith(b"{"):
        return [as_valid({**fields, "text": _text(line, at)}, at) for at, line in found]
    if fields:
        raise RecordError(f"{place} is JSON Lines, where each row has its own fields: leave out {', '.join(fields)}")
    return from_rows(data, place)


def _text(line: bytes, place: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as exc:
        raise RecordError(f"{place}: not UTF-8 ({exc.reason} at byte {exc.start}); nothing was written") from exc
