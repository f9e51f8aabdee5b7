"""Records as JSON Lines: what a namespace is exported to and imported from."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from linmem_langgraph.errors import ConfigError, RecordError
from linmem_langgraph.records import MemoryRecord


def write_jsonl(path: Path, records: Iterable[MemoryRecord]) -> int:
    """Write a row a record, all or nothing; how many.

    Raises:
        ConfigError: the file cannot be written.
    """
    rows = to_rows(records)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(rows)
        partial.replace(path)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}") from exc
    return rows.count(b"\n")


def read_jsonl(path: Path) -> list[MemoryRecord]:
    """The records in a file.

    Raises:
        ConfigError: the file cannot be read.
        RecordError: a row is not a record; its line and field are named.
    """
    try:
        return from_rows(path.read_bytes(), str(path))
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror or exc}") from exc


def to_rows(records: Iterable[MemoryRecord]) -> bytes:
    """A row a record."""
    rows = (json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n" for record in records)
    return "".join(rows).encode()


def from_rows(data: bytes, place: str) -> list[MemoryRecord]:
    """The records of rows as `to_rows` makes them; `place` is what errors call their source.

    Raises:
        RecordError: a row is cut off or not a valid record.
    """
    return [as_valid(_row(line, at), at) for at, line in lines(data, place)]


def lines(data: bytes, place: str) -> list[tuple[str, bytes]]:
    """The lines that are not blank, each with what errors call it."""
    numbered = enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    return [(f"{place}, line {number}", line.removesuffix(b"\r")) for number, line in numbered if line.strip()]


def as_valid(fields: Any, place: str) -> MemoryRecord:
    """The record of these fields.

    Raises:
        RecordError: one is wrong.
    """
    try:
        return MemoryRecord.model_validate(fields)
    except ValidationError as exc:
        problem = exc.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "record"
        raise RecordError(f"{place}, field {field!r:.80}: {problem['msg']}; nothing was written") from exc


def _row(line: bytes, place: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise RecordError(f"{place}: not JSON, perhaps cut off ({exc}); nothing was written") from exc
