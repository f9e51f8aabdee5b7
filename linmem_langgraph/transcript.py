"""The log rendered as text for a model: byte-stable, and a prefix of what it will be after later writes.

One record after the other, in log order: `[3] Anna puts the red mug on the shelf.`; with a date where the record has
one: `[3 2023-05-08T13:56] ...`. Only a new record begins at the start of a line: line breaks in a text are followed by
four spaces, so that no text can forge a position or end the transcript.
"""

from collections.abc import Iterable

from linmem_langgraph.records import MemoryRecord


def render_record(record: MemoryRecord) -> str:
    """The lines of one record, with a final line feed."""
    date = f" {record.created_at.isoformat(timespec='minutes')}" if record.created_at else ""
    return f"[{record.position}{date}] " + "\n    ".join(record.text.splitlines()).rstrip() + "\n"


def render(records: Iterable[MemoryRecord]) -> str:
    """The transcript of `records`, which are in log order."""
    return "".join(map(render_record, records))
