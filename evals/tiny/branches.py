"""A memory and many questions to it in one run of a model: each question goes on from the end of the memory, as when it
is asked, and none sees another.

What works on single tokens need not know. What looks back does so along the tree: attention here, convolution and state
in `delta_rule`.
"""

from threading import Lock
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import Qwen3NextForCausalLM
from transformers.models.qwen3_next import modeling_qwen3_next

from evals.tiny.delta_rule import chunked, convolved
from evals.tiny.tree import Tree

_ALONE = Lock()


def read(model: Qwen3NextForCausalLM, tokens: torch.Tensor, tree: Tree) -> Any:
    """The outputs of the model's body for `tokens` (1, length), with the hidden states of all layers.

    Meanwhile the library's own functions are replaced, so it is one thread at a time, and no other runs such a model.
    """
    with (
        _ALONE,
        patch.object(modeling_qwen3_next, "torch_chunk_gated_delta_rule", chunked),
        patch.object(modeling_qwen3_next, "causal_conv1d_fn", convolved),
        patch.object(modeling_qwen3_next.ALL_ATTENTION_FUNCTIONS, "get_interface", lambda *_: attention),
    ):
        return model.model(
            tokens,
            position_ids=tree.places[None],
            attention_mask=dict.fromkeys(model.config.layer_types),
            use_cache=False,
            output_hidden_states=True,
            tree=tree,
        )


def attention(
    layer: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: None, *, tree: Tree, **__: Any
) -> tuple[torch.Tensor, None]:
    """Softmax attention of each token to what it sees, as transformers asks for it.

    Args:
        query: (1, heads, length, size); `key` and `value` with fewer heads. The output is (1, length, heads, size).
    """
    parts = [
        scaled_dot_product_attention(
            query[:, :, asking], key[:, :, seen], value[:, :, seen], mask, scale=layer.scaling, enable_gqa=True
        )
        for asking, seen, mask in tree.views
    ]
    return torch.cat(parts, 2).transpose(1, 2), None
