"""Linear and hybrid models that vLLM serves, and a softmax one to compare with."""

from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Literal, NamedTuple

Kind = Literal["linear", "hybrid", "softmax"]

USABLE = 0.9  # of a GPU's memory; vLLM itself takes .92
KEPT_FREE = 2.0  # GB a GPU, for activations, CUDA graphs and the states of some memories, about 50 MB each
LARGEST_BLOCK = 2_096  # tokens; on real hybrids 528 to 2,096, and never more on several GPUs than on one


class Gpus(NamedTuple):
    """The GPUs of one machine: how many, and the GB of memory each was sold with."""

    number: int
    gigabytes: float

    def __str__(self) -> str:
        return f"{self.number} GPU{'s' if self.number > 1 else ''} of {self.gigabytes:g} GB"


A24, A48, A80, TWO_80, FOUR_80 = Gpus(1, 24), Gpus(1, 48), Gpus(1, 80), Gpus(2, 80), Gpus(4, 80)


@dataclass(frozen=True)
class ServedModel:
    """A model that vLLM serves; the figures are those of its model card and its configuration.

    `repo` is its id on Hugging Face, `billions` are its parameters, `context` is in tokens. `token_kib` is what its
    attention layers keep of a token, in 16 bits, split over at most `kv_heads` GPUs; `most_gpus` can share its heads.
    `block` is how many tokens vLLM makes a block, which holds a state; where that is not known, the largest seen.
    `gpus` is the usual set-up, `extra` what its family needs.
    """

    name: str
    repo: str
    billions: float
    context: int
    token_kib: float = 0.0
    kv_heads: int = 1
    _: KW_ONLY
    kind: Kind
    block: int = LARGEST_BLOCK
    most_gpus: int = 8
    fp8: bool = False
    gpus: Gpus = A24
    extra: tuple[str, ...] = ()
    note: str = ""

    @property
    def weights(self) -> float:
        """GB. An FP8 checkpoint keeps embeddings and norms in 16 bits: 37 GB for 36 billion parameters."""
        return self.billions * (1.03 if self.fp8 else 2.0)

    @property
    def needs(self) -> float:
        """GB of GPU memory below which it does not start."""
        return (self.weights + KEPT_FREE) / USABLE


BASE_MODEL = "A base model, trained on 2,048 tokens: it needs a chat template, -- --chat-template FILE."
CODE_MODEL = "Its Hugging Face tokenizer, the one that takes what readers send, may need -- --chat-template FILE."
DOUBTED = "vLLM is reported to reuse no state of Nemotron-H on some builds (its issue 54504): ask `linmem doctor`."
EXPERIMENTAL = "vLLM calls reuse of an attention-free model's states experimental: ask `linmem doctor`."
REMOTE_CODE = "--trust-remote-code runs code from the model's repository (its tokenizer)."

# Memories are text: the vision encoder stays out of the GPU's memory. The two smallest do not think unless told to, and
# the parser takes an answer without a thought for a thought without an answer.
QWEN_TEXT = ("--language-model-only",)
QWEN_THINKS = (*QWEN_TEXT, "--reasoning-parser", "qwen3")

_kimi = partial(ServedModel, kind="hybrid", extra=("--trust-remote-code",), note=REMOTE_CODE)
_next = partial(ServedModel, kind="hybrid", block=544)
_small_qwen = partial(ServedModel, kind="hybrid", block=544, extra=QWEN_TEXT)
_qwen = partial(ServedModel, kind="hybrid", extra=QWEN_THINKS)
_falcon = partial(ServedModel, kind="hybrid")
_nemotron = partial(ServedModel, kind="hybrid", extra=("--reasoning-parser", "nemotron_v3"), note=DOUBTED)
_granite = partial(ServedModel, kind="hybrid")
_mamba = partial(ServedModel, kind="linear", note=EXPERIMENTAL)
_qwen3 = partial(ServedModel, kind="softmax")

MODELS = (
    # name, repo, billions, context, token_kib, kv_heads
    _kimi("kimi-linear", "moonshotai/Kimi-Linear-48B-A3B-Instruct", 49.1, 1_048_576, 7.875, block=1_920, gpus=FOUR_80),
    _next("qwen3-next", "Qwen/Qwen3-Next-80B-A3B-Instruct", 81.3, 262_144, 24, 2, gpus=FOUR_80),
    _next("qwen3-next-fp8", "Qwen/Qwen3-Next-80B-A3B-Instruct-FP8", 81.3, 262_144, 24, 2, fp8=True, gpus=TWO_80),
    _small_qwen("qwen3.5-0.8b", "Qwen/Qwen3.5-0.8B", 0.9, 262_144, 12, 2),
    _small_qwen("qwen3.5-2b", "Qwen/Qwen3.5-2B", 2.3, 262_144, 12, 2),
    _qwen("qwen3.5-4b", "Qwen/Qwen3.5-4B", 4.7, 262_144, 32, 4, block=528),
    _qwen("qwen3.5-9b", "Qwen/Qwen3.5-9B", 9.7, 262_144, 32, 4, block=528, gpus=A48),
    _qwen("qwen3.5-35b-a3b", "Qwen/Qwen3.5-35B-A3B", 36, 262_144, 20, 2, block=1_056, gpus=TWO_80),
    _qwen("qwen3.5-35b-a3b-fp8", "Qwen/Qwen3.5-35B-A3B-FP8", 36, 262_144, 20, 2, block=1_056, fp8=True, gpus=A80),
    _qwen("qwen3.6-35b-a3b", "Qwen/Qwen3.6-35B-A3B", 36, 262_144, 20, 2, block=1_056, gpus=TWO_80),
    _qwen("qwen3.6-35b-a3b-fp8", "Qwen/Qwen3.6-35B-A3B-FP8", 36, 262_144, 20, 2, block=1_056, fp8=True, gpus=A80),
    _falcon("falcon-h1-0.5b", "tiiuae/Falcon-H1-0.5B-Instruct", 0.6, 16_384, 18, 2),
    _falcon("falcon-h1-1.5b", "tiiuae/Falcon-H1-1.5B-Instruct", 1.6, 131_072, 24, 2),
    _falcon("falcon-h1-1.5b-deep", "tiiuae/Falcon-H1-1.5B-Deep-Instruct", 1.6, 131_072, 66, 2, most_gpus=2),
    _falcon("falcon-h1-3b", "tiiuae/Falcon-H1-3B-Instruct", 3.2, 131_072, 32, 2, most_gpus=2),
    _falcon("falcon-h1-7b", "tiiuae/Falcon-H1-7B-Instruct", 7.6, 262_144, 44, 2, most_gpus=4),
    _falcon("falcon-h1-34b", "tiiuae/Falcon-H1-34B-Instruct", 33.6, 262_144, 144, 4, most_gpus=4, gpus=TWO_80),
    _nemotron("nemotron-3-nano-4b", "nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16", 4, 262_144, 16, 8, most_gpus=4),
    _nemotron("nemotron-3-nano-30b", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 31.6, 262_144, 6, 2, gpus=A80),
    _nemotron(
        "nemotron-3-nano-30b-fp8",
        *("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8", 31.6, 262_144, 6, 2),
        fp8=True,
        gpus=A48,
    ),
    _granite("granite-4.0-h-micro", "ibm-granite/granite-4.0-h-micro", 3.2, 131_072, 8, 8),
    _granite("granite-4.0-h-tiny", "ibm-granite/granite-4.0-h-tiny", 7, 131_072, 8, 4, most_gpus=4),
    _granite("granite-4.0-h-small", "ibm-granite/granite-4.0-h-small", 32.2, 131_072, 16, 8, gpus=A80),
    _mamba("mamba-2.8b", "state-spaces/mamba-2.8b-hf", 2.8, 2_048, note=f"{EXPERIMENTAL} {BASE_MODEL}"),
    _mamba(
        "mamba-codestral-7b",
        *("mistralai/Mamba-Codestral-7B-v0.1", 7.3, 256_000),
        extra=("--tokenizer-mode", "hf"),
        note=f"{EXPERIMENTAL} {CODE_MODEL}",
    ),
    _mamba("falcon-mamba-7b", "tiiuae/falcon-mamba-7b-instruct", 7.3, 8_192),
    _qwen3("qwen3-4b", "Qwen/Qwen3-4B-Instruct-2507", 4.0, 262_144, 144, 8),
)
