"""JSON documents that are damaged in what they say: values, types, names, order, numbers, encoding."""

import json
import re
from copy import deepcopy
from random import Random
from typing import Any

from evals.fuzz.damage import damaged

SNIPPETS = (
    *(b'{ } [ ] " , : \\ \\u null true NaN -Infinity 1e999 -1 0.5 \\ud800 \\u0000 \xed\xa0\x80 \xff\xfe'.split()),
    b"\x00",
    b"\n",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"[" * 2_000,
    b'{"a":' * 300,
    b"9" * 5_000,
)


class Written(str):
    """JSON as it stands, whatever Python makes of it."""


class Members(list[tuple[str, Any]]):
    """An object: names and values in order, where a name may stand twice."""


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 3.0, 0.5, 2**53, 2**63, 10**40, -(10**400)),
    *map(Written, ("NaN", "-Infinity", "1e999", "-0", "1E400", "9" * 5_000)),
    *("", " ", "\n", "\0", "a\0b", "\ud800", "a\udfffb", "\U0001f98a", "\u2028", "\x85", "x" * 300, "x" * 120_000),
    *("../../outside", "/", ".", "7", "-1", "\u0663", "nan", "2023-05-08T13:56:00+02:00", "D1:1"),
    *([], Members(), [[]], [None], ["a"], Members([("a", 1)]), Members([("text", "a"), ("position", 0)])),
    *(Written("[" * depth + "]" * depth) for depth in (150, 260, 900, 100_000)),
    *(Written('{"a":' * depth + "0" + "}" * depth) for depth in (150, 260, 900, 100_000)),
)
"""What a field does not expect."""

_NUMBERS = ("0\\g<0>", "\u0663", "9" * 30, "9" * 5_000, "-1", "1.5", "")


def damaged_json(content: bytes, rng: Random) -> bytes:
    """A JSON document that was damaged: in what it says, in its bytes, or in both."""
    return _damaged(content, [content.decode()], rng)


def damaged_jsonl(content: bytes, rng: Random) -> bytes:
    """The same for a file of JSON lines, which may also be lost, doubled, joined or in another order."""
    return _damaged(content, content.decode().splitlines(), rng)


def _damaged(content: bytes, documents: list[str], rng: Random) -> bytes:
    how = rng.choice(("bytes", "both", "said", "said"))
    if how != "bytes":
        parsed = [json.loads(text, object_pairs_hook=Members) for text in documents]
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _change(parsed, rng)
        ascii = rng.random() < 0.5
        content = _encoded("".join(f"{_text(document, ascii)}\n" for document in parsed), rng)
    return content if how == "said" else damaged(content, rng, SNIPPETS)


def _text(value: Any, ascii: bool) -> str:
    match value:
        case Written():
            return value
        case Members():
            return "{" + ", ".join(f"{_text(name, ascii)}: {_text(each, ascii)}" for name, each in value) + "}"
        case list():
            return "[" + ", ".join(_text(each, ascii) for each in value) + "]"
    return json.dumps(value, ensure_ascii=ascii)


def _place(document: Any, rng: Random) -> tuple[list[Any], int] | None:
    """Some place of a document, a list or an object and an index in it: a third of them at the very bottom."""
    place = None
    while isinstance(document, list) and document and (place is None or rng.random() < 0.85):
        place = document, rng.randrange(len(document))
        document = _at(*place)
    return place


def _at(container: list[Any], index: int) -> Any:
    return container[index][1] if isinstance(container, Members) else container[index]


def _put(container: list[Any], index: int, value: Any) -> None:
    container[index] = (container[index][0], value) if isinstance(container, Members) else value


def _change(document: Any, rng: Random) -> None:
    """Change one place of a document."""
    if not (place := _place(document, rng)):
        return
    container, index = place
    match rng.randrange(10):
        case 0:
            del container[index]
        case 1:
            container.insert(rng.randrange(len(container) + 1), deepcopy(container[index]))
        case 2:
            rng.shuffle(container)
        case 3 | 4:
            _put(container, index, deepcopy(rng.choice(ODD)))
        case 5:
            _put(container, index, deepcopy(_at(*(_place(document, rng) or place))))
        case 6:
            value = _at(container, index)
            _put(container, index, rng.choice(([value], Members([("a", value)]), json.dumps(str(value)[:99]))))
        case 7:
            _rename(container, index, rng)
        case 8:
            value = _at(container, index)
            _put(container, index, _odd_text(value, rng) if isinstance(value, str) else deepcopy(rng.choice(ODD)))
        case _:
            container.clear()


def _rename(container: list[Any], index: int, rng: Random) -> None:
    """Another name for a value, or one more value without a name."""
    if not isinstance(container, Members):
        container.insert(index, deepcopy(rng.choice(ODD)))
        return
    name, value = container[index]
    others = [other for other, _ in container] + [odd for odd in ODD if type(odd) is str]
    container[index] = (rng.choice((rng.choice(others), _odd_text(name, rng), f"{name}_")), value)


def _odd_text(text: str, rng: Random) -> str:
    """A text with other numbers, or with something odd in it."""
    if rng.random() < 0.5:
        return re.sub(r"\d+", rng.choice(_NUMBERS), text)
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice([odd for odd in ODD if type(odd) is str]) + text[at:]


def _encoded(text: str, rng: Random) -> bytes:
    """Mostly UTF-8; else as another system writes it."""
    match rng.randrange(24):
        case 0:
            return text.encode("utf-16", "surrogatepass")
        case 1:
            return text.encode("utf-16-le", "surrogatepass")
        case 2:
            return text.encode("utf-32", "surrogatepass")
        case 3:
            return text.encode("latin-1", "replace")
        case 4:
            text = f"\ufeff{text}"
        case 5:
            text = text.replace("\n", "\r\n")
        case 6:
            text = text.replace("\n", "\r")
    return text.encode("utf-8", "surrogatepass")
