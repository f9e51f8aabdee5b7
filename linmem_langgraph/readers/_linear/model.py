"""How a reader asks its model, whichever it is: what is sent, what comes back, and what went wrong."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, run_in_executor

from linmem_langgraph.errors import ContextOverflow, LinmemError, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.traffic import traffic_of
from linmem_langgraph.records import Usage, clean
from linmem_langgraph.traces import model_call

T = TypeVar("T")

RUN = "linear_read"

READ: RunnableConfig = {
    "run_name": RUN,
    "tags": ["nostream"],  # its words are a tool's result: LangGraph is not to stream them as the agent's answer
}


class Answer(NamedTuple):
    """What the model wrote, what that cost, and whether it was cut off, as far as its server says."""

    text: str
    usage: Usage
    cut: bool


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
            with model_call(RUN, self._told) as answered:
                message = await self._reaching(self._invoke(messages, namespace, max_tokens))
                answered(message)
        text = clean(message.text)
        if not text:
            raise ReaderUnavailable(
                f"{self.name} at {self.place} wrote nothing within {max_tokens} tokens: give the reader more "
                "max_tokens, or a model that answers without thinking first"
            )
        return Answer(text, _usage(message), _was_cut(message))

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

    def _told(self) -> Mapping[str, Any]:
        """What a trace is told of the model."""
        return {**self._model._get_ls_params()}

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


def _was_cut(message: AIMessage) -> bool:
    # Each provider has its own name for it.
    ended = {str(message.response_metadata.get(name)) for name in ("finish_reason", "stop_reason", "done_reason")}
    return not ended.isdisjoint({"length", "max_tokens", "MAX_TOKENS"})


def _usage(message: AIMessage) -> Usage:
    used = message.usage_metadata
    if used is None or "input_tokens" not in used:  # LangChain gives what comes from a cache a cost, if nothing else
        return Usage()
    return Usage(
        prompt_tokens=used["input_tokens"],
        cached_tokens=used.get("input_token_details", {}).get("cache_read") or 0,
        completion_tokens=used["output_tokens"],
    )
