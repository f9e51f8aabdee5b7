"""A run's set-up: one YAML file, every key checked, saved with the run as it was resolved."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, field_validator

from evals.benchmarks.checked import parse
from graphs.prompts import PROMPTS, Prompts, load_prompts
from linmem_langgraph.errors import ConfigError

Control = Literal["blind", "oracle"]

Arm = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
"""What a further reader's rows are called: it is a folder's name, too."""


class Part(BaseModel):
    """A part of a set-up: frozen, and no key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BenchmarkConfig(Part):
    """What is asked.

    Args:
        name: a benchmark's.
        data: its file or folder, where it is not bundled.
        candidates: each question is asked of so many positions, those that tell the answer among them; None = of its
            whole memory. See `evals.benchmarks.candidates`.
    """

    name: str = "household"
    data: Path | None = None
    candidates: int | None = Field(default=None, ge=1)


class _Options(Part):
    """Options are saved with the run and shown in its report: secrets come from the environment."""

    options: dict[str, Any] = {}

    @field_validator("options")
    @classmethod
    def _no_secrets(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if re.search(r"key|token$|secret|password", name):
                raise ValueError(
                    f"{name!r} would be saved with the run: set the provider's environment variable instead"
                )
        return options


class Price(Part):
    """What a model costs, in money for a million tokens.

    Args:
        prompt: of a prompt.
        cached: of what of a prompt the provider has in its cache; None = as the rest.
        completion: of an answer.
    """

    prompt: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    completion: float = Field(ge=0)


class ReaderConfig(_Options):
    """What answers: a reader by name, and its own options, with models and embeddings by name.

    Args:
        price: of its model.
    """

    name: str = "chroma"
    price: Price | None = None


class ModelConfig(_Options):
    """A chat model: `provider:model`, or "offline:extractive", and its own options, such as `base_url`."""

    model: str = "offline:extractive"
    price: Price | None = None


class JudgeConfig(Part):
    """Who grades.

    Args:
        kind: "lexical" compares words, offline; "keywords" does so with each item of a list; "model" asks a chat model.
        parse: for "model": how its reply is read; "strict", or "official" as the reference does.
        model: for "model": the judge, another one than controller and reader.
    """

    kind: Literal["lexical", "keywords", "model"] = "lexical"
    parse: Literal["strict", "official"] = "strict"
    model: ModelConfig | None = None


class RunConfig(Part):
    """A run.

    Args:
        name: what the run is called in its report.
        compared: further readers over the same memories, each a row of the report; by what its rows are called.
        controls: further rows without memory ("blind") and with the gold positions given ("oracle").
        ranking: how many results of a direct read of `reader` with the question are kept for Hit@k and the like; 0 =
            none.
        concurrency: how many memories are worked on at once.
        prompts: a YAML file with the fields of `graphs.prompts.Prompts`; None = the protocol's own.
        limit: only the first so many questions of each memory; for a quick look.
    """

    name: str
    benchmark: BenchmarkConfig = BenchmarkConfig()
    reader: ReaderConfig = ReaderConfig()
    controller: ModelConfig = ModelConfig()
    protocol: Literal["tool_calls", "m3"] = "tool_calls"
    max_rounds: int = Field(default=5, ge=1, le=50)
    prompts: Path | None = None
    judge: JudgeConfig = JudgeConfig()
    compared: dict[Arm, ReaderConfig] = {}
    controls: tuple[Control, ...] = ()
    ranking: int = Field(default=20, ge=0, le=1000)
    concurrency: int = Field(default=2, ge=1, le=64)
    seed: int = 0
    limit: int | None = Field(default=None, ge=1)

    @field_validator("compared")
    @classmethod
    def _own_names(cls, compared: dict[str, ReaderConfig]) -> dict[str, ReaderConfig]:
        if taken := compared.keys() & {"main", *get_args(Control)}:
            raise ValueError(f"{', '.join(sorted(taken))} is what other rows are called: choose another name")
        return compared

    def wording(self) -> Prompts:
        """The prompts of this run."""
        return load_prompts(self.prompts) if self.prompts else PROMPTS[self.protocol]


def load_config(path: Path, changes: dict[str, str] | None = None) -> RunConfig:
    """The set-up in a YAML file, with `changes` by dotted name, their values in YAML.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown or has a wrong value.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise ConfigError(f"cannot read the config {path}: {exc}") from exc
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(found).__name__}")
    for name, value in (changes or {}).items():
        *parents, last = name.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {name}: {parent!r} is not a group of keys")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError as exc:
            raise ConfigError(f"--set {name}={value}: the value is not YAML: {exc}") from exc
    config = parse(RunConfig, found, str(path))
    data = config.benchmark.data and config.benchmark.data.resolve()
    benchmark = config.benchmark.model_copy(update={"data": data})
    return config.model_copy(update={"benchmark": benchmark, "prompts": config.prompts and config.prompts.resolve()})


def config_hash(config: RunConfig, arm: str, fingerprint: str) -> str:
    """What a prediction depends on, in 16 hexadecimal digits: judge, controls, prices, name and concurrency
    are left out."""
    of_main = {"reader", "ranking"} if arm == "main" else set()
    settings = config.model_dump(mode="json", include={"controller", "protocol", "max_rounds"} | of_main)
    if arm in config.compared:
        settings["reader"] = config.compared[arm].model_dump(mode="json")
    for part in settings.keys() & {"controller", "reader"}:
        del settings[part]["price"]
    settings |= {"arm": arm, "benchmark": fingerprint, "prompts": config.wording().model_dump()}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def save_config(config: RunConfig, out: Path) -> None:
    """Write the set-up as it was resolved to `out/config.yaml`."""
    resolved = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (out / "config.yaml").write_text(resolved, encoding="utf-8")


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Hold a run's folder, made if it is not there.

    Raises:
        ConfigError: the folder cannot be written to, or another process holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock", timeout=0).acquire()
    except Timeout:
        raise ConfigError(f"another process is writing to {out}: wait for it, or choose another --out") from None
    except OSError as exc:
        raise ConfigError(f"cannot write to {out}: {exc.strerror}; choose another --out") from exc
    with lock:
        yield
