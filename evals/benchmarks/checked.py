"""Reading benchmark files so that whatever is wrong is named by file, line and field."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord

M = TypeVar("M", bound=BaseModel)


def read_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror or exc}") from exc


def read_json(path: Path) -> Any:
    """The JSON document in a file.

    Raises:
        ConfigError: it cannot be read or is not JSON.
    """
    content = read_bytes(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is not JSON: {exc}") from exc


def read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    """Where each row is ("file, line 3") and the object in it; empty lines are passed over.

    Raises:
        ConfigError: the file cannot be read, or a row is not a JSON object.
    """
    for number, line in enumerate(read_bytes(path).splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise ConfigError(f"{place}: not JSON, perhaps cut off: {exc}") from exc
        if not isinstance(row, dict):
            raise ConfigError(f"{place}: expected an object, found {type(row).__name__}")
        yield place, row


def parse(model: type[M], fields: Any, place: str) -> M:
    """`fields` as a `model`.

    Raises:
        ConfigError: a field is missing, unknown or wrong.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        problem = exc.errors()[0]
        field = ".".join(map(str, problem["loc"])) or model.__name__
        if problem["type"] == "extra_forbidden":
            known = ", ".join(_fields_at(model, problem["loc"][:-1]))
            raise ConfigError(f"{place}, field {field!r}: unknown; choose {known}") from exc
        raise ConfigError(f"{place}, field {field!r}: {problem['msg']} (found {problem['input']!r:.80})") from exc


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The fields of the model at a place inside `model`."""
    for name in place:
        kinds = get_args(model.model_fields[str(name)].annotation) or (model.model_fields[str(name)].annotation,)
        model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(model.model_fields)


def once(seen: set[tuple[str, ...]], value: str, place: str, field: str, *within: str) -> None:
    """Note `value` in `seen`, for what it is `within`.

    Raises:
        ConfigError: it is there already.
    """
    if (*within, value) in seen:
        raise ConfigError(f"{place}, field {field!r}: {value!r} stands there twice")
    seen.add((*within, value))


def parse_record(fields: Any, place: str) -> MemoryRecord:
    """`fields` as a record that has a position.

    Raises:
        ConfigError: a field is missing, unknown or wrong.
    """
    record = parse(MemoryRecord, fields, place)
    if record.position is None:
        raise ConfigError(f"{place}, field 'position': missing; `until` and the evidence go by positions")
    return record


def fingerprint(parts: Iterable[bytes]) -> str:
    """SHA-256 over `parts`, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()
