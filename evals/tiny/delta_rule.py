"""The gated delta rule by chunks, as transformers computes it, in a form whose gradients are quick on CPU too.

For keys k, queries q (both of length 1), values v, decays g <= 0 and strengths beta in (0, 1), the state S (keys,
values) and the outputs o are (Gated Delta Networks, arXiv 2412.06464, equation 10)

    S_t = exp(g_t) (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T,    o_t = S_t^T q_t / sqrt(keys)

Within a chunk this is a triangular system of equations; from chunk to chunk only the state is handed on.
"""

import math
from typing import Any

import torch
from torch.nn.functional import normalize, pad, silu

from evals.tiny.tree import CHUNK, Tree


def chunked(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    g: torch.Tensor,
    beta: torch.Tensor,
    tree: Tree,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The outputs.

    Args:
        query: (1, length, key heads, keys), and so is `key`; they are brought to length 1 here.
        value: (1, length, value heads, values); each key head serves as many value heads as another.
        g: (1, length, value heads), and so is `beta`.
    """
    each = value.shape[2] // key.shape[2]
    query, key = (normalize(x.float(), dim=-1, eps=1e-6).repeat_interleave(each, 2) for x in (query, key))
    query, key, value, g, beta = (
        _by_chunks(x.float(), tree) for x in (query * key.shape[-1] ** -0.5, key, value, g, beta)
    )
    decay = g.squeeze(-1).cumsum(-1)
    later = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=key.device).triu(1)
    between = (decay.unsqueeze(-1) - decay.unsqueeze(-2)).masked_fill(later, -math.inf).exp()
    grown, last = decay.exp().unsqueeze(-1), decay[..., -1:]
    strong = key * beta
    system = ((strong @ key.mT) * between).tril(-1)
    solved = torch.linalg.solve_triangular(
        system, torch.eye(CHUNK, device=key.device).expand_as(system), upper=False, unitriangular=True
    )
    new, seen = solved @ (value * beta), solved @ (strong * grown)
    inner = (query @ key.mT) * between
    parts = (query * grown, inner, new, seen, key.mT * (last - decay).exp().unsqueeze(-2), last.exp().unsqueeze(-1))
    sizes = [len(place) for _, place in tree.levels]
    state = key.new_zeros(sizes[0], key.shape[1], key.shape[-1], value.shape[-1])
    outputs = list[torch.Tensor]()
    for level, *of_level in zip([*tree.levels[1:], None], *(part.split(sizes) for part in parts), strict=True):
        reading, within, fresh, known, writing, kept = of_level
        change = fresh - known @ state
        outputs.append(reading @ state + within @ change)
        if level is not None:
            parents, place = level
            state, writing, kept, change = (part[parents] for part in (state, writing, kept, change))
            state = (state * kept + writing @ change)[place]
    output = torch.cat(outputs).transpose(1, 2).flatten(0, 1)
    return _Moved.apply(output, tree.slots, tree.chunks.flatten()).unsqueeze(0), None


def convolved(
    x: torch.Tensor, weight: torch.Tensor, bias: None = None, activation: str = "silu", *, tree: Tree, **_: Any
) -> torch.Tensor:
    """Each channel of `x` (1, channels, length) with its own weights (channels, width), looking back only."""
    # Channels last, as they lie in memory.
    tokens = pad(x[0].T, (0, 0, 0, 1))
    *old, now = weight.to(x.dtype).T.contiguous()
    mixed = tokens[:-1] * now + sum(
        tokens.index_select(0, back) * each for back, each in zip(tree.before, reversed(old), strict=True)
    )
    return silu(mixed).T.unsqueeze(0)


def _by_chunks(x: torch.Tensor, tree: Tree) -> torch.Tensor:
    """(1, length, heads, size) as (chunks, heads, CHUNK, size), filled up with zeros."""
    x = x.unsqueeze(-1) if x.ndim == 3 else x
    return _Moved.apply(x[0], tree.chunks.flatten(), tree.slots).view(-1, CHUNK, *x.shape[2:]).transpose(1, 2)


class _Moved(torch.autograd.Function):  # type: ignore[misc]
    """The rows of `x` that `to` names, each at most once, and zeros where it names one too many; `back` undoes it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, to: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(back)
        return _rows(x, to)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return _rows(gradients[0], back), None, None


def _rows(x: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])[to]
