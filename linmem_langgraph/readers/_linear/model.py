"""How `LinearReader` asks its model: what is sent, what comes back, and what went wrong."""

import asyncio
import json
import operator
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import openai
from langchain_core.caches import BaseCache
from langchain_core.exceptions import ContextOverflowError
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, run_in_executor

from linmem_langgraph.errors import ContextOverflow, LinmemError, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.loop import together
from linmem_langgraph.readers._linear.traffic import traffic_of
from linmem_langgraph.records import Usage
from linmem_langgraph.vllm import STATE_FLAGS, ChatVLLM

T = TypeVar("T")

READ: RunnableConfig = {
    "run_name": "linear_read",
    "tags": ["nostream"],  # its words are a tool's result: LangGraph is not to stream them as the agent's answer
}

COUNTS_AT_A_TIME = 8


class Answer(NamedTuple):
    """What the model wrote, and what that cost."""

    text: str
    usage: Usage


class ReaderModel:
    """Any chat model: it is asked as it is, and neither primed nor asked for token counts.

    Args:
        model: the chat model.
        timeout: seconds a request may take.
        concurrency: requests under way at a time, for all readers of one server.
        secret: mixed into the `cache_salt` of each namespace, where states are kept.
    """

    primes = False
    counts = False

    def __init__(self, model: BaseChatModel, *, timeout: float, concurrency: int, secret: str = "") -> None:
        self._model, self._timeout, self.concurrency, self._secret = model, timeout, concurrency, secret
        self.traffic = traffic_of(self.place, concurrency)
        self._threads: ThreadPoolExecutor | None = None

    @property
    def place(self) -> str:
        """Where the model is."""
        return str(getattr(self._model, "openai_api_base", None) or type(self._model).__name__)

    @property
    def name(self) -> str:
        """The model's name, as far as it is known."""
        return self._model._get_ls_params().get("ls_model_name") or type(self._model).__name__

    async def ask(self, messages: Sequence[BaseMessage], namespace: Namespace, max_tokens: int) -> Answer:
        """The model's answer, at most `max_tokens` tokens where the model can be told so.

        Raises:
            ContextOverflow: the messages are longer than the model's context.
            ReaderUnavailable: the model cannot be reached, or does not answer as a chat model.
        """
        async with self.traffic.read():
            message = await self._reaching(self._invoke(messages, namespace, max_tokens))
        if not message.text.strip():
            raise ReaderUnavailable(
                f"{self.name} at {self.place} wrote nothing within {max_tokens} tokens: give LinearReader more "
                "max_tokens, or a model that answers without thinking first"
            )
        return Answer(message.text.strip(), _usage(message))

    async def knows(self, messages: Sequence[BaseMessage], namespace: Namespace, max_tokens: int) -> bool:
        """Whether a cache of LangChain's has the answer, so that the model will not be asked."""
        return False

    async def prime(self, messages: Sequence[BaseMessage], namespace: Namespace) -> Usage:
        """Let the model read the very beginning of the reads to come, and keep the state; what that cost.

        Raises:
            NotImplementedError: it keeps no states; `primes` says so.
        """
        raise NotImplementedError

    async def context_tokens(self) -> int | None:
        """The model's context, in tokens; None if it cannot be asked for."""
        return None

    async def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is: a third of its bytes, more than most are."""
        return [len(text.encode()) // 3 + 1 for text in texts]

    def forget(self, namespace: Namespace) -> None:
        """Drop the states that this process keeps of the namespace; a server's are of no prompt any more."""

    async def close(self) -> None:
        """Release connections and threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    async def _invoke(self, messages: Sequence[BaseMessage], namespace: Namespace, max_tokens: int) -> AIMessage:
        # A client of this model may belong to another event loop; a thread has none.
        return await self._in_thread(self._model.invoke, list(messages), READ)

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        self._threads = self._threads or ThreadPoolExecutor(self.concurrency, thread_name_prefix="linmem-reads")
        # The context tells it which run it is part of.
        done: Awaitable[T] = run_in_executor(self._threads, copy_context().run, work, *args)
        return await asyncio.wait_for(done, self._timeout)

    async def _reaching(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except LinmemError:
            raise
        except Exception as exc:
            # A server that answers with something else makes its client raise whatever it stumbles over.
            raise self._error(exc) from exc

    def _salt(self, namespace: Namespace) -> str:
        """What keeps a namespace's states apart from those of others."""
        return sha256(json.dumps([self._secret, *namespace]).encode()).hexdigest()[:32]

    def _error(self, exc: Exception) -> LinmemError:
        said = f"{type(exc).__name__}: {exc}"[:500]
        if isinstance(exc, ContextOverflowError) or "maximum context length" in said:
            return ContextOverflow(f"{self.place}: {said}. Serve the model with a longer context (--max-model-len)")
        return ReaderUnavailable(f"{self.place} does not answer as a model should ({said}). {self._fix(exc)}")

    def _fix(self, exc: Exception) -> str:
        return "Check the model's URL, name and key"


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
        self._vllm = model.model_copy(update={"disable_streaming": True, **mine})
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


def _usage(message: AIMessage) -> Usage:
    used = message.usage_metadata
    if used is None or "input_tokens" not in used:  # LangChain gives what comes from a cache a cost, if nothing else
        return Usage()
    return Usage(
        prompt_tokens=used["input_tokens"],
        cached_tokens=used.get("input_token_details", {}).get("cache_read") or 0,
        completion_tokens=used["output_tokens"],
    )
