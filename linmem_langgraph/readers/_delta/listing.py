"""What a log holds, in order and without the texts.

A chain of digests tells which beginning of the log a state was made of.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from linmem_langgraph.records import MemoryRecord


def link(chain: bytes, records: Iterable[MemoryRecord]) -> list[bytes]:
    """The digest of everything up to each of `records`; `chain` is that of what goes before them, b"" for nothing."""
    found = []
    for record in records:
        key, text = str(record.key).encode(), record.text.encode()
        chain = blake2b(b"%s%d:%s%s" % (chain, len(key), key, text), digest_size=16).digest()
        found.append(chain)
    return found


@dataclass
class Listing:
    """The keys and positions of a log at `version`; `chain` has the digest of the first 0, 1, 2, ... records.

    `known` are the keys once more, to look one up.
    """

    version: str = ""
    keys: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    positions: list[int] = field(default_factory=list)
    chain: list[bytes] = field(default_factory=lambda: [b""])

    def __len__(self) -> int:
        return len(self.keys)

    def extend(self, records: Iterable[MemoryRecord], version: str) -> None:
        """Put records behind the last one."""
        records = list(records)
        self.keys += [str(record.key) for record in records]
        self.known |= {str(record.key) for record in records}
        self.positions += [record.position or 0 for record in records]
        self.chain += link(self.chain[-1], records)
        self.version = version

    def rest(self, records: Sequence[MemoryRecord]) -> Sequence[MemoryRecord] | None:
        """What follows those of `records` that are listed; None if one of that is listed, too."""
        listed = [str(record.key) in self.known for record in records]
        return None if any(listed[sum(listed) :]) else records[sum(listed) :]

    def until(self, position: int | None) -> int:
        """How many records there are up to `position`, inclusive."""
        return len(self) if position is None else bisect_right(self.positions, position)
