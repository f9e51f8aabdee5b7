"""What the graphs of `langgraph.json` work with: read from the environment by the first run, shared by all of them."""

import atexit
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from graphs.m3_agent import Protocol
from graphs.models import EXTRACTIVE, chat_model
from linmem_langgraph.cli.arguments import parse_namespace
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.memory import Memory
from linmem_langgraph.namespaces import NamespaceTemplate

_opening = Lock()


class Settings(BaseSettings):
    """From `LINMEM_PATH` and so on. As they are, neither key nor server is needed.

    Args:
        path: the memory's folder; a relative one is in the working directory.
        reader: by name, as in `Memory.open`.
        reader_options: the reader's own arguments, a JSON object; None = lexical embeddings for the chroma reader.
        namespace: whose memory, with `{fields}` that each run fills, written as in `linmem`: "users/{user_id}".
        model: by name, as in `graphs.models`.
        protocol: how m3_agent speaks to the model, "tool_calls" or "m3".
    """

    model_config = SettingsConfigDict(env_prefix="LINMEM_", env_ignore_empty=True, extra="ignore", frozen=True)

    path: Path = Path(".linmem")
    reader: str = "chroma"
    reader_options: dict[str, Any] | None = None
    namespace: str = "users/{user_id}"
    model: str = EXTRACTIVE
    protocol: Protocol = "tool_calls"


@dataclass(frozen=True)
class Shared:
    """One memory and one model for all graphs of a process."""

    memory: Memory
    model: BaseChatModel
    template: NamespaceTemplate
    protocol: Protocol


def shared() -> Shared:
    """What the environment asks for; it is opened by the first call, and closed when the interpreter exits.

    Raises:
        ConfigError: a setting is invalid, or what it names cannot be had.
    """
    with _opening:
        return _shared()


@cache
def _shared() -> Shared:
    opened = open_shared(read_settings())
    atexit.register(opened.memory.close)
    return opened


def read_settings() -> Settings:
    """The settings in the environment.

    Raises:
        ConfigError: one is invalid.
    """
    try:
        return Settings()
    except ValidationError as exc:
        problem = exc.errors()[0]
        field = str(problem["loc"][0])
        # The reader's options may hold a key, and clients of a server are told of errors.
        value = "" if field == "reader_options" else f" {problem['input']!r}"
        raise ConfigError(f"LINMEM_{field.upper()}{value} of the environment is invalid: {problem['msg']}") from None
    except SettingsError as exc:
        raise ConfigError(f"a variable LINMEM_... of the environment is invalid: {exc}") from exc


def open_shared(settings: Settings) -> Shared:
    """What the settings ask for; its memory is to be closed.

    Raises:
        ConfigError: what one names cannot be had.
    """
    template = NamespaceTemplate(parse_namespace(settings.namespace))
    model = chat_model(settings.model)
    options = settings.reader_options
    if options is None:
        options = {"embeddings": "lexical"} if settings.reader == "chroma" else {}
    return Shared(Memory.open(settings.path, settings.reader, **options), model, template, settings.protocol)
