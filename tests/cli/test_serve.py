"""`linmem serve`, with programs of the tests' own in the places of nvidia-smi and vllm."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from linmem_langgraph import serving
from linmem_langgraph.cli.serve import serve
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.serving.models import MODELS

CONFIGS = Path(__file__).parents[2] / "configs" / "serve"
ONE_24 = "echo 24564"
FOUR_80 = "echo 81559; echo 81559; echo 81559; echo 81559"

app = typer.Typer()
app.command()(serve)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a program where commands are found, and nothing else but what was put there before."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, script: str) -> Path:
        file = folder / name
        file.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    return put


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def words(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return shlex.split(result.stdout)


def after(flag: str, line: list[str]) -> str:
    return line[line.index(flag) + 1]


def refusal(*line: str) -> str:
    error = run(*line).exception
    assert isinstance(error, ConfigError)
    return str(error)


def test_without_a_gpu_the_command_is_for_the_usual_ones(programs: Callable[[str, str], Path]) -> None:
    result = run("kimi-linear")
    assert words(result) == serving.command(serving.arguments(MODELS[0]))
    assert "nvidia-smi finds no GPU: this is for 4 GPUs of 80 GB" in result.stderr


@pytest.mark.parametrize(
    "script", ["echo 81559; exit 9", "echo '[N/A]'", "echo 'No devices were found'", "#!/nowhere/sh\n"]
)
def test_an_nvidia_smi_that_fails_finds_no_gpu(programs: Callable[[str, str], Path], script: str) -> None:
    programs("nvidia-smi", script)
    assert "nvidia-smi finds no GPU: this is for 1 GPU of 24 GB" in run("qwen3.5-4b").stderr


def test_the_gpus_that_are_found_are_used(programs: Callable[[str, str], Path]) -> None:
    programs("nvidia-smi", f'[ "$*" = "--query-gpu=memory.total --format=csv,noheader,nounits" ] && {{ {FOUR_80}; }}')
    result = run("kimi-linear")
    assert after("--tensor-parallel-size", words(result)) == "4"
    assert "nvidia-smi" not in result.stderr
    assert after("--tensor-parallel-size", words(run("kimi-linear", "--gpus", "2"))) == "2"
    assert "2 GPUs of 24 GB" in refusal("kimi-linear", "--gpus", "2", "--gpu-memory", "24")


def test_what_is_given_is_not_asked_for(programs: Callable[[str, str], Path]) -> None:
    mark = programs("nvidia-smi", ": > $0.asked\necho 24564")
    assert after("--tensor-parallel-size", words(run("qwen3-next", "--gpus", "4", "--gpu-memory", "80"))) == "4"
    assert not mark.with_name("nvidia-smi.asked").exists()
    run("qwen3.5-4b")
    assert mark.with_name("nvidia-smi.asked").exists()


def test_a_shortened_context_is_told(programs: Callable[[str, str], Path]) -> None:
    programs("nvidia-smi", ONE_24)
    result = run("qwen3.5-4b")
    length = int(after("--max-model-len", words(result)))
    assert length < 262_144
    assert f"It can read 262,144 tokens (--context); {length:,} leave room" in result.stderr
    given = run("qwen3.5-4b", "--context", "200000")
    assert after("--max-model-len", words(given)) == "200000"
    assert given.stderr == ""


def test_idle_gpus_are_told(programs: Callable[[str, str], Path]) -> None:
    programs("nvidia-smi", FOUR_80)
    assert "It uses 1 of 4 GPUs: start more" in run("qwen3.5-2b").stderr


@pytest.mark.parametrize(
    ("model", "note"),
    [
        ("falcon-mamba-7b", "attention-free model's states experimental"),
        ("nemotron-3-nano-30b", "issue 54504"),
        ("kimi-linear", "--trust-remote-code runs code"),
    ],
)
def test_what_is_known_of_a_model_is_told(model: str, note: str, programs: Callable[[str, str], Path]) -> None:
    result = run(model, "--gpus", "4", "--gpu-memory", "80")
    assert note in result.stderr
    assert len(words(result)) > 10


def test_host_and_port(programs: Callable[[str, str], Path]) -> None:
    line = words(run("qwen3.5-4b", "--host", "0.0.0.0", "--port", "8123"))
    assert (after("--host", line), after("--port", line)) == ("0.0.0.0", "8123")


def test_the_command_can_be_pasted(programs: Callable[[str, str], Path], tmp_path: Path) -> None:
    programs("vllm", 'for word in "$@"; do echo "<$word>"; done')
    folder = tmp_path / "it's a $model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Qwen3NextForCausalLM"]}')
    result = run(str(folder), "--", "--hf-overrides", '{"a": "b c"}')
    pasted = subprocess.run(["/bin/sh", "-c", result.stdout], capture_output=True, text=True, check=True)
    received = pasted.stdout.splitlines()
    assert received[:2] == ["<serve>", f"<{folder}>"]
    assert received[-2:] == ["<--hf-overrides>", '<{"a": "b c"}>']


def test_flags_of_vllm_come_last(programs: Callable[[str, str], Path]) -> None:
    line = words(run("qwen3.5-4b", "--port", "8123", "--", "--max-model-len", "9000", "-tp", "2", "--port=1"))
    assert line[-5:] == ["--max-model-len", "9000", "-tp", "2", "--port=1"]


def test_speculative_decoding_is_doubted(programs: Callable[[str, str], Path]) -> None:
    assert "issue 53912" in run("qwen3.5-4b", "--", "--speculative-config", "{}").stderr
    assert "issue 53912" not in run("qwen3.5-4b", "--", "--seed", "1").stderr


@pytest.mark.parametrize("model", [model.name for model in MODELS])
def test_the_yaml_of_a_model_is_its_file(model: str, programs: Callable[[str, str], Path]) -> None:
    assert run(model, "--yaml").stdout_bytes == (CONFIGS / f"{model}.yaml").read_bytes()


def test_a_yaml_with_what_was_said(programs: Callable[[str, str], Path]) -> None:
    result = run("qwen3.5-4b", "--yaml", "--gpus", "2", "--gpu-memory", "80", "--", "--seed", "3", "--enforce-eager")
    assert result.stdout.startswith(
        "# Memories read by Qwen/Qwen3.5-4B, a hybrid model, on 2 GPUs of 80 GB: vllm serve"
    )
    assert result.stdout.endswith("seed: 3\nenforce-eager: true\n")
    assert "'2' is no long flag and not the value of one" in refusal("qwen3.5-4b", "--yaml", "--", "--a", "1", "2")


def test_a_model_that_is_not_known(programs: Callable[[str, str], Path]) -> None:
    result = run("Org/Model", "--gpus", "4", "--context", "9000")
    assert "Org/Model is not a known model: these are the flags of a hybrid one" in result.stderr
    assert "nvidia-smi" not in result.stderr
    line = words(result)
    assert line[:3] == ["vllm", "serve", "Org/Model"]
    assert (after("--tensor-parallel-size", line), after("--max-model-len", line)) == ("4", "9000")
    assert after("--mamba-cache-mode", line) == "align"
    assert run("Org/Model", "--yaml").stdout.startswith("# Memories read by Org/Model, taken for a hybrid model: vllm")


def test_all_known_models_are_listed() -> None:
    listed = run("--list").stdout.splitlines()
    for model in MODELS:
        (row,) = [line.split() for line in listed if model.repo in line.split()]
        assert row[:3] == [model.name, model.repo, model.kind]
        assert f"{model.context:,}" in row
        assert " ".join(row).endswith(f"{model.needs:.0f} GB {model.gpus}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ((), "no model is named: `linmem serve --list`"),
        (("qwen3.5-5b",), "unknown model 'qwen3.5-5b': choose .*qwen3.5-4b"),
        (("RWKV/RWKV7-Goose",), "it has no RWKV"),
        (("qwen3.5-4b", "qwen3.5-2b"), "'qwen3.5-2b' is one word too many"),
        (("qwen3.5-4b", "--run", "--yaml"), "give one of the two"),
        (("qwen3.5-4b", "--run"), r"there is no `vllm` to run: pip install 'linmem-langgraph\[vllm\]'"),
        (("qwen3.5-4b", "--context", "1000000"), "reads 262,144 tokens, not 1,000,000"),
        (("kimi-linear", "--gpus", "1", "--gpu-memory", "24"), "weights are 98.2 GB.*qwen3.5-4b fits here"),
    ],
)
def test_what_cannot_be_served_is_told(
    line: tuple[str, ...], message: str, programs: Callable[[str, str], Path]
) -> None:
    result = run(*line)
    assert isinstance(result.exception, ConfigError)
    assert result.stdout == ""
    with pytest.raises(ConfigError, match=message):
        raise result.exception


VLLM = f"""\
#!{sys.executable}
import json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(json.dumps([os.getpid(), *sys.argv[1:]]), flush=True)
signal.pause()
"""


def test_run_becomes_the_server(programs: Callable[[str, str], Path]) -> None:
    programs("vllm", VLLM)
    code = "import typer; from linmem_langgraph.cli.serve import serve; typer.run(serve)"
    command = [sys.executable, "-c", code, "qwen3.5-4b", "--run", "--port", "8123", "--", "--seed", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            pid, *received = json.loads(process.stdout.readline())
            assert pid == process.pid
            expected = [*words(run("qwen3.5-4b", "--port", "8123")), "--seed", "1"]
            assert ["vllm", *received] == expected
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 7
            assert shlex.join(expected) in process.stderr.read()
        finally:
            process.kill()
