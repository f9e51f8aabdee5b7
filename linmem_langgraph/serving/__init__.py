"""The arguments with which vLLM keeps the states of what a model has read for later prompts."""

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from textwrap import wrap

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.serving.models import KEPT_FREE, LARGEST_BLOCK, MODELS, USABLE, Gpus, Kind, ServedModel

Argument = str | int | bool

HOST, PORT = "127.0.0.1", 8000
MEMORIES = 4  # of the whole context shall fit into the cache: with less room, reading one evicts the others
LEAST_CONTEXT = 8_192  # tokens; a model with room for less is said not to fit
FALLBACKS = ("kimi-linear", "qwen3.6-35b-a3b-fp8", "qwen3.5-9b", "qwen3.5-4b", "qwen3.5-2b", "qwen3.5-0.8b")

# What vLLM 0.32 calls attention-free, and what it calls hybrid.
LINEAR = frozenset({"MambaForCausalLM", "Mamba2ForCausalLM", "FalconMambaForCausalLM"})
HYBRID = frozenset(
    "BailingMoeV2_5ForCausalLM BailingMoeV3ForCausalLM FalconH1ForCausalLM Glm5NextForCausalLM "
    "GraniteMoeHybridForCausalLM JambaForCausalLM KimiLinearForCausalLM Lfm2ForCausalLM Lfm2MoeForCausalLM "
    "NemotronHForCausalLM OlmoHybridForCausalLM Qwen3NextForCausalLM Qwen3_5ForCausalLM "
    "Qwen3_5ForConditionalGeneration Qwen3_5MoeForCausalLM Qwen3_5MoeForConditionalGeneration "
    "Qwen4ExpForCausalLM Qwen4ExpForConditionalGeneration Zamba2ForCausalLM".split()
)


def find(name: str) -> ServedModel | None:
    """The known model of this short name or Hugging Face id, with or without its organisation, in any case."""
    wanted = name.lower()
    return next((m for m in MODELS if wanted in (m.name, m.repo.lower(), m.repo.lower().partition("/")[2])), None)


def kind_of(name: str) -> Kind:
    """What an unknown model is: a local folder tells by its `config.json`, any Hugging Face id is taken for a hybrid.

    Raises:
        ConfigError: it is neither, the folder holds no model, or vLLM does not serve it.
    """
    folder = Path(name)
    architectures = _architectures(folder) if folder.is_dir() else set()
    if any("rwkv" in known.lower() for known in (folder.name, *architectures)):
        raise ConfigError(
            f"vLLM does not serve {name!r}: it has no RWKV. llama.cpp's llama-server does (RWKV-7 as GGUF), and the "
            "Ai00 server; both speak OpenAI's protocol: use ChatVLLM(base_url=...), in a reader with prime='off'"
        )
    if architectures:
        return "linear" if LINEAR & architectures else "hybrid" if HYBRID & architectures else "softmax"
    if "/" in name:
        return "hybrid"
    names = [model.name for model in MODELS]
    close = get_close_matches(name.lower(), names, n=4, cutoff=0.4)
    raise ConfigError(
        f"unknown model {name!r}: choose {', '.join(close or names)}, or give a Hugging Face id, such as "
        "Qwen/Qwen3.5-4B, or a local folder; `linmem serve --list` shows all known models"
    )


def _architectures(folder: Path) -> set[str]:
    file = folder / "config.json"
    try:
        return {str(name) for name in json.loads(file.read_text("utf-8"))["architectures"]}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{file} does not tell a model's architectures ({exc!r}); name a model's folder") from exc


def arguments(
    model: ServedModel, gpus: Gpus | None = None, *, context: int | None = None, host: str = HOST, port: int = PORT
) -> dict[str, Argument]:
    """What `vllm serve` takes, by the names of its long flags, for a known model on these GPUs (None = its usual ones).

    Tensor parallelism is the smallest power of two with which `MEMORIES` memories of the whole context fit beside the
    weights; where none is enough it is the largest, and the context is shortened to a quarter of what fits. A `context`
    that is given (tokens) is not shortened, and has to fit once.

    Raises:
        ConfigError: the model does not fit, or is not made for so long a context.
    """
    gpus = gpus or model.gpus
    if context and context > model.context and model.kind != "linear":
        raise ConfigError(
            f"{model.name} reads {model.context:,} tokens, not {context:,}: lower --context. To stretch a model, give "
            "vLLM's own flags, -- --max-model-len N --hf-overrides JSON"
        )
    size, tokens = _plan(model, gpus, context)
    if not tokens:
        raise ConfigError(_too_large(model, gpus, context))
    known = general_arguments(model.repo, model.kind, gpus=size, context=tokens, host=host, port=port)
    if model.kind != "softmax":
        known["max-num-batched-tokens"] = _batched(model.block)
    return known | parse(model.extra)


def general_arguments(
    name: str, kind: Kind, *, gpus: int = 1, context: int | None = None, host: str = HOST, port: int = PORT
) -> dict[str, Argument]:
    """The same for any model, on a power of two of GPUs; without a context vLLM takes the model's whole one."""
    from linmem_langgraph.vllm import STATE_FLAGS  # which loads LangChain

    size = 1 << (gpus.bit_length() - 1)
    chosen: dict[str, Argument] = {"model": name, "host": host, "port": port, "tensor-parallel-size": size}
    if context:
        chosen["max-model-len"] = context
    reuse = parse(STATE_FLAGS)
    if kind == "softmax":
        return chosen | {flag: reuse[flag] for flag in ("enable-prefix-caching", "enable-prompt-tokens-details")}
    if kind == "linear":
        del reuse["prefix-match-unit"]  # without attention layers vLLM refuses any other than its block size
    return chosen | {"max-num-batched-tokens": _batched(LARGEST_BLOCK)} | reuse


def _batched(block: int) -> int:
    """Tokens a step: a few blocks, and slack for others' reads. A long prompt goes on in whole blocks, so that slack is
    what lets short reads share its steps; and the more blocks a step has, the longer it makes them wait."""
    return 3 * block + 512


def _plan(model: ServedModel, gpus: Gpus, context: int | None) -> tuple[int, int]:
    """How many GPUs, and how long a context; 0 if it does not fit."""
    sizes = [size for size in (1, 2, 4, 8) if size <= min(gpus.number, model.most_gpus)]
    wanted = MEMORIES * (context or model.context)
    size = next((size for size in sizes if _room(model, gpus, size) >= wanted), sizes[-1])
    room = _room(model, gpus, size)
    if context:
        return size, context if room >= context else 0
    tokens = int(min(model.context, room / MEMORIES)) // 1024 * 1024
    return size, tokens if tokens >= min(LEAST_CONTEXT, model.context) else 0


def _room(model: ServedModel, gpus: Gpus, size: int) -> float:
    """For how many tokens there is memory beside the weights, on so many of the GPUs."""
    free = USABLE * gpus.gigabytes - model.weights / size - KEPT_FREE
    if free <= 0:
        return 0.0
    token = model.token_kib * 1024 / min(size, model.kv_heads)
    return free * 1e9 / token if token else float("inf")


def _too_large(model: ServedModel, gpus: Gpus, context: int | None) -> str:
    size, _ = _plan(model, gpus, context)
    room = _room(model, gpus, size)
    smaller = [known for known in MODELS if known.name in FALLBACKS and known.weights < model.weights]
    fitting = max((m for m in smaller if _plan(m, gpus, None)[1]), key=lambda m: m.weights, default=None)
    return (
        f"{model.name} does not fit on {gpus}{f' with a context of {context:,} tokens' if context else ''}: its "
        f"weights are {model.weights:.1f} GB; of {size} x {USABLE * gpus.gigabytes:.1f} GB that can be used, "
        f"{KEPT_FREE:g} each are kept free, which leaves room for {room:,.0f} tokens. It usually takes {model.gpus}"
        + (", or a shorter --context" if context and room else "")
        + (f"; {fitting.name} fits here" if fitting else "; no smaller model fits here")
    )


def parse(flags: Iterable[str]) -> dict[str, Argument]:
    """Long flags as arguments by name: `--a 1 --b` is `{"a": 1, "b": True}`.

    Raises:
        ConfigError: there is a short flag, or one with several values.
    """
    parsed: dict[str, Argument] = {}
    name = ""
    for word in flags:
        if word.startswith("--"):
            name, given, value = word.removeprefix("--").partition("=")
            parsed[name] = _value(value) if given else True
        elif name and parsed[name] is True:
            parsed[name] = _value(word)
        else:
            raise ConfigError(f"{word!r} is no long flag and not the value of one: write --flag VALUE")
    return parsed


def _value(word: str) -> Argument:
    return int(word) if word.isdecimal() else word


def command(chosen: Mapping[str, Argument], further: Iterable[str] = ()) -> list[str]:
    """The words of the command; `further` ones go to vLLM as they are, last, so that they win."""
    words = ["vllm", "serve", str(chosen["model"])]
    for name, value in chosen.items():
        if name != "model":
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return [*words, *further]


def as_yaml(chosen: Mapping[str, Argument], about: str, note: str = "") -> str:
    """The file for `vllm serve --config`; `about` is what it is for."""
    import yaml

    comments = [f"{about}: vllm serve --config FILE", *wrap(note, 118)]
    return "".join(f"# {line}\n" for line in comments) + yaml.safe_dump(dict(chosen), sort_keys=False)


def about(model: ServedModel, gpus: Gpus | None = None) -> str:
    """What a command or file is for, in a line."""
    return f"Memories read by {model.repo}, a {model.kind} model, on {gpus or model.gpus}"


def gpus_from(memories: str) -> Gpus | None:
    """From `nvidia-smi --query-gpu=memory.total`: a line of MiB a GPU, of which the smallest counts for all."""
    sizes = [int(line) for line in map(str.strip, memories.splitlines()) if line.isdecimal()]
    return Gpus(len(sizes), round(min(sizes) / 1024)) if sizes else None
