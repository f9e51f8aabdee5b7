"""Tokens that a reader's model is taken to read and to write until it has answered, before it is asked.

`cached` is what a server that keeps states need not read again.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from evals.config import ReaderConfig
from evals.rows import Tokens
from linmem_langgraph.readers._linear.prompt import longest_frame
from linmem_langgraph.readers.hybrid import HybridReader
from linmem_langgraph.readers.linear import LinearReader
from linmem_langgraph.readers.rolling import RollingReader

ANSWER = 100
"""Tokens that a model is taken to write in a turn."""


def tokens_of(text: str) -> int:
    """A third of a text's bytes, which is more than most texts have."""
    return len(text.encode()) // 3 + 1


def frame() -> int:
    """Of a call's instructions and question."""
    return tokens_of(longest_frame()) + ANSWER


def whole(memory: int, options: Mapping[str, Any]) -> Tokens:
    """One call reads all of it."""
    return Tokens(prompt=memory + frame(), cached=memory, completion=ANSWER)


def routed(memory: int, options: Mapping[str, Any]) -> Tokens:
    """A memory that the budget holds is read whole, of another one so many segments, and their answers are merged."""
    of = _given(HybridReader, options)
    parts = of["budget_tokens"] // of["segment_tokens"]
    if of["mode"] == "whole" or (of["mode"] == "auto" and memory <= of["budget_tokens"]):
        return whole(memory, options)
    read = min(memory, parts * of["segment_tokens"])
    parts = min(parts, _segments(memory, of["segment_tokens"]))
    if parts == 1:
        return whole(read, options)
    calls = parts + 1
    return Tokens(prompt=read + calls * frame() + parts * ANSWER, cached=read, completion=calls * ANSWER)


def rolled(memory: int, options: Mapping[str, Any]) -> Tokens:
    """Each segment but the last is noted, with the note so far; by a standing note that is done already."""
    of = _given(RollingReader, options)
    notes, note = _segments(memory, of["segment_tokens"]) - 1, of["note_tokens"]
    if of["standing"]:
        last = min(memory, of["segment_tokens"])
        return Tokens(prompt=last + min(notes, 1) * note + frame(), completion=ANSWER)
    return Tokens(prompt=memory + notes * note + (notes + 1) * frame(), completion=notes * note + ANSWER)


def standing(reader: ReaderConfig, memory: int) -> Tokens:
    """What a standing note takes, where one is kept."""
    if reader.name != RollingReader.name or not _given(RollingReader, reader.options)["standing"]:
        return Tokens()
    return rolled(memory, {**reader.options, "standing": False})


READS: Mapping[str, Callable[[int, Mapping[str, Any]], Tokens]] = {
    LinearReader.name: whole,
    "m3_linear": whole,
    HybridReader.name: routed,
    RollingReader.name: rolled,
}
"""By reader that a model answers for: the tokens of a read, given those of the memory and the reader's options."""


def _segments(memory: int, size: int) -> int:
    return max(1, -(-memory // size))


def _given(reader: type, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in signature(reader).parameters.items()} | dict(options)
