"""The gated delta rule by chunks, as transformers computes it, in a form whose gradients are quick on CPU too.

For keys k, queries q (both of length 1), values v, decays g <= 0 and strengths beta in (0, 1), the state S (keys,
values) and the outputs o are (Gated Delta Networks, arXiv 2412.06464, equation 10)

    S_t = exp(g_t) (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T,    o_t = S_t^T q_t / sqrt(keys)

Within a chunk this is a triangular system of equations; from chunk to chunk only the state is handed on.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import normalize, pad, silu
from transformers.models.qwen3_next import modeling_qwen3_next

CHUNK = 32


def chunked(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    g: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The outputs, and the last state if it is asked for.

    Args:
        query: (batch, length, key heads, keys), and so is `key`; they are brought to length 1 here.
        value: (batch, length, value heads, values); each key head serves as many value heads as another.
        g: (batch, length, value heads), and so is `beta`.
        initial_state: (batch, value heads, keys, values), and so is the last state.
    """
    batch, length, heads, size = value.shape
    each = heads // key.shape[2]
    query, key = (normalize(x.float(), dim=-1, eps=1e-6).repeat_interleave(each, 2) for x in (query, key))
    query, key, value, g, beta = (_by_chunks(x.float()) for x in (query * key.shape[-1] ** -0.5, key, value, g, beta))
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
    state = key.new_zeros(batch, heads, key.shape[-1], size) if initial_state is None else initial_state.float()
    outputs = []
    parts = (query * grown, inner, new, seen, key.mT * (last - decay).exp().unsqueeze(-2), last.exp().unsqueeze(-1))
    for reading, within, fresh, known, writing, kept in zip(*(part.unbind(2) for part in parts), strict=True):
        change = fresh - known @ state
        outputs.append(reading @ state + within @ change)
        state = state * kept + writing @ change
    output = torch.stack(outputs, 2).flatten(2, 3)[:, :, :length].transpose(1, 2)
    return output, state if output_final_state else None


def convolved(
    x: torch.Tensor, weight: torch.Tensor, bias: None = None, activation: str = "silu", **_: Any
) -> torch.Tensor:
    """Each channel of `x` (batch, channels, length) with its own weights (channels, width), looking back only."""
    # Channels last, as they lie in memory.
    back = pad(x.transpose(1, 2), (0, 0, weight.shape[1] - 1, 0))
    mixed = sum(back[:, at : at + x.shape[-1]] * each for at, each in enumerate(weight.to(x.dtype).T.contiguous()))
    return silu(mixed).transpose(1, 2)


@contextmanager
def quick() -> Iterator[None]:
    """Qwen3-Next's models compute with these meanwhile."""
    with (
        patch.object(modeling_qwen3_next, "torch_chunk_gated_delta_rule", chunked),
        patch.object(modeling_qwen3_next, "causal_conv1d_fn", convolved),
    ):
        yield


def _by_chunks(x: torch.Tensor) -> torch.Tensor:
    """(batch, length, heads, size) as (batch, heads, chunks, CHUNK, size), filled up with zeros."""
    x = x.unsqueeze(-1) if x.ndim == 3 else x
    batch, length, heads, size = x.shape
    filled = pad(x, (0, 0, 0, 0, 0, -length % CHUNK))
    return filled.transpose(1, 2).reshape(batch, heads, -1, CHUNK, size)
