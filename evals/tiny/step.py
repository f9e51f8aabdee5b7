"""One token through linmem-tiny, with its state going in and coming out: what is exported to ONNX.

The state of a gated-delta layer is as large after a million tokens as after one; that of an attention layer grows by
one key and one value a token.
"""

from typing import Any

import torch
from torch.nn.functional import silu, softplus
from transformers import Qwen3NextForCausalLM

State = list[torch.Tensor]
"""Two tensors a layer. Gated delta: the last inputs of the convolution (channels, width - 1), and the state (value
heads, keys, values). Attention: keys and values (tokens, key heads, head size)."""


class Step(torch.nn.Module):  # type: ignore[misc]
    """One step of a model: `forward(token, place, *state)` gives the logits (vocabulary,) and the state after it.

    `token` and `place`, how many tokens came before, are integers in a tensor (1,).
    """

    def __init__(self, model: Qwen3NextForCausalLM) -> None:
        super().__init__()
        self.model = model.eval().float()
        self.kinds = model.config.layer_types

    def names(self) -> list[str]:
        """What each tensor of the state is called."""
        parts = {"linear_attention": ("window", "state"), "full_attention": ("keys", "values")}
        return [f"{number}.{part}" for number, kind in enumerate(self.kinds) for part in parts[kind]]

    def empty(self) -> State:
        """The state before any token."""
        config, made = self.model.config, State()
        channels = 2 * config.linear_num_key_heads * config.linear_key_head_dim
        channels += config.linear_num_value_heads * config.linear_value_head_dim
        for kind in self.kinds:
            if kind == "linear_attention":
                made.append(torch.zeros(channels, config.linear_conv_kernel_dim - 1))
                made.append(
                    torch.zeros(config.linear_num_value_heads, config.linear_key_head_dim, config.linear_value_head_dim)
                )
            else:
                made += [torch.zeros(0, config.num_key_value_heads, config.head_dim)] * 2
        return made

    def forward(self, token: torch.Tensor, place: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        inner = self.model.model
        hidden, after = inner.embed_tokens(token), State()
        cosine, sine = inner.rotary_emb(hidden, place.unsqueeze(0))
        for number, (kind, layer) in enumerate(zip(self.kinds, inner.layers, strict=True)):
            first, second, normed = state[2 * number], state[2 * number + 1], layer.input_layernorm(hidden)
            if kind == "linear_attention":
                mixed, first, second = gated_delta(layer.linear_attn, normed, first, second)
            else:
                mixed, first, second = attention(layer.self_attn, normed, cosine[0], sine[0], first, second)
            after += [first, second]
            hidden = hidden + mixed
            hidden = hidden + feed_forward(layer.mlp, layer.post_attention_layernorm(hidden))
        return self.model.lm_head(inner.norm(hidden))[0], *after


def gated_delta(layer: Any, x: torch.Tensor, window: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """`x` (1, hidden) through a gated-delta layer; the formula is in `delta_rule`."""
    parts = layer.fix_query_key_value_ordering(layer.in_proj_qkvz(x)[None], layer.in_proj_ba(x)[None])
    query, key, value, gate, strength, step = (part[0, 0] for part in parts)
    window = torch.cat([window, torch.cat([query.flatten(), key.flatten(), value.flatten()])[:, None]], dim=1)
    mixed = silu((window * layer.conv1d.weight[:, 0]).sum(1))
    query, key, value = mixed.split([layer.key_dim, layer.key_dim, layer.value_dim])
    each = layer.num_v_heads // layer.num_k_heads
    query, key = (_unit(part.view(-1, layer.head_k_dim)).repeat_interleave(each, 0) for part in (query, key))
    query, value = query * layer.head_k_dim**-0.5, value.view(-1, layer.head_v_dim)
    state = state * (-layer.A_log.exp() * softplus(step + layer.dt_bias)).exp()[:, None, None]
    change = (value - (state * key[:, :, None]).sum(1)) * strength.sigmoid()[:, None]
    state = state + key[:, :, None] * change[:, None, :]
    read = (state * query[:, :, None]).sum(1)
    return layer.out_proj(layer.norm(read, gate).reshape(1, -1)), window[:, 1:], state


def attention(
    layer: Any, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """`x` (1, hidden) through a gated softmax-attention layer."""
    size, scaling = layer.head_dim, layer.scaling
    query, gate = layer.q_proj(x).view(-1, 2 * size).chunk(2, dim=-1)
    query = _turned(layer.q_norm(query), cosine, sine)
    key = _turned(layer.k_norm(layer.k_proj(x).view(-1, size)), cosine, sine)
    keys = torch.cat([keys, key[None]])
    values = torch.cat([values, layer.v_proj(x).view(1, -1, size)])
    each = query.shape[0] // keys.shape[1]
    weights = torch.einsum("hd,thd->ht", query, keys.repeat_interleave(each, 1)).mul(scaling).softmax(-1)
    read = torch.einsum("ht,thd->hd", weights, values.repeat_interleave(each, 1))
    return layer.o_proj((read * gate.sigmoid()).reshape(1, -1)), keys, values


def feed_forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """The feed-forward part; of a mixture of experts only the shared one, as the others of linmem-tiny are zero."""
    if not hasattr(layer, "shared_expert"):
        return layer(x)
    return layer.shared_expert_gate(x).sigmoid() * layer.shared_expert(x)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6)


def _turned(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of the first part of each head."""
    size = cosine.shape[-1]
    turning, staying = x[:, :size], x[:, size:]
    left, right = turning.chunk(2, dim=-1)
    return torch.cat([turning * cosine + torch.cat([-right, left], -1) * sine, staying], -1)
