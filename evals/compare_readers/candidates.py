"""The readers that are compared: all that are registered, with the models there are."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from pydantic import PrivateAttr

from evals.tiny.chat import TinyChatModel, shipped, tiny_model
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers import READERS, Reader, create_reader
from linmem_langgraph.readers.linear import LinearReader
from linmem_langgraph.records import Usage

EXPECTED = ("chroma", "delta", "linear", "hybrid", "rolling")
"""Readers of the project; one that is not registered is left out, with a line that says so."""

FULL_CONTEXT = "full context"
"""What the linear reader is called with a model of softmax attention alone."""

Options = Mapping[str, Any]


class ReadBy(NamedTuple):
    """A model that readers are given.

    Args:
        version: what tells it from others.
        is_softmax: whether it has no linear layer.
        held: the bytes of the states that it keeps in this process.
    """

    name: str
    model: BaseChatModel
    version: str
    is_softmax: bool = False
    held: Callable[[], int] = lambda: 0


class Candidate(NamedTuple):
    """A reader with its options.

    Args:
        label: what it is called in tables.
        version: what tells it from others, and from itself with other weights or options.
        make: the reader, with its files in a folder.
        held: the bytes of what its model keeps in this process.
        has_model: whether a model reads, so that what it says is an answer.
    """

    label: str
    version: str
    make: Callable[[Path], Reader]
    held: Callable[[], int]
    has_model: bool


class CountedModel(TinyChatModel):
    """linmem-tiny, which says how large the states are that reads go on from."""

    _passed: set[tuple[str, str]] = PrivateAttr(default_factory=set)

    def prime(self, messages: Sequence[BaseMessage], *, cache_salt: str) -> Usage:
        """Read on, and take note of the state that this went on from."""
        known = self._longest(self._tokens(messages), cache_salt)
        usage = super().prime(messages, cache_salt=cache_salt)
        if known.tokens < usage.prompt_tokens:
            self._passed.add((cache_salt, known.transcript))
        return usage

    def forget(self, cache_salt: str) -> None:
        """Drop them, and what is known of them: another reader may end where this one went on."""
        super().forget(cache_salt)
        self._passed = {place for place in self._passed if place[0] != cache_salt}

    def held(self) -> int:
        """Bytes; without states on the way to others, which it keeps as long as there is room."""
        with self._lock:
            return sum(state.bytes for place, state in self._kept.items() if place not in self._passed)


def tiny_models(names: Sequence[str]) -> list[ReadBy]:
    """The models called so, else all that are shipped.

    Raises:
        ConfigError: one is unknown, two have the same name, or there is none.
    """
    models = [CountedModel(folder=tiny_model(name).folder) for name in names or shipped()]
    found = {model.folder.name: model for model in models}
    if len(found) < len(models) or not models:
        raise ConfigError(f"{len(models)} models of {len(found)} names: name models in folders of different names")
    return [
        ReadBy(f"linmem-tiny {name}", model, model.fingerprint, _is_softmax(model.folder), model.held)
        for name, model in found.items()
    ]


def _is_softmax(folder: Path) -> bool:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return set(config["layer_types"]) == {"full_attention"}


def candidates(
    models: Sequence[ReadBy],
    given: Options,
    tuned: Mapping[str, Options],
    say: Callable[[str], object],
    only: Sequence[str] = (),
) -> list[Candidate]:
    """Each registered reader, once for each model if it takes one.

    Args:
        given: options of all readers that have them.
        tuned: options by reader.
        say: is told who is left out.
        only: the readers that are wanted; none named = all.

    Raises:
        ConfigError: one that is wanted is unknown.
    """
    if unknown := sorted(set(only) - {*EXPECTED, *READERS}):
        raise ConfigError(f"unknown reader {unknown[0]!r}; choose {', '.join(READERS)}")
    found = []
    for name in only or dict.fromkeys([*EXPECTED, *READERS]):
        if name not in READERS:
            say(f"{name}: not registered, left out")
            continue
        taken = _taken(name)
        options = {each: value for each, value in given.items() if each in taken} | dict(tuned.get(name, {}))
        if "model" not in taken:
            found.append(_candidate(name, name, options))
        elif not models:
            say(f"{name}: no model is given, left out")
        for model in models if "model" in taken else ():
            if not model.is_softmax:
                found.append(_candidate(f"{name} ({model.name})", name, options, model))
            elif name == LinearReader.name:
                found.append(_candidate(f"{FULL_CONTEXT} ({model.name})", name, options, model))
    if not any(model.is_softmax for model in models):
        say(f"{FULL_CONTEXT}: no model of softmax attention alone is given, left out")
    return found


def _candidate(label: str, name: str, options: dict[str, Any], by: ReadBy | None = None) -> Candidate:
    version = json.dumps([name, options, by.version if by else ""])
    named = options | ({"model": by.model} if by else {})
    return Candidate(
        label, version, lambda path: create_reader(name, path, named), by.held if by else lambda: 0, by is not None
    )


def _taken(name: str) -> frozenset[str]:
    """The arguments of a reader."""
    module, _, factory = READERS[name].partition(":")
    return frozenset(signature(getattr(import_module(module), factory)).parameters)
