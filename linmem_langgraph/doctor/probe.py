"""Whether a server really finds again what it has read: transcripts that nobody has seen, primed and read."""

import time
from dataclasses import dataclass
from secrets import token_hex
from statistics import median, median_low
from typing import Any, NamedTuple

from pydantic import BaseModel, NonNegativeInt, ValidationError

from linmem_langgraph.doctor.server import Answer, Server

ENOUGH = 120.0  # seconds after which no further round is begun
INSTRUCTIONS = "You are the memory of an assistant. The next message holds what is remembered, then a question."
QUESTIONS = ("Which of the entries came first?", "Which of the entries came last?", "How many entries are there?")
SAMPLE = 8  # lines of the shorter of the two texts that tell how many tokens a line is
MARGIN = 64  # tokens of the context that a probe leaves free


class Refused(Exception):
    """What has answered a chat completion with something else."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.said)
        self.answer = answer


class _Details(BaseModel):
    cached_tokens: NonNegativeInt | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt | None = None
    prompt_tokens_details: _Details | None = None


class _Completion(BaseModel):
    choices: list[Any]
    usage: _Usage | None = None


class CachedTokens(BaseModel, frozen=True):
    """Prompt tokens a server found again, the medians of all repeats.

    Args:
        cold: in a read of a transcript it has never seen.
        first: in the first read of a primed one.
        second: in the read after that, with another question.
    """

    cold: int
    first: int
    second: int


class Seconds(BaseModel, frozen=True):
    """What a read took: of a transcript never seen, and the first of a primed one; the medians of all repeats."""

    cold: float
    primed: float


@dataclass(frozen=True)
class Measured:
    """What reads of a transcript took.

    `counted` are the tokens that a primed read found again, by the server's own counter; other clients raise it, too.
    """

    prompt_tokens: int
    repeats: int
    seconds: Seconds
    cached: CachedTokens | None = None
    counted: float | None = None


def measure(server: Server, model: str, *, context: int | None, tokens: int, repeats: int) -> Measured:
    """Read transcripts that nobody has read before: one as it is, then another twice after it was primed.

    Raises:
        NoAnswer: a request took too long, or the connection broke.
        Refused: the server answered with an error, or with no chat completion.
    """
    probe = _Probe(server, model)
    lines = probe.lines(min(tokens, int(context * 0.95) - MARGIN) if context else tokens)
    before, until = server.metrics().found_tokens, time.monotonic() + ENOUGH
    rounds: list[_Round] = []
    while len(rounds) < repeats and (not rounds or time.monotonic() < until):
        rounds.append(probe.round(lines))
    after = server.metrics().found_tokens
    return Measured(
        prompt_tokens=median_low(each.prime.prompt_tokens for each in rounds),
        repeats=len(rounds),
        seconds=Seconds(
            cold=median(each.cold.seconds for each in rounds), primed=median(each.first.seconds for each in rounds)
        ),
        cached=_cached(rounds),
        counted=None if before is None or after is None else (after - before) / (2 * len(rounds)),
    )


class _Reply(NamedTuple):
    prompt_tokens: int
    cached_tokens: int | None
    seconds: float


class _Round(NamedTuple):
    cold: _Reply
    prime: _Reply
    first: _Reply
    second: _Reply


class _Probe:
    """The requests of a linear reader, over transcripts without meaning."""

    def __init__(self, server: Server, model: str) -> None:
        self._server, self._model = server, model

    def lines(self, tokens: int) -> int:
        """How many lines make a read of so many tokens; the two short reads also wake the server up."""
        short, long = (self.read(_transcript(lines), QUESTIONS[0], token_hex()) for lines in (SAMPLE, 2 * SAMPLE))
        line = max(1.0, (long.prompt_tokens - short.prompt_tokens) / SAMPLE)
        return max(1, int((tokens - short.prompt_tokens) / line) + SAMPLE)

    def round(self, lines: int) -> _Round:
        transcript, salt = _transcript(lines), token_hex()
        return _Round(
            self.read(_transcript(lines), QUESTIONS[0], token_hex()),
            self._ask(transcript, salt, add_generation_prompt=False, continue_final_message=True),
            self.read(transcript, QUESTIONS[1], salt),
            self.read(transcript, QUESTIONS[2], salt),
        )

    def read(self, transcript: str, question: str, salt: str) -> _Reply:
        return self._ask(f"{transcript}\n\nQuestion: {question}", salt)

    def _ask(self, text: str, salt: str, **options: bool) -> _Reply:
        messages = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}]
        body = {"model": self._model, "messages": messages, "max_tokens": 1, "temperature": 0, "cache_salt": salt}
        answer = self._server.chat(body | options)
        if answer.status != 200:
            raise Refused(answer)
        try:
            usage = _Completion.model_validate_json(answer.body).usage or _Usage()
        except ValidationError as exc:
            raise Refused(answer) from exc
        details = usage.prompt_tokens_details or _Details()
        # Where the server does not count, four letters are about a token.
        return _Reply(usage.prompt_tokens or len(text) // 4, details.cached_tokens, answer.seconds)


def _transcript(lines: int) -> str:
    """Begins with what no other has, so that no two share a state; all lines are of about as many tokens."""
    return f"{token_hex()}\n" + "".join(f"[{line:05}] Someone has moved something.\n" for line in range(lines))


def _cached(rounds: list[_Round]) -> CachedTokens | None:
    """None if no answer told; where one did, earlier versions of vLLM leave out a zero."""
    told = {name: [getattr(each, name).cached_tokens for each in rounds] for name in CachedTokens.model_fields}
    if all(count is None for counts in told.values() for count in counts):
        return None
    return CachedTokens(**{name: median_low(count or 0 for count in counts) for name, counts in told.items()})
