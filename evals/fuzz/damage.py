"""Bytes that are damaged in a few places, as by a bad disk, a cut-off download, or a hand that means harm."""

from collections.abc import Sequence
from random import Random


def damaged(content: bytes, rng: Random, snippets: Sequence[bytes]) -> bytes:
    """`content`, damaged in one to four places; `snippets` is what means something in such files."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(made) + 1), int(2 ** rng.uniform(0, 9))
        match rng.randrange(8):
            case 0:
                made[at : at + 1] = rng.randbytes(1)
            case 1:
                del made[at : at + length]
            case 2:
                made[at:at] = rng.choice(snippets)
            case 3:
                other = rng.randrange(len(made) + 1)
                made[at:at] = made[other : other + length]
            case 4:
                made[at : at + length] = rng.randbytes(length)
            case 5:
                made[at : at + 1] = rng.choice(snippets)
            case 6:
                chunk = made[at : at + length]
                del made[at : at + length]
                other = rng.randrange(len(made) + 1)
                made[other:other] = chunk
            case _:
                del made[max(at, len(made) // 2) :]
    return bytes(made)
