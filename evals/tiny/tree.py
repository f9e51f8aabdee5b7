"""Where tokens stand that are not one text: a memory, and many questions to it that do not see each other.

The tokens of such trees lie one after the other in one row: a trunk, its branches, the next trunk.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

CHUNK = 32
"""Tokens that the delta rule takes at once."""

TOGETHER = 8
"""Branches that attention takes at once."""

LOOKS_BACK = 3
"""Tokens that the convolution sees before the one it is at."""


class Tree(NamedTuple):
    """Where each token stands. An index of `length` stands for none.

    Args:
        places: (length,) how many tokens come before each.
        before: (LOOKS_BACK, length) the token before each, that before it, and so on.
        chunks: (chunks, CHUNK) the tokens of each. The first chunk of a trunk is filled up in front, the last one of a
            branch behind, so that a branch begins where a chunk ends.
        slots: (length,) where in `chunks` each token is.
        levels: for each distance from the root, which chunks of the level above go on, and which of these each chunk
            comes after. `chunks` are in the order of the levels.
        views: for trunks, and for a few branches at a time, in order of the tokens: which tokens they are; which are
            seen, the trunk's and their own; and (tokens, tokens), whether the one sees the other.
    """

    places: torch.Tensor
    before: torch.Tensor
    chunks: torch.Tensor
    slots: torch.Tensor
    levels: list[tuple[torch.Tensor, torch.Tensor]]
    views: list[tuple[slice, torch.Tensor, torch.Tensor]]


def tree(lengths: Sequence[Sequence[int]]) -> Tree:
    """The tree of so many tokens: each trunk, with its branches. Each length is above 0."""
    none, start = sum(map(sum, lengths)), 0
    before: list[list[int]] = [[] for _ in range(LOOKS_BACK)]
    levels: list[list[tuple[int, list[int]]]] = []
    places, views = list[int](), list[tuple[slice, torch.Tensor, torch.Tensor]]()

    def grow(level: int, above: int, tokens: list[int]) -> int:
        """Add chunks one after the other, and say which place the last one has in its level."""
        for number in range(0, len(tokens), CHUNK):
            levels.extend([[]] if level == len(levels) else [])
            levels[level].append((above, tokens[number : number + CHUNK]))
            above, level = len(levels[level]) - 1, level + 1
        return above

    for trunk, *branches in lengths:
        stem = [*range(start, start + trunk)]
        views += _views(start, trunk, branches)
        filling = [none] * (-trunk % CHUNK)
        end = grow(0, 0, filling + stem)
        for number, length in enumerate((trunk, *branches)):
            tokens = [*range(start, start + length)]
            path = [none] * LOOKS_BACK + (stem + tokens if number else tokens)
            places += range(len(path) - LOOKS_BACK - length, len(path) - LOOKS_BACK)
            for back, row in enumerate(before, 1):
                row += path[len(path) - length - back : len(path) - back]
            if number:
                grow((trunk + len(filling)) // CHUNK, end, tokens + [none] * (-length % CHUNK))
            start += length
    chunks = torch.tensor([tokens for level in levels for _, tokens in level])
    slots = torch.empty(none + 1, dtype=torch.long)
    slots[chunks.flatten()] = torch.arange(chunks.numel())
    return Tree(
        places=torch.tensor(places),
        before=torch.tensor(before),
        chunks=chunks,
        slots=slots[:none],
        levels=[torch.tensor([above for above, _ in level]).unique(return_inverse=True) for level in levels],
        views=views,
    )


def _views(start: int, trunk: int, branches: Sequence[int]) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    stem = torch.arange(start, start + trunk)
    yield slice(start, start + trunk), stem, torch.ones(trunk, trunk, dtype=torch.bool).tril()
    start += trunk
    for number in range(0, len(branches), TOGETHER):
        group = branches[number : number + TOGETHER]
        end = start + sum(group)
        owner = torch.arange(len(group)).repeat_interleave(torch.tensor(group))
        own = (owner[:, None] == owner).tril()
        seen = torch.cat([torch.ones(len(owner), trunk, dtype=torch.bool), own], 1)
        yield slice(start, end), torch.cat([stem, torch.arange(start, end)]), seen
        start = end
