"""What models and embeddings said, kept by content: a run that was broken off or changed asks for no answer twice.

One SQLite file for all runs. What is asked of a model in this process is not kept, nor is an answer without words.
A memory is primed only for a question that is really asked.
"""

import hashlib
import json
import sqlite3
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import messages_from_dict, messages_to_dict
from langchain_core.outputs import ChatGeneration
from langgraph.cache.sqlite import SqliteCache

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.vllm import ChatVLLM

_NOT_SAID = ("id", "usage_metadata", "response_metadata", "artifact")
"""What a message holds of the call that made it, and what no model is shown: another time it is another."""


class ContentCache:
    """The file; it is made when something is to be kept.

    Args:
        path: the SQLite file.
        seed: a run's: runs with different seeds do not share answers, as a model may answer in several ways.
    """

    def __init__(self, path: Path, seed: int = 0) -> None:
        self._path, self.seed = path, seed
        self.answers = set[str]()
        """The keys of answers that came from here."""

    def model(self, model: BaseChatModel) -> BaseChatModel:
        """The same model, which is asked only what it has not answered yet.

        Raises:
            ReaderUnavailable: its name is to be the one that its server serves, and that cannot be asked.
        """
        if isinstance(model, ChatVLLM):
            model.served_model()
        return model.model_copy(update={"cache": _Answers(self, _server_of(model))})

    def embeddings(self, embeddings: Embeddings, name: str) -> Embeddings:
        """The same embeddings, which are asked only for texts they have not embedded yet.

        Args:
            name: tells them from others.
        """
        return _Embedded(embeddings, name, self)

    def get(self, kind: str, keys: list[str]) -> dict[str, Any]:
        """What is kept under those keys."""
        found: dict[str, Any] = {}
        for start in range(0, len(keys), 1_000):  # SQLite bounds the parameters of a statement
            places = [((kind,), key) for key in keys[start : start + 1_000]]
            found.update((key, value) for (_, key), value in self._kept.get(places).items())
        return found

    def put(self, kind: str, values: dict[str, Any]) -> None:
        """Keep them."""
        self._kept.set({((kind,), key): (value, None) for key, value in values.items()})

    def drop(self, kind: str) -> None:
        """Keep none of a kind."""
        self._kept.clear([(kind,)])

    @cached_property
    def _kept(self) -> SqliteCache[Any]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return SqliteCache(path=str(self._path))
        except sqlite3.DatabaseError as exc:
            raise ConfigError(f"{self._path} cannot be used ({exc}): delete it, or run with --no-cache") from exc


class _Answers(BaseCache):
    """As LangChain asks for it.

    Args:
        server: where the model is, which LangChain does not tell where a variable of the environment names it.
    """

    def __init__(self, cache: ContentCache, server: str) -> None:
        self._cache, self._server = cache, server

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The generations, if this was asked before."""
        key = self._key(prompt, llm_string)
        kept = self._cache.get("answer", [key]).get(key)
        if not kept:
            return None
        self._cache.answers.add(key)
        return [ChatGeneration(message=message) for message in messages_from_dict(kept)]

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep the generations, unless one of them says nothing."""
        messages = [each.message for each in return_val if isinstance(each, ChatGeneration)]
        if all(message.text.strip() or getattr(message, "tool_calls", None) for message in messages):
            self._cache.put("answer", {self._key(prompt, llm_string): messages_to_dict(messages)})

    def clear(self, **_: Any) -> None:
        """Drop all answers, of all seeds; embeddings stay."""
        self._cache.drop("answer")

    def _key(self, prompt: str, llm_string: str) -> str:
        return _digest(str(self._cache.seed), self._server, _content(prompt), llm_string)


class _Embedded(Embeddings):
    def __init__(self, inner: Embeddings, name: str, cache: ContentCache) -> None:
        self._inner, self.model, self._cache = inner, name, cache

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        keys = {text: _digest(self.model, text) for text in texts}
        known = self._cache.get("document", [*keys.values()])
        if new := [text for text, key in keys.items() if key not in known]:
            vectors = zip(new, self._inner.embed_documents(new), strict=True)
            made = {keys[text]: np.asarray(vector, dtype=np.float32).tobytes() for text, vector in vectors}
            self._cache.put("document", made)
            known |= made
        return [_vector(known[keys[text]]) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        key = _digest(self.model, text)
        kept = self._cache.get("query", [key]).get(key)
        if kept is None:
            kept = np.asarray(self._inner.embed_query(text), dtype=np.float32).tobytes()
            self._cache.put("query", {key: kept})
        return _vector(kept)


def _server_of(model: BaseChatModel) -> str:
    client = getattr(model, "root_client", None)
    return str(client.base_url) if client else ""


def _vector(kept: bytes) -> list[float]:
    vector: list[float] = np.frombuffer(kept, dtype=np.float32).tolist()
    return vector


def _content(prompt: str) -> str:
    """LangChain's prompt, without what only tells of the calls that made its messages."""
    messages = json.loads(prompt)
    for message in messages:
        for name in _NOT_SAID:
            message["kwargs"].pop(name, None)
    return json.dumps(messages, sort_keys=True)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
