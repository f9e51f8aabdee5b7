"""What linmem-tiny is made of: Qwen3-Next's layers, few and narrow, in Hugging Face's format.

`hybrid` has one layer of softmax attention after three of the gated delta rule (arXiv 2412.06464), as its large
relatives have; `linear` has none, `softmax` nothing else. All three have about as many parameters.
"""

import math
from typing import Any, Literal

import torch
from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

from evals.tiny.language import END, PAD, tokenizer

Kind = Literal["hybrid", "linear", "softmax"]

LAYERS: dict[Kind, tuple[str, ...]] = {
    "hybrid": ("linear_attention",) * 3 + ("full_attention",),
    "linear": ("linear_attention",) * 4,
    "softmax": ("full_attention",) * 4,
}
INNER: dict[Kind, int] = {"hybrid": 256, "linear": 208, "softmax": 432}
"""Width of the feed-forward part, which makes up for the other parameters of a layer."""

HIDDEN = 128
SHORTEST, LONGEST = 1e-3, 0.2
"""Steps of the decay at the beginning, one a head, evenly apart in their logarithm: the heads keep what they have read
for 1,000 tokens to 5, so that some remember what was said and some in which clip it is. What the library begins with
forgets all within a token, and then nothing is learnt."""


def configuration(kind: Kind) -> Qwen3NextConfig:
    """Its shape."""
    words = tokenizer()
    return Qwen3NextConfig(
        vocab_size=words.get_vocab_size() + -words.get_vocab_size() % 16,
        hidden_size=HIDDEN,
        intermediate_size=INNER[kind],
        num_hidden_layers=len(LAYERS[kind]),
        layer_types=list(LAYERS[kind]),
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        # vLLM's CPU kernel takes heads of 64 and more.
        linear_num_key_heads=4,
        linear_num_value_heads=4,
        linear_key_head_dim=64,
        linear_value_head_dim=64,
        linear_conv_kernel_dim=4,
        mlp_only_layers=list(range(len(LAYERS[kind]))),
        max_position_embeddings=32_768,
        initializer_range=0.06,
        tie_word_embeddings=True,  # while it is taught: what it finds in its memory it can say
        pad_token_id=words.token_to_id(PAD),
        eos_token_id=words.token_to_id(END),
    )


def untaught(kind: Kind, *, seed: int) -> Qwen3NextForCausalLM:
    """A model before it has learnt anything."""
    torch.manual_seed(seed)
    model = Qwen3NextForCausalLM(configuration(kind))
    for name, values in model.named_parameters():
        if name.endswith("dt_bias"):
            steps = torch.exp(torch.linspace(math.log(SHORTEST), math.log(LONGEST), values.numel()))
            values.data.copy_(torch.log(torch.expm1(steps)))
        elif name.endswith("A_log"):
            values.data.zero_()
    return model


def parameters(model: Any) -> int:
    """How many it has."""
    return sum(values.numel() for values in model.parameters())
