"""Models that keep the states of what they read: how they are primed and count tokens, and which of them a model is."""

import asyncio
import operator
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import openai
from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage

from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.loop import together
from linmem_langgraph.readers._linear.model import READ, ReaderModel
from linmem_langgraph.records import Usage
from linmem_langgraph.vllm import STATE_FLAGS, ChatVLLM

COUNTS_AT_A_TIME = 8


@runtime_checkable
class KeepsStates(Protocol):
    """A chat model that keeps the states of what it has read itself, apart for each `cache_salt`.

    It is invoked with `max_tokens` and `cache_salt`.
    """

    def prime(self, messages: Sequence[BaseMessage], *, cache_salt: str) -> Usage:
        """Read the beginning of prompts to come, and keep the state; what that cost."""

    def forget(self, cache_salt: str) -> None:
        """Drop the states that have this salt."""

    def get_num_tokens(self, text: str) -> int:
        """How many tokens a text is."""


class StatefulReaderModel(ReaderModel):
    """A model that keeps states in this process."""

    primes = True
    counts = True

    async def prime(self, messages: Sequence[BaseMessage], namespace: Namespace) -> Usage:
        """Let the model read the very beginning of the reads to come."""
        salted = partial(self._states.prime, cache_salt=self._salt(namespace))
        return await self._reaching(self._in_thread(salted, list(messages)))

    async def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is."""
        return [self._states.get_num_tokens(text) for text in texts]

    def forget(self, namespace: Namespace) -> None:
        """Drop the states of what was read."""
        self._states.forget(self._salt(namespace))

    @property
    def _states(self) -> KeepsStates:
        assert isinstance(self._model, KeepsStates)
        return self._model

    async def _invoke(self, messages: Sequence[BaseMessage], namespace: Namespace, max_tokens: int) -> AIMessage:
        salted = partial(self._model.invoke, max_tokens=max_tokens, cache_salt=self._salt(namespace))
        return await self._in_thread(salted, list(messages), READ)


class VllmReaderModel(ReaderModel):
    """A model on a vLLM server, which keeps the state of what it has read, apart for each namespace."""

    primes = True
    counts = True

    def __init__(self, model: ChatVLLM, *, timeout: float, concurrency: int, secret: str = "") -> None:
        super().__init__(model, timeout=timeout, concurrency=concurrency, secret=secret)
        # A pool of connections belongs to one event loop, and the model's own may serve another.
        own = model.http_async_client or openai.DefaultAsyncHttpxClient()
        self._client = model.root_async_client.with_options(http_client=own)
        mine = {"root_async_client": self._client, "async_client": self._client.chat.completions}
        self._model = self._vllm = model.model_copy(update={"disable_streaming": True, **mine})
        self._limits = openai.Timeout(timeout, connect=min(timeout, 10.0))
        self._counting = asyncio.Semaphore(COUNTS_AT_A_TIME)

    @property
    def name(self) -> str:
        """The model's name: the one given, or the one that is served, once it has been asked for."""
        return self._vllm.model_name

    async def prime(self, messages: Sequence[BaseMessage], namespace: Namespace) -> Usage:
        """Let the server read the very beginning of the reads to come.

        The last message is left open (`continue_final_message`), so that nothing of the chat template follows it.
        """
        exactly = {"add_generation_prompt": False, "continue_final_message": True}
        return await self._reaching(self._prime(messages, self._parameters(namespace, 1, exactly)))

    async def knows(self, messages: Sequence[BaseMessage], namespace: Namespace, max_tokens: int) -> bool:
        """Whether a cache of LangChain's has the answer, so that the server will not be asked."""
        own = self._vllm.cache
        cache = own if isinstance(own, BaseCache) else None if own is False else get_llm_cache()
        if cache is None:
            return False
        await self._name_model()
        # As BaseChatModel asks it.
        parameters = self._parameters(namespace, max_tokens, {})
        asked = dumps(list(messages)), self._vllm._get_llm_string(stop=None, **parameters)
        return await cache.alookup(*asked) is not None

    async def context_tokens(self) -> int | None:
        """What the server says its model's context is, in tokens."""
        served = await self._reaching(self._served())
        return served.get(self._vllm.choose([*served]))

    async def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is; a third of its bytes where the server has no `/tokenize`."""
        if not self.counts:
            return await super().count(texts)
        try:
            return await together(map(self._tokens, texts))
        except ReaderUnavailable as exc:
            if not isinstance(exc.__cause__, openai.NotFoundError):
                raise
            self.counts = False
        return await super().count(texts)

    async def close(self) -> None:
        """Release the connections, unless they are another's."""
        if self._vllm.http_async_client is None:
            await self._client.close()

    async def _invoke(self, messages: Sequence[BaseMessage], namespace: Namespace, max_tokens: int) -> AIMessage:
        await self._name_model()
        return await self._vllm.ainvoke(list(messages), READ, **self._parameters(namespace, max_tokens, {}))

    async def _prime(self, messages: Sequence[BaseMessage], parameters: dict[str, Any]) -> Usage:
        # Without LangChain around it: nobody wants a trace of it, or an answer from a cache of answers.
        await self._name_model()
        payload = self._vllm._get_request_payload(list(messages), **parameters)
        used = (await self._client.chat.completions.create(**payload)).usage
        if used is None:
            return Usage()
        cached = used.prompt_tokens_details.cached_tokens if used.prompt_tokens_details else None
        return Usage(
            prompt_tokens=used.prompt_tokens, cached_tokens=cached or 0, completion_tokens=used.completion_tokens
        )

    async def _name_model(self) -> None:
        if not self.name:
            self._vllm.choose([*await self._served()])

    async def _served(self) -> dict[str, int | None]:
        """The models there are, and their contexts in tokens where the server says so."""
        answer: Any = await self._client.get("/models", cast_to=object, options={"timeout": self._limits})
        served = {model["id"]: model.get("max_model_len") for model in answer["data"]}
        return {name: None if context is None else operator.index(context) for name, context in served.items()}

    async def _tokens(self, text: str) -> int:
        body = {"model": self._vllm.model_name, "prompt": text, "add_special_tokens": False}
        url = self.place.rstrip("/").removesuffix("/v1") + "/tokenize"
        async with self._counting, self.traffic.request():
            answer: Any = await self._reaching(
                self._client.post(url, cast_to=object, body=body, options={"timeout": self._limits})
            )
        try:
            return int(answer["count"])
        except (TypeError, KeyError, ValueError) as exc:
            raise self._error(exc) from exc

    def _parameters(self, namespace: Namespace, max_tokens: int, body: dict[str, Any]) -> dict[str, Any]:
        own = self._vllm.extra_body or {}
        salt = self._salt(namespace)
        # A thought before the answer costs more than the answer; templates that know no thinking ignore this.
        template = {"enable_thinking": False, **own.get("chat_template_kwargs", {})}
        return {
            "max_tokens": max_tokens,
            "temperature": self._vllm.temperature or 0.0,
            "timeout": self._limits,
            "extra_body": {**own, "chat_template_kwargs": template, "cache_salt": salt, **body},
            "extra_headers": {"X-Session-ID": salt},  # by which vllm-router finds the replica that has the state
        }

    def _fix(self, exc: Exception) -> str:
        if isinstance(exc, openai.APIStatusError) and exc.status_code in (401, 403, 404):
            return super()._fix(exc)
        return f"Start it with: vllm serve {self.name or 'MODEL'} {' '.join(STATE_FLAGS)}"


def reader_model(model: BaseChatModel, *, timeout: float, concurrency: int, secret: str) -> ReaderModel:
    """What asks `model`, as far as it can be told to keep states.

    Raises:
        ConfigError: it is no chat model.
    """
    if not isinstance(model, BaseChatModel):
        raise ConfigError(f"model is {model!r}: give a LangChain chat model, such as ChatVLLM(base_url=...)")
    if isinstance(model, ChatVLLM):
        return VllmReaderModel(model, timeout=timeout, concurrency=concurrency, secret=secret)
    kind = StatefulReaderModel if isinstance(model, KeepsStates) else ReaderModel
    return kind(model, timeout=timeout, concurrency=concurrency, secret=secret)
