"""Write what was taught in Hugging Face's format, and its step for onnxruntime:

    python -m evals.tiny.publish runs/tiny/hybrid evals/tiny/models/hybrid

The weights are in `model.safetensors`, in bfloat16, once: transformers and vLLM load them as they are, and `step.onnx`
names their places in that file. vLLM's Qwen3-Next wants a mixture of experts, so the first layer becomes one, whose
experts are zero and whose shared expert is the feed-forward part that was taught, to the bit.
"""

import json
import struct
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

try:
    import onnx
    import torch
except ImportError as exc:
    raise ImportError("linmem-tiny is published with torch and onnx: pip install -e '.[tiny]'") from exc
from onnx import TensorProto, helper
from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

from evals.tiny.architectures import untaught
from evals.tiny.language import settings, tokenizer
from evals.tiny.step import Step
from evals.tiny.train import CHECKPOINT

EXPERTS, EXPERT_SIZE = 2, 64
"""As small as vLLM's CPU kernel takes them."""


def publish(model: Qwen3NextForCausalLM, folder: Path) -> None:
    """Write the model, its tokenizer and its step into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with_experts(model).to(torch.bfloat16).save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings(), indent=2) + "\n", "utf-8")
    write_step(Qwen3NextForCausalLM.from_pretrained(folder, dtype=torch.float32), folder)


def with_experts(model: Qwen3NextForCausalLM) -> Qwen3NextForCausalLM:
    """The same model with a mixture of experts for the feed-forward part of its first layer."""
    shape: dict[str, Any] = {
        **model.config.to_dict(),
        "mlp_only_layers": list(range(1, model.config.num_hidden_layers)),
        "num_experts": EXPERTS,
        "num_experts_per_tok": EXPERTS,
        "moe_intermediate_size": EXPERT_SIZE,
        "shared_expert_intermediate_size": model.config.intermediate_size,
        "tie_word_embeddings": False,
    }
    made = Qwen3NextForCausalLM(Qwen3NextConfig(**shape))
    weights = dict(model.state_dict())
    first = "model.layers.0.mlp"
    for part in ("gate_proj", "up_proj", "down_proj"):
        weights[f"{first}.shared_expert.{part}.weight"] = weights.pop(f"{first}.{part}.weight")
    # The shared expert counts by a sigmoid, which is one half at zero.
    weights[f"{first}.shared_expert.down_proj.weight"] = 2 * weights[f"{first}.shared_expert.down_proj.weight"]
    zeros = {name: torch.zeros_like(values) for name, values in made.state_dict().items() if name not in weights}
    made.load_state_dict({**weights, **zeros})
    return made.eval()


def write_step(model: Qwen3NextForCausalLM, folder: Path) -> None:
    """Export one step; the weights stay in `folder / "model.safetensors"`."""
    step = Step(model)
    names = step.names()
    grows = {0: torch.export.Dim("tokens")}
    growing = [name.endswith(("keys", "values")) for name in names]
    example = [
        torch.zeros(5, *part.shape[1:]) if grown else part for grown, part in zip(growing, step.empty(), strict=True)
    ]
    # Two tensors: one that is given twice would be taken for one input.
    token, place = torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            step,
            (token, place, *example),
            dynamo=True,
            input_names=["token", "place", *names],
            output_names=["logits", *(f"{name}.after" for name in names)],
            dynamic_shapes={
                "token": None,
                "place": None,
                "state": tuple(grows if grown else None for grown in growing),
            },
            verbose=False,
        )
    assert program is not None
    exported = program.model_proto
    _strip(exported)
    _refer(exported, folder / "model.safetensors")
    (folder / "step.onnx").write_bytes(exported.SerializeToString(deterministic=True))
    onnx.checker.check_model(folder / "step.onnx")


def _strip(exported: onnx.ModelProto) -> None:
    """Without where in which file each node was made."""
    for node in exported.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for part in (exported, exported.graph, *exported.graph.value_info, *exported.graph.initializer):
        part.ClearField("metadata_props")
    exported.graph.ClearField("value_info")


def _refer(exported: onnx.ModelProto, weights: Path) -> None:
    """Let the tensors that lie in a safetensors file be read from there."""
    content = weights.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    stored, graph = json.loads(content[8 : 8 + length]), exported.graph
    casts = []
    for tensor in list(graph.initializer):
        found = stored.get(tensor.name.removeprefix("model."))
        if found is None:
            continue
        begin, end = found["data_offsets"]
        place = TensorProto(
            name=f"{tensor.name}.stored",
            data_type=TensorProto.BFLOAT16,
            dims=tensor.dims,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in {"location": weights.name, "offset": 8 + length + begin, "length": end - begin}.items():
            place.external_data.add(key=key, value=str(value))
        graph.initializer.remove(tensor)
        graph.initializer.append(place)
        casts.append(helper.make_node("Cast", [place.name], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def main(
    taught: Annotated[Path, typer.Argument(help="The folder of a checkpoint.")],
    folder: Annotated[Path, typer.Argument(help="Where the model is written.")],
) -> None:
    """Write a model that has been taught."""
    if not (taught / CHECKPOINT).exists():
        raise typer.BadParameter(f"{taught} has no {CHECKPOINT}: teach a model first (python -m evals.tiny.train)")
    whole = torch.load(taught / CHECKPOINT, map_location="cpu")
    if whole["words"] != tokenizer().to_str():
        raise typer.BadParameter(f"{taught / CHECKPOINT} was taught other words than there are now: teach it anew")
    model = untaught(whole["plan"]["kind"], seed=0)
    model.load_state_dict(whole["model"])
    publish(model, folder)
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


if __name__ == "__main__":
    typer.run(main)
