"""What a reader sent and what came back, token by token, and where two servers' answers part."""

from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from pydantic import BaseModel, ConfigDict

LOGPROBS: dict[str, Any] = {"logprobs": True, "top_logprobs": 2}
"""Options of the chat model, for answers that are recorded."""

TIE = 0.01
"""Log-probability: two tokens so close may change places with the rounding."""


class Token(NamedTuple):
    """A token of an answer, and by how much it was likelier than the second best, in log-probability."""

    text: str
    margin: float


Prompt = tuple[tuple[str, str], ...]
"""Roles and texts of the messages."""


class Recorder(BaseCallbackHandler):
    """Keeps the answer to each prompt that a reader asks; primes are not kept."""

    run_inline = True

    def __init__(self) -> None:
        self.answers: dict[Prompt, list[Token]] = {}
        self._asked: dict[UUID, Prompt] = {}

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note the prompt."""
        if kwargs.get("name") == "linear_read":
            self._asked[run_id] = tuple((message.type, str(message.content)) for message in messages[0])

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Note the answer."""
        if prompt := self._asked.pop(run_id, None):
            self.answers[prompt] = tokens(response.generations[0][0])


def tokens(answer: Generation) -> list[Token]:
    """The answer's tokens, if it was asked for with the two best of each."""
    assert isinstance(answer, ChatGeneration)
    found = []
    for token in answer.message.response_metadata["logprobs"]["content"]:
        best, second = sorted((top["logprob"] for top in token["top_logprobs"]), reverse=True)[:2]
        found.append(Token(token["token"], best - second))
    return found


class Parting(BaseModel):
    """Where two answers to one prompt begin to differ.

    `margin` is that of the answer without reuse: how much likelier its token was than the second best.
    """

    model_config = ConfigDict(frozen=True)

    place: int
    reused: str
    computed: str
    margin: float

    @property
    def is_tie(self) -> bool:
        """Whether either token could have come out."""
        return self.margin <= TIE


def partings(reused: Recorder, computed: Recorder) -> list[Parting]:
    """Where their answers to the same prompts part.

    Raises:
        ValueError: they were not asked the same prompts.
    """
    if reused.answers.keys() != computed.answers.keys():
        only = len(reused.answers.keys() ^ computed.answers.keys())
        raise ValueError(f"{only} prompts went to one of the servers only: their answers cannot be compared")
    found = (parting(answer, computed.answers[prompt]) for prompt, answer in reused.answers.items())
    return [each for each in found if each]


def parting(reused: list[Token], computed: list[Token]) -> Parting | None:
    """The first difference; None if the answers are equal."""
    for place, (mine, other) in enumerate(zip(reused, computed, strict=False)):
        if mine.text != other.text:
            return Parting(place=place, reused=mine.text, computed=other.text, margin=other.margin)
    if len(reused) != len(computed):
        shorter = min(len(reused), len(computed))
        longer = max(reused, computed, key=len)[shorter]
        return Parting(place=shorter, reused="", computed=longer.text, margin=longer.margin)
    return None
