"""Records as JSON Lines: what a namespace is exported to and imported from."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from linmem_langgraph.errors import ConfigError, RecordError
from linmem_langgraph.records import MemoryRecord


def write_jsonl(path: Path, records: Iterable[MemoryRecord]) -> int:
    """Write a row a record, all or nothing; how many.

    Raises:
        ConfigError: the file cannot be written.
    """
    rows = [json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n" for record in records]
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text("".join(rows), encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}") from exc
    return len(rows)


def read_jsonl(path: Path) -> list[MemoryRecord]:
    """The records in a file.

    Raises:
        ConfigError: the file cannot be read.
        RecordError: a row is not a record; its line and field are named.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror or exc}") from exc
    return [_record(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _record(line: bytes, place: str) -> MemoryRecord:
    try:
        return MemoryRecord.model_validate(json.loads(line))
    except ValidationError as exc:
        problem = exc.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "record"
        raise RecordError(f"{place}, field {field!r}: {problem['msg']}; nothing was imported") from exc
    except ValueError as exc:
        raise RecordError(f"{place}: not JSON, perhaps cut off ({exc}); nothing was imported") from exc
