"""A chat model for any OpenAI-compatible server that is not OpenAI, such as vLLM."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Self

import openai
from langchain_core.language_models import LangSmithParams, LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import run_in_executor
from langchain_openai.chat_models.base import BaseChatOpenAI
from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from linmem_langgraph.errors import ConfigError, ReaderUnavailable

DEFAULT_URL = "http://127.0.0.1:8000/v1"
OPENED, CLOSED = "<think>", "</think>"

STATE_FLAGS = (
    *("--enable-prefix-caching", "--mamba-cache-mode", "align", "--prefix-match-unit", "16"),
    *("--prefix-cache-retention-interval", "0", "--enable-prompt-tokens-details"),
)
"""What lets a vLLM server begin a prompt at the state an earlier one left, and tell how much of it did: for linear and
hybrid models. A softmax model takes the first and the last of them."""


class VLLMSettings(BaseSettings):
    """Where the server is, from `VLLM_BASE_URL` and `VLLM_API_KEY`; read when a model is made."""

    model_config = SettingsConfigDict(env_prefix="VLLM_", env_ignore_empty=True, extra="ignore")

    base_url: str = DEFAULT_URL
    api_key: SecretStr = SecretStr("none")


class ChatVLLM(BaseChatOpenAI):
    """A chat model on a vLLM server, or another one that speaks OpenAI's chat completions.

    Cached prompt tokens are in `usage_metadata["input_token_details"]["cache_read"]`, if the server tells (vLLM:
    `--enable-prompt-tokens-details`). What a model thinks is kept out of its answer: it is in
    `additional_kwargs["reasoning_content"]`. In a stream a thought is told from an answer if the server has a
    `--reasoning-parser`, or else if the model opens it, with `<think>`.

    Args:
        base_url: the server's `/v1`; None = `VLLM_BASE_URL`, or else port 8000 on this machine.
        model: the served model's name; None = the one the server serves, asked for at the first call.
        api_key: None = `VLLM_API_KEY`, or else none. OpenAI's own variables are never read.
        (and whatever `BaseChatOpenAI` takes: `temperature`, `max_tokens`, `timeout`, `max_retries`, `extra_body`, ...)

    Raises (when called):
        ReaderUnavailable: no model is named and the server cannot be asked.
        ConfigError: no model is named and the server serves none, or several.
    """

    @model_validator(mode="before")
    @classmethod
    def _from_settings(cls, values: dict[str, Any]) -> dict[str, Any]:
        settings = VLLMSettings()
        given = {name: value for name, value in values.items() if value is not None}
        if not given.keys() & {"base_url", "openai_api_base"}:
            given["base_url"] = settings.base_url
        if not given.keys() & {"api_key", "openai_api_key"}:
            given["api_key"] = settings.api_key
        if not given.keys() & {"model", "model_name"}:
            given["model"] = ""
        # With a limit between chunks, cancelling a stream on Python 3.11 now and then does not end it.
        fixed = {"stream_usage": True, "use_responses_api": False, "openai_proxy": None, "stream_chunk_timeout": 0}
        return {**fixed, **given}

    @model_validator(mode="after")
    def _without_the_account_at_openai(self) -> Self:
        """The clients have read OpenAI's variables; what these name is sent to nobody else."""
        self.openai_organization = None
        for client in (self.root_client, self.root_async_client):
            if client is not None:
                client.organization = client.project = None
                client._custom_headers = self.default_headers or {}
        return self

    @property
    def _llm_type(self) -> str:
        return "vllm-chat"

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        # A cache of answers goes by these: models of one name on two servers are not the same.
        return {"base_url": self.openai_api_base, **super()._get_invocation_params(stop=stop, **kwargs)}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "vllm"
        return params

    def served_model(self) -> str:
        """The model's name: the one given, or the one the server serves.

        Raises:
            ReaderUnavailable: the server cannot be asked.
            ConfigError: it serves none, or several.
        """
        return self.model_name or self.choose(self._served())

    def choose(self, served: Sequence[str]) -> str:
        """Take the only one of the models that are served, if none was named.

        Raises:
            ConfigError: there is none, or there are several.
        """
        if not self.model_name and len(served) != 1:
            raise ConfigError(f"{self.openai_api_base} serves {list(served) or 'no model'}: name one with model=...")
        self.model_name = self.model_name or served[0]
        return self.model_name

    def _served(self) -> list[str]:
        try:
            answer = self.root_client.models.with_raw_response.list(timeout=self.request_timeout or 10.0)
            return [model["id"] for model in answer.http_response.json()["data"]]
        except (openai.OpenAIError, ValueError, TypeError, KeyError) as exc:
            raise ReaderUnavailable(
                f"{self.openai_api_base} cannot be asked for its models ({exc!r}). Start a server: vllm serve MODEL"
            ) from exc

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        payload["model"] = kwargs.get("model") or self.served_model()
        return payload

    def _create_chat_result(
        self, response: dict[str, Any] | openai.BaseModel, generation_info: dict[str, Any] | None = None
    ) -> ChatResult:
        choices = getattr(response, "choices", None) or []
        for choice in choices:
            choice.message.role = "assistant"  # without a generation prompt vLLM names the last message's
        result = super()._create_chat_result(response, generation_info)
        for generation, choice in zip(result.generations, choices, strict=False):
            message = generation.message
            reasoning, said = _reasoning(choice.message.model_extra or {}), str(message.text)
            if not reasoning:
                reasoning, said = _part(said)
            _set_reasoning(message, reasoning)
            message.content = generation.text = said
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        delta = (chunk.get("choices") or [{}])[0].get("delta") or {}
        delta["role"] = "assistant"
        converted = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        if converted:
            _set_reasoning(converted.message, _reasoning(delta))
        return converted

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield from map(_Parted().chunk, super()._stream(*args, **kwargs))

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        kwargs["model"] = kwargs.get("model") or await self._aserved_model()
        parted = _Parted()
        async for chunk in super()._astream(*args, **kwargs):
            yield parted.chunk(chunk)

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        kwargs["model"] = kwargs.get("model") or await self._aserved_model()
        return await super()._agenerate(*args, **kwargs)

    async def _aserved_model(self) -> str:
        return self.model_name or await run_in_executor(None, self.served_model)


def _reasoning(message: Mapping[str, Any]) -> str:
    """What a reasoning parser of the server put apart; vLLM has called the field both ways."""
    return str(message.get("reasoning") or message.get("reasoning_content") or "")


def _set_reasoning(message: BaseMessage, reasoning: str) -> None:
    """Kept where LangChain looks for it, which is nowhere in a message that claims to be from OpenAI."""
    message.response_metadata["model_provider"] = "vllm"
    if reasoning:
        message.additional_kwargs["reasoning_content"] = reasoning


def _part(text: str) -> tuple[str, str]:
    """What a model thought, and what it said, when the server left both in one text."""
    thought, closed, said = text.rpartition(CLOSED)
    if not closed and text.lstrip().startswith(OPENED):
        return text.strip().removeprefix(OPENED).strip(), ""
    return thought.strip().removeprefix(OPENED).strip(), said.lstrip() if closed else said


class _Parted:
    """Parts the texts of a stream: what may be a thought is held back until it ends, as its tags may come in pieces."""

    def __init__(self) -> None:
        self._held: str | None = ""  # None: the answer has begun

    def chunk(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        if self._held is None:
            return chunk
        message, text = chunk.message, self._held + chunk.text
        reasoning, said = _part(text)
        opening = text.lstrip()[: len(OPENED)]
        unsure = OPENED.startswith(opening) and (opening != OPENED or not said)
        if unsure and "finish_reason" not in (chunk.generation_info or {}):
            self._held, reasoning, said = text, "", ""
        else:
            self._held = None
        _set_reasoning(message, reasoning)
        message.content = said
        return ChatGenerationChunk(message=message, generation_info=chunk.generation_info)
