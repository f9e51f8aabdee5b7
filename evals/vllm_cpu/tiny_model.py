"""Tiny language models with random weights, in Hugging Face format, for a vLLM server on CPU.

    python -m evals.vllm_cpu.tiny_model hybrid FOLDER

`hybrid` is a Qwen3-Next: three gated-delta layers and one of softmax attention, as large models of its kind have them.
`softmax` is a Qwen3 of the same width and depth. What they write means nothing, yet depends on all they read: the same
seed gives the same files, and the same transcript the same answer. A token is a byte of the text's UTF-8. A message is
one token for its role, its bytes, one token for its end; those markers are Unicode noncharacters, which no text holds.
Answers are printable ASCII, and end only where `max_tokens` ends them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]

ROLES = {"system": "\ufdd1", "user": "\ufdd2", "assistant": "\ufdd3"}
END = "\ufdd0"
PRINTABLE = range(0x20, 0x7F)
CHAT_TEMPLATE = (
    "{%- set roles = " + json.dumps(ROLES, ensure_ascii=False) + " -%}"
    "{%- for message in messages -%}"
    "{{- roles[message.role] + message.content + '" + END + "' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- roles.assistant -}}{%- endif -%}"
)

VOCABULARY = 272
HIDDEN = 128
HEADS, KV_HEADS, HEAD_DIM = 2, 1, 64
# vLLM's CPU kernel takes linear heads of 64 and more, and at least one mixture of experts.
LINEAR_KEY_HEADS, LINEAR_VALUE_HEADS, LINEAR_HEAD_DIM, KERNEL = 1, 2, 128, 4
EXPERTS, EXPERT_SIZE = 2, 64
LAYERS = ("linear_attention", "linear_attention", "linear_attention", "full_attention")

COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_hidden_layers": len(LAYERS),
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD_DIM,
    "hidden_act": "silu",
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "torch_dtype": "bfloat16",
    "eos_token_id": 256,
}
HYBRID: dict[str, Any] = {
    "architectures": ["Qwen3NextForCausalLM"],
    "model_type": "qwen3_next",
    "layer_types": list(LAYERS),
    "linear_num_key_heads": LINEAR_KEY_HEADS,
    "linear_num_value_heads": LINEAR_VALUE_HEADS,
    "linear_key_head_dim": LINEAR_HEAD_DIM,
    "linear_value_head_dim": LINEAR_HEAD_DIM,
    "linear_conv_kernel_dim": KERNEL,
    "partial_rotary_factor": 0.25,
    "decoder_sparse_step": 1,
    "mlp_only_layers": list(range(1, len(LAYERS))),
    "num_experts": EXPERTS,
    "num_experts_per_tok": EXPERTS,
    "moe_intermediate_size": EXPERT_SIZE,
    "shared_expert_intermediate_size": EXPERT_SIZE,
    "norm_topk_prob": True,
}
SOFTMAX: dict[str, Any] = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
MODELS = {"hybrid": HYBRID, "softmax": SOFTMAX}


def make(model: str, folder: Path, *, seed: int = 0) -> None:
    """Write the model and its tokenizer into a folder, the same bytes for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {**COMMON, **MODELS[model]})
    write_json(folder / "generation_config.json", {"eos_token_id": COMMON["eos_token_id"]})
    write_json(folder / "tokenizer.json", tokenizer())
    write_json(folder / "tokenizer_config.json", tokenizer_config())
    write_safetensors(folder / "model.safetensors", Draw(seed).weights(hybrid=model == "hybrid"))


class Draw:
    """Random weights, drawn in one fixed order."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))

    def weights(self, *, hybrid: bool) -> Weights:
        # A row of zeros has the logit 0, and the best of 95 random ones is above it: only printable bytes are said.
        head = np.zeros((VOCABULARY, HIDDEN), np.float32)
        head[PRINTABLE.start : PRINTABLE.stop] = self.normal(len(PRINTABLE), HIDDEN)
        # Qwen3-Next's norms multiply by 1 + weight, Qwen3's by the weight.
        unit = 0.0 if hybrid else 1.0
        weights: Weights = {
            "model.embed_tokens.weight": self.normal(VOCABULARY, HIDDEN, scale=1.0),
            "model.norm.weight": full(unit, HIDDEN),
            "lm_head.weight": head,
        }
        for number, kind in enumerate(LAYERS):
            layer: Weights = {
                "input_layernorm.weight": full(unit, HIDDEN),
                "post_attention_layernorm.weight": full(unit, HIDDEN),
                **(self.gated_delta() if hybrid and kind == "linear_attention" else self.attention(unit, gated=hybrid)),
                **(self.experts() if hybrid and number == 0 else self.mlp("mlp", 2 * HIDDEN)),
            }
            weights |= {f"model.layers.{number}.{name}": values for name, values in layer.items()}
        return weights

    def gated_delta(self) -> Weights:
        keys, values = LINEAR_KEY_HEADS * LINEAR_HEAD_DIM, LINEAR_VALUE_HEADS * LINEAR_HEAD_DIM
        # Steps of 1e-3 and 1e-2 keep a state for about a thousand tokens; what the library starts with, for one.
        steps = np.geomspace(1e-3, 1e-2, LINEAR_VALUE_HEADS)
        return {
            "linear_attn.in_proj_qkvz.weight": self.normal(2 * keys + 2 * values, HIDDEN),
            "linear_attn.in_proj_ba.weight": self.normal(2 * LINEAR_VALUE_HEADS, HIDDEN),
            "linear_attn.conv1d.weight": self.normal(2 * keys + values, 1, KERNEL),
            "linear_attn.dt_bias": np.log(np.expm1(steps)).astype(np.float32),
            "linear_attn.A_log": full(0.0, LINEAR_VALUE_HEADS),
            "linear_attn.norm.weight": full(1.0, LINEAR_HEAD_DIM),
            "linear_attn.out_proj.weight": self.normal(HIDDEN, values),
        }

    def attention(self, unit: float, *, gated: bool) -> Weights:
        return {
            "self_attn.q_proj.weight": self.normal((2 if gated else 1) * HEADS * HEAD_DIM, HIDDEN),
            "self_attn.k_proj.weight": self.normal(KV_HEADS * HEAD_DIM, HIDDEN),
            "self_attn.v_proj.weight": self.normal(KV_HEADS * HEAD_DIM, HIDDEN),
            "self_attn.o_proj.weight": self.normal(HIDDEN, HEADS * HEAD_DIM),
            "self_attn.q_norm.weight": full(unit, HEAD_DIM),
            "self_attn.k_norm.weight": full(unit, HEAD_DIM),
        }

    def experts(self) -> Weights:
        weights = {
            "mlp.gate.weight": self.normal(EXPERTS, HIDDEN),
            "mlp.shared_expert_gate.weight": self.normal(1, HIDDEN),
            **self.mlp("mlp.shared_expert", EXPERT_SIZE),
        }
        for expert in range(EXPERTS):
            weights |= self.mlp(f"mlp.experts.{expert}", EXPERT_SIZE)
        return weights

    def mlp(self, name: str, size: int) -> Weights:
        return {
            f"{name}.gate_proj.weight": self.normal(size, HIDDEN),
            f"{name}.up_proj.weight": self.normal(size, HIDDEN),
            f"{name}.down_proj.weight": self.normal(HIDDEN, size),
        }

    def normal(self, *shape: int, scale: float | None = None) -> NDArray[np.float32]:
        """Normal values that keep the size of what they are multiplied with, or of the given size."""
        scale = shape[-1] ** -0.5 if scale is None else scale
        return (self._random.standard_normal(shape) * scale).astype(np.float32)


def full(value: float, size: int) -> NDArray[np.float32]:
    return np.full(size, value, np.float32)


def tokenizer() -> dict[str, Any]:
    """A byte-level BPE without merges: token n is byte n, then come the markers."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    markers = [{"id": 256 + number, "content": marker, **added} for number, marker in enumerate((END, *ROLES.values()))]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": markers,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": byte_letters(), "merges": []},
    }


def byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in byte-level vocabularies, since GPT-2."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + number): byte for number, byte in enumerate(others)}


def tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": COMMON["max_position_embeddings"],
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_safetensors(path: Path, weights: Weights) -> None:
    """The format: the header's length in 8 bytes, the header in JSON, the tensors, here in bfloat16, one by one."""
    header, offset = {}, 0
    for name, values in weights.items():
        header[name] = {"dtype": "BF16", "shape": values.shape, "data_offsets": [offset, offset + 2 * values.size]}
        offset += 2 * values.size
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for values in weights.values():
            file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())  # its upper half


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
