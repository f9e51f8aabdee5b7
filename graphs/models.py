"""Chat models by name, the offline baseline among them."""

from typing import Any

from langchain_core.language_models import BaseChatModel

from linmem_langgraph import by_name
from linmem_langgraph.errors import ConfigError

EXTRACTIVE = "offline:extractive"


def chat_model(name: str, **options: Any) -> BaseChatModel:
    """The chat model called `provider:model`; "vllm:" is the one a vLLM server serves, "offline:extractive" the
    extractive baseline, which needs no server and no key.

    Args:
        options: the model's own, such as `base_url`, `temperature`, `timeout`; the provider checks them.

    Raises:
        ConfigError: the name is unknown, a key is missing, an option is refused, or a package is not installed.
    """
    if name == EXTRACTIVE:
        from graphs.extractive import ExtractiveChatModel

        if options:
            raise ConfigError(f"{EXTRACTIVE} takes no options, not even {next(iter(options))!r}")
        return ExtractiveChatModel()
    if name.startswith("offline:"):
        raise ConfigError(f"unknown offline model {name!r}; choose {EXTRACTIVE}")
    if ":" not in name:
        raise ConfigError(
            f"the model's name is {name!r}: write provider:model, as in openai:gpt-5-mini, or {EXTRACTIVE}"
        )
    return by_name.chat_model(name, **options)
