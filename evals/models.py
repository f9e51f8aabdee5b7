"""The chat models a config names."""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from evals.cache import ContentCache
from evals.config import ModelConfig
from evals.rows import Tokens
from graphs.models import EXTRACTIVE, chat_model


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
