"""The models that `linmem serve` knows, and the arguments it gives vLLM for them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evals.vllm_cpu.server import environment
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.serving import (
    about,
    arguments,
    as_yaml,
    command,
    find,
    general_arguments,
    gpus_from,
    kind_of,
    parse,
)
from linmem_langgraph.serving.models import MODELS, Gpus, ServedModel
from linmem_langgraph.vllm import STATE_FLAGS

CONFIGS = Path(__file__).parents[1] / "configs" / "serve"
NAMES = [model.name for model in MODELS]


def known(name: str) -> ServedModel:
    model = find(name)
    assert model is not None
    return model


def test_names_and_repositories_are_unique() -> None:
    repos = {model.repo.lower() for model in MODELS}
    assert len({*NAMES}) == len(repos) == len({repo.partition("/")[2] for repo in repos}) == len(MODELS)


@pytest.mark.parametrize(
    ("asked", "repo"),
    [
        ("kimi-linear", "moonshotai/Kimi-Linear-48B-A3B-Instruct"),
        ("Kimi-Linear-48B-A3B-Instruct", "moonshotai/Kimi-Linear-48B-A3B-Instruct"),
        ("moonshotai/kimi-linear-48b-a3b-instruct", "moonshotai/Kimi-Linear-48B-A3B-Instruct"),
        ("QWEN3.5-4B", "Qwen/Qwen3.5-4B"),
        ("qwen/Qwen3.6-35B-A3B-FP8", "Qwen/Qwen3.6-35B-A3B-FP8"),
    ],
)
def test_a_model_is_found_by_each_of_its_names(asked: str, repo: str) -> None:
    assert known(asked).repo == repo


@pytest.mark.parametrize("asked", ["", "qwen3.5", "Qwen/", "moonshotai", "Other/Qwen3.5-4B"])
def test_a_part_of_a_name_is_no_name(asked: str) -> None:
    assert find(asked) is None


def test_the_command_for_a_hybrid_on_four_gpus() -> None:
    assert command(arguments(known("kimi-linear"), Gpus(4, 80))) == [
        *("vllm", "serve", "moonshotai/Kimi-Linear-48B-A3B-Instruct", "--host", "127.0.0.1", "--port", "8000"),
        *("--tensor-parallel-size", "4", "--max-model-len", "1048576", "--max-num-batched-tokens", "6272"),
        *("--enable-prefix-caching", "--mamba-cache-mode", "align", "--prefix-match-unit", "16"),
        *("--prefix-cache-retention-interval", "0", "--enable-prompt-tokens-details", "--trust-remote-code"),
    ]


def test_the_defaults_for_one_gpu() -> None:
    small = arguments(known("qwen3.5-4b"), Gpus(1, 24))
    large = arguments(known("qwen3.6-35b-a3b-fp8"), Gpus(1, 80))
    assert small["tensor-parallel-size"] == large["tensor-parallel-size"] == 1
    assert int(small["max-model-len"]) >= 65_536
    assert large["max-model-len"] == 262_144


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_the_flags_are_those_of_the_kind(model: ServedModel) -> None:
    chosen = arguments(model)
    wanted = parse(STATE_FLAGS)
    unit, sparse = wanted.pop("prefix-match-unit"), {"enable-prefix-caching", "enable-prompt-tokens-details"}
    if model.kind == "softmax":
        assert {*chosen} == {*sparse, "model", "host", "port", "tensor-parallel-size", "max-model-len"}
        return
    assert wanted.items() <= chosen.items()
    assert chosen.get("prefix-match-unit") == (unit if model.kind == "hybrid" else None)
    assert chosen["max-num-batched-tokens"] == 3 * model.block + 512
    assert not {name for name in chosen if "speculative" in name or name == "block-size"}


def test_who_thinks_unasked_has_its_thoughts_parsed() -> None:
    parsers = {model.name: arguments(model).get("reasoning-parser") for model in MODELS}
    assert {name for name, parser in parsers.items() if parser == "nemotron_v3"} == {
        name for name in NAMES if name.startswith("nemotron")
    }
    # The two smallest do not think; a parser would take all they say for a thought.
    assert {name for name, parser in parsers.items() if parser == "qwen3"} == {
        name for name in NAMES if name.startswith(("qwen3.5", "qwen3.6"))
    } - {"qwen3.5-0.8b", "qwen3.5-2b"}


@given(
    model=st.sampled_from(MODELS),
    number=st.integers(1, 16),
    gigabytes=st.sampled_from([4, 8, 12, 16, 24, 32, 48, 80, 96, 141, 192]),
)
def test_what_is_chosen_fits(model: ServedModel, number: int, gigabytes: int) -> None:
    try:
        chosen = arguments(model, Gpus(number, gigabytes))
    except ConfigError:
        return
    size, context = int(chosen["tensor-parallel-size"]), int(chosen["max-model-len"])
    assert size in (1, 2, 4, 8)
    assert size <= min(number, model.most_gpus)
    assert min(8_192, model.context) <= context <= model.context
    states_of_four = 4 * context * model.token_kib * 1024 / min(size, model.kv_heads) / 1e9
    assert model.weights / size + 2.0 + states_of_four <= 0.9 * gigabytes
    more = arguments(model, Gpus(number, gigabytes + 8))
    assert int(more["max-model-len"]) >= context


@given(model=st.sampled_from(MODELS), number=st.integers(1, 16), gigabytes=st.floats(1, 200))
def test_a_model_too_large_names_one_that_fits(model: ServedModel, number: int, gigabytes: float) -> None:
    gpus = Gpus(number, gigabytes)
    try:
        arguments(model, gpus)
    except ConfigError as exc:
        message = str(exc)
        assert message.startswith(f"{model.name} does not fit on {gpus}: its weights are {model.weights:.1f} GB;")
        assert f"It usually takes {model.gpus}" in message
        smaller, fits, _ = message.rpartition(" fits here")
        if fits and not smaller.endswith("no smaller model"):
            arguments(known(smaller.split()[-1]), gpus)


def test_the_smaller_model_named_is_the_largest_that_fits() -> None:
    with pytest.raises(ConfigError, match=r"98.2 GB; of 1 x 21.6 GB .* takes 4 GPUs of 80 GB; qwen3.5-4b fits here$"):
        arguments(known("kimi-linear"), Gpus(1, 24))
    with pytest.raises(ConfigError, match=r"qwen3.6-35b-a3b-fp8 fits here$"):
        arguments(known("qwen3-next"), Gpus(1, 80))
    with pytest.raises(ConfigError, match=r"no smaller model fits here$"):
        arguments(known("qwen3.5-4b"), Gpus(1, 2))


def test_as_few_gpus_as_hold_the_whole_context() -> None:
    assert arguments(known("qwen3.5-0.8b"), Gpus(8, 80))["tensor-parallel-size"] == 1
    assert arguments(known("kimi-linear"), Gpus(8, 141))["tensor-parallel-size"] == 2
    assert arguments(known("kimi-linear"), Gpus(3, 80))["tensor-parallel-size"] == 2
    assert arguments(known("falcon-h1-3b"), Gpus(8, 12))["tensor-parallel-size"] == 2  # its heads


def test_a_context_that_is_given_is_kept_if_it_fits_once() -> None:
    model = known("qwen3.5-4b")
    assert arguments(model, Gpus(1, 24), context=262_144)["max-model-len"] == 262_144
    assert arguments(model, Gpus(1, 24), context=1_000)["max-model-len"] == 1_000
    with pytest.raises(ConfigError, match=r"with a context of 200,000 tokens: .* or a shorter --context; qwen3.5-2b"):
        arguments(model, Gpus(1, 16), context=200_000)
    with pytest.raises(ConfigError, match=r"qwen3.5-4b reads 262,144 tokens, not 262,145"):
        arguments(model, Gpus(1, 80), context=262_145)
    assert (
        arguments(known("falcon-mamba-7b"), context=100_000)["max-model-len"] == 100_000
    )  # no positions to run out of


def test_a_model_that_is_not_known_gets_what_was_said() -> None:
    chosen = general_arguments("Org/Model", "hybrid", gpus=7, context=9_000, port=8123)
    assert (chosen["model"], chosen["tensor-parallel-size"], chosen["max-model-len"]) == ("Org/Model", 4, 9_000)
    assert chosen["port"] == 8123
    assert chosen["max-num-batched-tokens"] == 3 * 2_096 + 512
    assert "max-model-len" not in general_arguments("Org/Model", "softmax")


def _folder(folder: Path, config: object) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("Qwen3_5ForConditionalGeneration", "hybrid"),
        ("KimiLinearForCausalLM", "hybrid"),
        ("Mamba2ForCausalLM", "linear"),
        ("Qwen3ForCausalLM", "softmax"),
    ],
)
def test_a_folder_tells_its_kind(tmp_path: Path, architecture: str, kind: str) -> None:
    assert kind_of(_folder(tmp_path, {"architectures": [architecture]})) == kind


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"architectures": null}', "{", "null"])
def test_a_folder_without_architectures_is_named(tmp_path: Path, config: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.json does not tell a model's architectures"):
        kind_of(_folder(tmp_path, config))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json does not tell .*FileNotFoundError"):
        kind_of(str(tmp_path))


def test_an_id_is_taken_for_a_hybrid() -> None:
    assert kind_of("Org/Model-7B") == "hybrid"


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("qwen3.5-5b", "qwen3.5-4b"),
        ("kimi", "kimi-linear"),
        ("Nemotron-3-Nano", "nemotron-3-nano-30b"),
        ("?", "qwen3-4b"),
    ],
)
def test_an_unknown_name_is_answered_with_close_ones(name: str, close: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown model '[^']*': choose .*{close}.*Hugging Face id"):
        kind_of(name)


@pytest.mark.parametrize("name", ["rwkv-7", "RWKV/RWKV7-Goose-World3-2.9B-HF", "BlinkDL/rwkv-7-world"])
def test_rwkv_is_sent_elsewhere(name: str) -> None:
    with pytest.raises(ConfigError, match=r"has no RWKV\. llama\.cpp.*ChatVLLM\(base_url=.*prime='off'"):
        kind_of(name)


def test_an_rwkv_folder_is_sent_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no RWKV"):
        kind_of(_folder(tmp_path / "model", {"architectures": ["RWKV7ForCausalLM"]}))


def test_flags_are_parsed() -> None:
    flags = ("--a", "1", "--b", "--c=x=y", "--d", "1.5", "--e", "-1", "--f=")
    assert parse(flags) == {"a": 1, "b": True, "c": "x=y", "d": "1.5", "e": "-1", "f": ""}
    assert parse(()) == {}


@pytest.mark.parametrize("flags", [("x",), ("-tp", "2"), ("--a", "1", "2"), ("--a=1", "2")])
def test_other_flags_are_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="is no long flag and not the value of one"):
        parse(flags)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_the_file_of_each_model_is_what_the_table_makes(model: ServedModel) -> None:
    file = CONFIGS / f"{model.name}.yaml"
    assert file.read_bytes() == as_yaml(arguments(model), about(model), model.note).encode()
    assert file.read_text("ascii").startswith(f"# Memories read by {model.repo}, a {model.kind} model, on {model.gpus}")
    assert yaml.safe_load(file.read_bytes()) == arguments(model)


def test_there_is_no_other_file() -> None:
    assert sorted(file.name for file in CONFIGS.iterdir()) == sorted(f"{name}.yaml" for name in NAMES)


@pytest.mark.parametrize(
    ("found", "gpus"),
    [
        ("24564\n", Gpus(1, 24)),
        ("81559\n81559\n81559\n81559\n", Gpus(4, 80)),
        (" 143771 \n", Gpus(1, 140)),
        ("24564\n81559\n", Gpus(2, 24)),
        ("[N/A]\n", None),
        ("No devices were found\n", None),
        ("", None),
    ],
)
def test_gpus_are_read_from_nvidia_smi(found: str, gpus: Gpus | None) -> None:
    assert gpus_from(found) == gpus


def test_the_table_is_read_without_langchain() -> None:
    code = "import sys, linmem_langgraph.serving; sys.exit('langchain_openai' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# `vllm serve` as vLLM itself builds it, but for its own package's version, which the CPU wheel does not have.
PARSER = """\
import json, sys
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser()
ServeSubcommand().subparser_init(parser.add_subparsers())
parsed = [vars(parser.parse_args(words)) for words in json.load(sys.stdin)]
print(json.dumps(parsed, default=str))
"""


@pytest.fixture(scope="module")
def vllm_parse(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What vLLM makes of several command lines."""

    def run(lines: list[list[str]]) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("vllm")
        done = subprocess.run(
            [str(vllm_python), "-c", PARSER],
            input=json.dumps(lines),
            capture_output=True,
            text=True,
            env=environment(folder, 1),
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4_000:]
        parsed: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return parsed

    return run


@pytest.mark.timeout(300)
def test_vllm_takes_every_file_and_command(vllm_parse: Any) -> None:
    files = [["serve", "--config", str(CONFIGS / f"{name}.yaml")] for name in NAMES]
    commands = [command(arguments(model))[1:] for model in MODELS]
    for model, file, line in zip(MODELS, *_halves(vllm_parse(files + commands)), strict=True):
        assert line.pop("model_tag") == file["model"] == model.repo
        for name, value in arguments(model).items():
            assert file[name.replace("-", "_")] == value
        assert {name for name in line if line[name] != file[name]} == {"model"}  # which a command has as its tag


def _halves(items: list[Any]) -> tuple[list[Any], list[Any]]:
    return items[: len(items) // 2], items[len(items) // 2 :]
