"""Chat models by name."""

from typing import Any

from langchain_core.language_models import BaseChatModel

from linmem_langgraph.errors import ConfigError

EXTRACTIVE = "offline:extractive"
VLLM = "vllm:"


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
    if not name:
        raise ConfigError(f"the model's name is {name!r}: write provider:model, or {EXTRACTIVE}")
    if name.startswith(VLLM):
        from linmem_langgraph.vllm import ChatVLLM

        return ChatVLLM(model=name.removeprefix(VLLM) or None, **options)
    if name.startswith("offline:"):
        raise ConfigError(f"unknown offline model {name!r}; choose {EXTRACTIVE}")
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as exc:
        raise ConfigError("models by name need langchain: pip install 'linmem-langgraph[langchain]'") from exc
    try:
        model: BaseChatModel = init_chat_model(name, **options)
    except Exception as exc:
        raise ConfigError(f"cannot make the chat model {name!r}: {exc}") from exc
    return model
