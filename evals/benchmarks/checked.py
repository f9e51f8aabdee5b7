"""Reading benchmark files so that whatever is wrong is named by file, line and field."""

import hashlib
import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from typing_extensions import get_type_hints, is_typeddict

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord, is_key

M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 100
"""How deep lists and objects may be nested: what is much deeper could not be written again."""

_SHORT = reprlib.Repr()
_SHORT.maxstring, _SHORT.maxother, _SHORT.maxlevel = 80, 80, 3


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
        ConfigError: it cannot be read, is not JSON, or names something twice in one object.
    """
    return _decoded(read_bytes(path), str(path), f"{path} is not JSON")


def read_jsonl(path: Path, *, cut_off: bool = False) -> Iterator[tuple[str, Any]]:
    """Where each row is ("file, line 3") and the object in it; empty lines are passed over.

    Args:
        cut_off: pass over what follows the last line feed, too: the file is being written, or who wrote it was killed.

    Raises:
        ConfigError: the file cannot be read, or a row is not a JSON object that names everything once.
    """
    content = read_bytes(path)
    whole = content[: content.rfind(b"\n") + 1] if cut_off else content
    for number, line in enumerate(whole.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        row = _decoded(line, place, f"{place}: not JSON, perhaps cut off")
        if not isinstance(row, dict):
            raise ConfigError(f"{place}: expected an object, found {type(row).__name__}")
        yield place, row


def _decoded(content: bytes, place: str, damaged: str) -> Any:
    """The JSON value in `content`; `damaged` begins the message where there is none."""

    def named_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) < len(members):
            name = next(name for name, count in Counter(name for name, _ in members).items() if count > 1)
            raise ConfigError(f"{place}, field {shown(name)}: stands there twice, and only one of the two would count")
        return found

    try:
        value = json.loads(content, object_pairs_hook=named_once)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{damaged}: {exc}") from exc
    if deeper(value, MAX_DEPTH):
        raise ConfigError(f"{damaged}: it is nested deeper than {MAX_DEPTH} levels")
    return value


def deeper(value: Any, levels: int) -> bool:
    """Whether `value` has more than that many levels of lists and objects."""
    level = [value]
    while level and levels >= 0:
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level, levels = [part for parts in inner for part in parts], levels - 1
    return bool(level)


def shown(value: Any) -> str:
    """`value` as it stands in a message: what it is, on less than a line."""
    return _SHORT.repr(value)[:100]


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
            raise ConfigError(f"{place}, field {shown(field)}: unknown; choose {known}") from exc
        message = f"{problem['msg']:.300} (found {shown(problem['input'])})"
        raise ConfigError(f"{place}, field {shown(field)}: {message}") from exc


def _fields_at(model: type, place: tuple[int | str, ...]) -> list[str]:
    """The fields of the model, or typed dict, at a place inside `model`."""
    for name in place:
        if isinstance(name, str):
            model = next(_models_in(get_type_hints(model)[name]))
    return list(model.model_fields if issubclass(model, BaseModel) else get_type_hints(model))


def _models_in(annotation: Any) -> Iterator[type]:
    """The models and typed dicts in an annotation such as `tuple[Model, ...]`."""
    if is_typeddict(annotation) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def once(seen: set[tuple[str, ...]], value: str, place: str, field: str, *within: str) -> None:
    """Note `value` in `seen`, for what it is `within`.

    Raises:
        ConfigError: it is there already.
    """
    if (*within, value) in seen:
        raise ConfigError(f"{place}, field {field!r}: {shown(value)} stands there twice")
    seen.add((*within, value))


def check_id(value: Any, place: str, field: str) -> None:
    """That `value` can be the id of a memory.

    Raises:
        ConfigError: it is no text, is empty, or has characters that no store keeps.
    """
    if not is_key(value):
        raise ConfigError(f"{place}, field {field!r}: expected the id of a memory, found {shown(value)}")


def check_file_name(name: str, place: str) -> None:
    """That a file of a folder can have this name.

    Raises:
        ConfigError: it leads elsewhere, is empty or too long, or has characters that names cannot have.
    """
    if Path(name).name != name or not is_key(name) or len(name.encode()) > 240:
        raise ConfigError(f"{place}: a file is named after it, and none can be named {shown(name)}")


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
