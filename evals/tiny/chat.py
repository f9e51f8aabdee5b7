"""linmem-tiny as a LangChain chat model, that `LinearReader` takes like any other and primes by reading on."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, PrivateAttr

from evals.tiny.language import ASSISTANT, END, POSITIONS, UNKNOWN, USER
from evals.tiny.runtime import Runtime, State, followed_by
from linmem_langgraph.errors import ConfigError, UnsafeFile
from linmem_langgraph.readers._linear.prompt import INSTRUCTIONS
from linmem_langgraph.records import Usage

MODELS = Path(__file__).parent / "models"

ANSWER = 128
"""Tokens of an answer, at most: it tells its evidence first."""

FOREIGN = 0.1
"""Share of unknown words above which a prompt is refused, as one with an unknown position is: what it would say of them
means nothing."""

KEPT = 256
"""States that a model keeps, of all memories, about a megabyte each; the least recently used goes first."""


@cache
def runtime(folder: Path) -> Runtime:
    """The model in a folder, loaded once."""
    return Runtime(folder)


def shipped() -> list[str]:
    """The models that come with the project."""
    return sorted(path.parent.name for path in MODELS.glob("*/step.onnx"))


def tiny_model(name: str, states: Path | None = None) -> "TinyChatModel":
    """The model called `hybrid`, `linear` or `softmax`, or that in a folder.

    Raises:
        ConfigError: there is none of this name.
    """
    try:
        return TinyChatModel(folder=MODELS / name if name in shipped() else Path(name), states=states)
    except OSError as exc:
        choice = ", ".join([*shipped(), "or the folder of one"])
        raise ConfigError(f"there is no linmem-tiny {name!r}: choose {choice}") from exc


class TinyChatModel(BaseChatModel):
    """A household's memory model of a million parameters, in this process; it says the likeliest.

    Args:
        folder: what `evals.tiny.publish` wrote.
        states: a folder where a state is kept for each memory, so that the next process need not read it again.

    Raises:
        OSError: the model is not there.
    """

    folder: Path
    states: Path | None = None
    max_tokens: int = Field(default=ANSWER, ge=1)

    _runtime: Runtime = PrivateAttr()
    _kept: OrderedDict[tuple[str, str], State] = PrivateAttr(default_factory=OrderedDict)
    _lock: Lock = PrivateAttr(default_factory=Lock)

    def model_post_init(self, context: Any, /) -> None:
        """Load the model."""
        self._runtime = runtime(self.folder)

    @property
    def _llm_type(self) -> str:
        return "linmem-tiny"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider="embedded", ls_model_name=f"linmem-tiny-{self.folder.name}", ls_model_type="chat"
        )

    @property
    def fingerprint(self) -> str:
        """What tells this model from others."""
        return self._runtime.fingerprint

    def get_num_tokens(self, text: str) -> int:
        """How many tokens a text is."""
        return len(self._runtime.tokenizer.encode(text).ids)

    def prime(self, messages: Sequence[BaseMessage], *, cache_salt: str) -> Usage:
        """Read the beginning of prompts to come, and keep the state."""
        tokens = self._tokens(messages)
        known = self._longest(tokens, cache_salt)
        state = self._runtime.read(known, tokens[known.tokens :])
        self._keep(state, cache_salt)
        if self.states is not None:
            self._runtime.save(state, self.states / f"{cache_salt}.npz")
        return Usage(prompt_tokens=len(tokens), cached_tokens=known.tokens)

    def forget(self, cache_salt: str) -> None:
        """Drop all states of a memory, from the folder too."""
        with self._lock:
            for place in [place for place in self._kept if place[0] == cache_salt]:
                del self._kept[place]
        if self.states is not None and self.states.exists():
            # Its file, and what a process that was killed has left of a save.
            its = re.compile(re.escape(f"{cache_salt}.npz") + r"(\.[0-9a-f]{32}\.new)?")
            for file in filter(lambda file: its.fullmatch(file.name), self.states.iterdir()):
                file.unlink(missing_ok=True)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        max_tokens: int | None = None,
        cache_salt: str = "",
        **kwargs: Any,
    ) -> ChatResult:
        tokens = [*self._tokens(messages), *self._runtime.tokenizer.encode(ASSISTANT).ids]
        known = self._longest(tokens, cache_salt)
        state = self._runtime.read(known, tokens[known.tokens :])
        said = self._runtime.write(state, max_tokens or self.max_tokens)
        usage = UsageMetadata(
            input_tokens=len(tokens),
            output_tokens=len(said),
            total_tokens=len(tokens) + len(said),
            input_token_details=InputTokenDetails(cache_read=known.tokens),
        )
        message = AIMessage(self._runtime.tokenizer.decode(said), usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _tokens(self, messages: Sequence[BaseMessage]) -> list[int]:
        """As the chat template has it: it knows its instructions by heart."""
        for message in messages:
            if isinstance(message, SystemMessage) and message.text != INSTRUCTIONS:
                raise ValueError(
                    "linmem-tiny knows one task, to answer a question from a memory that it reads whole, and was not "
                    f"taught this one: {message.text[:160]!r}"
                )
        text = "".join(
            f"{USER}{message.text}" if isinstance(message, HumanMessage) else f"{ASSISTANT}{message.text}{END}"
            for message in messages
            if isinstance(message, HumanMessage | AIMessage)
        )
        encoded = self._runtime.tokenizer.encode(text)
        told = zip(encoded.offsets, encoded.tokens, strict=True)
        unknown = [text[start:end] for (start, end), token in told if token == UNKNOWN]
        if len(unknown) > FOREIGN * len(encoded.ids) or any(word.startswith("[") for word in unknown):
            words = ", ".join(dict.fromkeys(map(repr, unknown[-5:])))
            raise ValueError(
                f"linmem-tiny reads sentences of the bundled household, with positions up to [{POSITIONS - 1}], and "
                f"nothing else: it does not know {words}"
            )
        return encoded.ids

    def _longest(self, tokens: list[int], cache_salt: str) -> State:
        """The state that has read the most of the prompt, and nothing else."""
        places = [(cache_salt, transcript) for transcript in followed_by("", tokens)][::-1]
        found = self._found(places)
        if found is None and self.states is not None and (file := self.states / f"{cache_salt}.npz").exists():
            # A state that is damaged, or another model's, is made again.
            with suppress(UnsafeFile):
                self._keep(self._runtime.load(file), cache_salt)
                found = self._found(places)
        return found or self._runtime.empty()

    def _found(self, places: Sequence[tuple[str, str]]) -> State | None:
        """The first of these that is kept."""
        with self._lock:
            if place := next((place for place in places if place in self._kept), None):
                self._kept.move_to_end(place)
                return self._kept[place]
        return None

    def _keep(self, state: State, cache_salt: str) -> None:
        with self._lock:
            self._kept[cache_salt, state.transcript] = state
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
