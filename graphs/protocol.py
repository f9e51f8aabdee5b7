"""The text protocol of M3-Agent's controller: how its turns are read, and how search results are shown to it.

The form of turns and results is the reference's (ByteDance-Seed/m3-agent, `control.py`), which its controller was
trained on. The reference takes anything but an exact `Answer` for a search and finds only exact markers; here markdown,
missing brackets and other case are understood too, and of several blocks the last one counts.
"""

import json
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

EMPTY_HINT = "(The search result is empty. Please try searching from another perspective.)"

TEXT = "memory"
"""What knowledge that is no records is called, in place of clips."""

# Markers are words of their own ("reaction:" is none), with or without markdown; bounded and possessive repetition
# keeps reading linear in the length, whatever a model repeats.
_ACTION = re.compile(
    r"(?<![^\W_])[*_]{0,3}action[*_]{0,3}:[*_]{0,3}\s*+[*_]{0,3}\[?\s*+(?P<action>[a-z]+)", re.IGNORECASE
)
_CONTENT = re.compile(r"(?<![^\W_])[*_]{0,3}content[*_]{0,3}:[*_]{0,3} ?", re.IGNORECASE)


class Turn(BaseModel):
    """What the controller wants: to search for `content`, or to answer with it."""

    model_config = ConfigDict(frozen=True)

    action: Literal["search", "answer"]
    content: str


def parse_turn(text: str) -> Turn | None:
    """The controller's turn; None if it cannot be read or has no content.

    What comes before the last `</think>` is thought, and so is everything when `<think>` is never closed.
    """
    _, closed, said = text.rpartition("</think>")
    if not closed and "<think>" in text:
        return None
    contents = list(_CONTENT.finditer(said))
    starts = [match.start() for match in contents]
    for head in reversed(list(_ACTION.finditer(said))):
        place = bisect_left(starts, head.end())
        if place < len(contents):
            content = said[contents[place].end() :]
            action: Literal["search", "answer"] = "answer" if head["action"].lower() == "answer" else "search"
            return Turn(action=action, content=content) if content.strip() else None
    return None


def render_knowledge(records: Iterable[Mapping[str, Any]], found: Iterable[int] = ()) -> str:
    """Search results as the controller knows them: texts by clip, in order of clips.

    Args:
        records: records as plain dicts, with `position` and `text`, in log order within a position.
        found: clips that are named also if no record is theirs.
    """
    clips: dict[int, list[str]] = defaultdict(list, {clip: [] for clip in found})
    for record in records:
        clips[record["position"]].append(record["text"])
    shown = {f"CLIP_{position}": clips[position] for position in sorted(clips)}
    knowledge = f"Searched knowledge: {json.dumps(shown, ensure_ascii=False)}"
    return knowledge if clips else f"{knowledge}\n{EMPTY_HINT}"


def render_text(text: str) -> str:
    """A text as knowledge: of a tool that names no records, or of a model that has read them."""
    return f"Searched knowledge: {json.dumps({TEXT: [text]}, ensure_ascii=False)}"
