"""Files of JSON: what is read must be whole, and what is refused must be named."""

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeVar

from pydantic import BaseModel

from evals.fuzz.run import Target
from linmem_langgraph.errors import ConfigError

T = TypeVar("T")

_PLACES = (
    r"\.jsonl, line \d+(: |, field ['\"])",
    r"\.jsonl has no ",
    r"\.json: expected ",
    r"\.json is not JSON",
    r"\.json has no ",
    r"\.json, (video|conversation|field) ",
    r"\.jsonl; write one",
)
"""What may follow the name of a file in a refusal."""


def json_target(
    folder: Path,
    name: str,
    whole: bytes,
    damaged: Callable[[bytes, Random], bytes],
    load: Callable[[], T],
    check: Callable[[T], None],
) -> Target:
    """Damaged copies of a JSON file, in a folder that has what else is needed.

    Args:
        load: reads it, or raises `ConfigError`.
        check: raises AssertionError unless what was loaded is valid.
    """
    # Python loads a codec when it is first used.
    for codec in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1"):
        codecs.lookup(codec)
    named = re.compile(rf"{re.escape(str(folder))}.*?(?:{'|'.join(_PLACES)})", re.DOTALL)

    def read(content: bytes) -> bool:
        (folder / name).write_bytes(content)
        try:
            loaded = load()
        except ConfigError as exc:
            refusal = str(exc)
        else:
            check(loaded)
            return True
        check_refusal(refusal, named)
        return False

    return Target([whole], damaged, read, (dict, list, object), folder)


def check_refusal(message: str, named: re.Pattern[str]) -> None:
    """Raises AssertionError unless a message can be printed, is no novel, and says the file and the place in it."""
    message.encode()
    assert len(message) < 2_000, f"{len(message)} characters of message: {message[:500]}"
    assert named.search(message), f"it does not say where: {message}"


def same_again(value: BaseModel) -> None:
    """Raises AssertionError unless a value can be written as JSON in UTF-8 and read again."""
    assert type(value).model_validate_json(value.model_dump_json()) == value, f"{value!r:.500}"
