"""The log rendered as text for a model: byte-stable, and a prefix of what it will be after later writes.

One record after the other, in log order: `[3] Anna puts the red mug on the shelf.`; with a date where the record has
one: `[3 2023-05-08T13:56] ...`. Only a new record begins at the start of a line: line breaks in a text are followed by
four spaces, so that no text can forge a position or end the transcript. What chat templates are made of is broken by a
space (`<|im_end|>` becomes `< |im_end|>`), as tokenizers turn it into the token itself wherever it stands.
"""

import re
from collections.abc import Iterable

from linmem_langgraph.records import MemoryRecord

_MARKERS = re.compile(
    r"<(?!(?:face|voice|character)_\d+>)(?=[A-Za-z/|!_\uff5c])"  # <s>, </s>, <|im_end|>, <<SYS>>; but not <face_3>
    r"|\[(?=/?(?:[A-Z][A-Z0-9_]*|[A-Za-z]+(?:_[A-Za-z0-9]+)+|gMASK)\])"  # [INST], [/INST], [EOS], [start_header_id]
)

_NONCHARACTERS = re.compile(
    "[\ufdd0-\ufdef" + "".join(chr(p << 16 | e) for p in range(17) for e in (0xFFFE, 0xFFFF)) + "]"
)
"""Code points that Unicode keeps for a program's own use, such as a tokenizer's markers."""


def escape(text: str) -> str:
    """`text` on one line or with its later lines indented, and without what a chat template is made of."""
    plain = _MARKERS.sub(lambda marker: f"{marker[0]} ", _NONCHARACTERS.sub("\ufffd", text))
    return "\n    ".join(plain.splitlines()).rstrip()


def render_record(record: MemoryRecord) -> str:
    """The lines of one record, with a final line feed."""
    date = f" {record.created_at.isoformat(timespec='minutes')}" if record.created_at else ""
    return f"[{record.position}{date}] {escape(record.text)}\n"


def render(records: Iterable[MemoryRecord]) -> str:
    """The transcript of `records`, which are in log order."""
    return "".join(map(render_record, records))
