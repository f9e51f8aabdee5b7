"""Who is who in a memory: faces and voices, and the characters they belong to, as of what is remembered.

A record's metadata names the faces and voices it is about (`entities`), and those that are first met with it
(`appears`). A record of the kind `equivalence` says that some are the same character. All is told by records, so it
holds as of any position: what comes later changes nothing.
"""

import re
from collections.abc import Iterable, Mapping

from linmem_langgraph.records import MemoryRecord

EQUIVALENCE = "equivalence"
"""The kind of a record that says who is the same, and tells nothing else."""

TAG = re.compile(r"<((?:face|voice|character)_\d+)>")

Characters = Mapping[str, tuple[str, ...]]
"""Faces and voices of each character, `character_0` first."""


def characters(records: Iterable[MemoryRecord]) -> Characters:
    """The characters as of `records`, which are in log order.

    Whoever is in an equivalence comes first, in the order in which these were told; then everybody else, by number.
    """
    met, groups = set[str](), list[list[str]]()
    for record in records:
        met.update(_names(record, "appears"))
        if record.kind == EQUIVALENCE:
            same = [name for name in dict.fromkeys(TAG.findall(record.text)) if name in met]
            joined = [group for group in groups if not set(group).isdisjoint(same)]
            if len(same) > 1:
                merged = list(dict.fromkeys(name for group in [*joined, same] for name in group))
                place = groups.index(joined[0]) if joined else len(groups)
                groups = [group for group in groups if group not in joined]
                groups.insert(place, merged)
    alone = sorted(met - {name for group in groups for name in group}, key=lambda name: (int(name.split("_")[1]), name))
    return {f"character_{number}": tuple(group) for number, group in enumerate([*groups, *([name] for name in alone)])}


def about(record: MemoryRecord) -> set[str]:
    """The faces and voices that a record is about."""
    return set(_names(record, "entities"))


def as_characters(text: str, known: Characters) -> str:
    """`text` with the character for each face and voice; a tag is replaced as a whole or not at all."""
    names = {member: name for name, members in known.items() for member in members}
    return TAG.sub(lambda tag: f"<{names.get(tag[1], tag[1])}>", text)


def _names(record: MemoryRecord, field: str) -> list[str]:
    names = record.metadata.get(field)
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
