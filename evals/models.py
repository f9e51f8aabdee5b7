"""The chat models a config names, and those that it leaves to the servers to name."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from evals.cache import ContentCache
from evals.config import ModelConfig, RunConfig
from evals.reads import READS
from evals.rows import Tokens
from graphs.models import EXTRACTIVE, chat_model
from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.vllm import ChatVLLM


def configured_model(config: ModelConfig, cache: ContentCache | None = None, **defaults: Any) -> BaseChatModel:
    """The model; with `cache`, one that is asked nothing twice, unless it is in this process.

    Args:
        defaults: options that hold where the config does not say otherwise.

    Raises:
        ConfigError: it cannot be made.
    """
    if config.model == EXTRACTIVE:
        return chat_model(config.model, **config.options)
    found = chat_model(config.model, **defaults | config.options)
    return cache.model(found) if cache else found


def tokens_of(message: AIMessage) -> Tokens:
    """What a model's turn took, as far as it tells."""
    used = message.usage_metadata
    if not used or "input_tokens" not in used:  # LangChain gives what comes from a cache a cost, if nothing else
        return Tokens()
    cached = (used.get("input_token_details") or {}).get("cache_read") or 0
    return Tokens(prompt=used["input_tokens"], cached=cached, completion=used["output_tokens"])


def served(config: RunConfig) -> dict[str, str]:
    """The names of models that the config leaves to the servers, by what they are for, as far as servers tell."""
    parts = {"controller": (config.controller.model, config.controller.options)}
    for arm, reader in {"main": config.reader, **config.compared}.items():
        if reader.name in READS:
            parts[arm] = (str(reader.options.get("model", "vllm:")), reader.options)
    names = dict[str, str]()
    for part, (model, options) in parts.items():
        if model == "vllm:":
            url = {"base_url": options["base_url"]} if options.get("base_url") else {}
            with suppress(ReaderUnavailable):
                names[part] = ChatVLLM(**url).served_model()
    return names


def same_as_before(file: Path, names: dict[str, str]) -> None:
    """Note in `file` which models answer a run.

    Raises:
        ConfigError: others did so far.
    """
    before: dict[str, str] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for part, name in names.items():
        if before.get(part, name) != name:
            raise ConfigError(
                f"the {part}'s answers in {file.parent} are by {before[part]!r}, but its server has {name!r} now: "
                "serve that again, or choose another --out"
            )
    if names.items() - before.items():
        file.write_text(json.dumps(before | names), encoding="utf-8")
