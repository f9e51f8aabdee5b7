"""What a command shows: tables for people, JSON for programs; neither lets a stored text steer the terminal."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from linmem_langgraph.records import ForgetReceipt, MemoryRecord, Reading

# Control characters but the line feed, line separators, lone surrogates, and what turns the writing direction.
_UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_LEAST_WIDTH = 60
"""Narrower columns could drop a character that is two cells wide."""

_FILE_WIDTH = 140


def visible(text: str) -> str:
    """`text` with an escape sequence for whatever a terminal would obey instead of showing it."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def print_json(value: Any) -> None:
    """`value` as one line of ASCII: exact in every encoding and harmless on every terminal."""
    typer.echo(json.dumps(value))


def print_lines(lines: Sequence[str]) -> None:
    """The lines as they are, but for control characters."""
    for line in lines:
        typer.echo(visible(line))


def report(kind: str, message: object) -> None:
    """One line on stderr: `error: ...` or `warning: ...`."""
    typer.echo(f"{kind}: {visible(' '.join(str(message).split()))}", err=True)


def print_table(columns: Mapping[str, Sequence[object]]) -> None:
    """The columns side by side, those without content left out; what does not fit is folded, never cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.width = max(console.width, _LEAST_WIDTH) if console.is_terminal else _FILE_WIDTH
    shown = {name: cells for name, cells in columns.items() if any(cell not in (None, "") for cell in cells)}
    table = Table(box=box.SIMPLE)
    for name in shown:
        table.add_column(name, overflow="fold")
    for row in zip(*shown.values(), strict=True):
        # As Text: a plain string would be read as rich's markup.
        table.add_row(*(Text("" if cell is None else visible(str(cell))) for cell in row))
    console.print(table)


def print_records(records: "Sequence[MemoryRecord]") -> None:
    """A row a record."""
    print_table(_columns(records))


def print_reading(reading: "Reading") -> None:
    """The text, the records it rests on, and what it cost."""
    print_lines([reading.text])
    columns = _columns([hit.record for hit in reading.records])
    if reading.model is None:
        del columns["text"]  # the reading's text holds them
    if reading.records:
        scores = [None if hit.score is None else f"{hit.score:.3f}" for hit in reading.records]
        print_table({"score": scores, **columns})
    print_lines([", ".join(_cost(reading))])


def _cost(reading: "Reading") -> list[str]:
    parts = [reading.reader, f"{reading.seconds:.3f} s"]
    if reading.model is not None:
        usage = reading.usage
        parts += [reading.model, f"{usage.prompt_tokens} prompt tokens ({usage.cached_tokens} of them cached)"]
        parts += [f"{usage.completion_tokens} written"]
    if reading.invented:
        parts += [f"positions it invented: {reading.invented}"]
    return parts


def print_receipt(receipt: "ForgetReceipt") -> None:
    """What was forgotten, from where."""
    facts = {
        "forgotten": ", ".join(receipt.forgotten) or "nothing",
        "unknown": ", ".join(receipt.unknown),
        "from the log": receipt.from_log,
        f"from the {receipt.reader} reader": receipt.from_index,
        "files scrubbed": "yes" if receipt.scrubbed else "not yet: another program reads them",
        "at": receipt.forgotten_at.isoformat(timespec="seconds"),
    }
    shown = {name: fact for name, fact in facts.items() if fact != ""}
    print_table({"receipt": list(shown), " ": list(shown.values())})


def _columns(records: "Sequence[MemoryRecord]") -> dict[str, Sequence[object]]:
    return {
        "position": [record.position for record in records],
        "key": [record.key for record in records],
        "kind": [record.kind for record in records],
        "created_at": [record.created_at and record.created_at.isoformat() for record in records],
        "metadata": [(record.metadata and json.dumps(record.metadata, ensure_ascii=False)) or "" for record in records],
        "text": [record.text for record in records],
    }
