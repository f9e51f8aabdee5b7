"""Records from texts, from lines and from JSON Lines; and JSON Lines from records."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from linmem_langgraph.errors import ConfigError, RecordError
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
    return [_record({**fields, "text": text}, f"text {number}") for number, text in enumerate(texts, start=1)]


def from_lines(data: bytes, place: str, fields: Fields) -> list[MemoryRecord]:
    """A record a line: JSON Lines if the first line begins with a brace, else texts, each with the further `fields`.

    Raises:
        RecordError: a line is not a valid record, or JSON Lines came with further fields.
    """
    lines = _lines(data, place)
    if not lines or not lines[0][1].startswith(b"{"):
        return [_record({**fields, "text": _text(line, at)}, at) for at, line in lines]
    if fields:
        raise RecordError(f"{place} is JSON Lines, where each row has its own fields: leave out {', '.join(fields)}")
    return from_rows(data, place)


def from_rows(data: bytes, place: str) -> list[MemoryRecord]:
    """The records of JSON Lines, as `to_rows` gives them.

    Raises:
        RecordError: a row is cut off or not a valid record.
    """
    return [_record(_row(line, at), at) for at, line in _lines(data, place)]


def to_rows(records: Iterable[MemoryRecord]) -> bytes:
    """JSON Lines, byte for byte what `Memory.export_jsonl` writes."""
    rows = (json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n" for record in records)
    return "".join(rows).encode()


def _lines(data: bytes, place: str) -> list[tuple[str, bytes]]:
    """The lines that are not blank, each with its place."""
    lines = enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    return [(f"{place}, line {number}", line.removesuffix(b"\r")) for number, line in lines if line.strip()]


def _text(line: bytes, place: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as exc:
        raise RecordError(f"{place}: not UTF-8 ({exc.reason} at byte {exc.start}); nothing was written") from exc


def _row(line: bytes, place: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise RecordError(f"{place}: not JSON, perhaps cut off ({exc}); nothing was written") from exc


def _record(fields: Any, place: str) -> MemoryRecord:
    try:
        return MemoryRecord.model_validate(fields)
    except ValidationError as exc:
        problem = exc.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "record"
        raise RecordError(f"{place}, field {field!r:.80}: {problem['msg']}; nothing was written") from exc
