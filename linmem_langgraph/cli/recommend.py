"""`linmem recommend`: which reader to use, by what was measured."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import typer

from linmem_langgraph.cli.arguments import Json
from linmem_langgraph.cli.output import print_json, print_lines
from linmem_langgraph.errors import ConfigError

Model = Literal["none", "server", "softmax"]

TOKENS_A_RECORD = 30
"""A turn of a conversation or a caption, where only the number of records is known."""

SEGMENT, BUDGET = 4_000, 12_000
"""What `HybridReader` reads of a memory: it takes what fits the budget whole."""

DELTA_RECORDS = 600
"""The most records of which the delta reader was measured to find surely more than the nearest ones are."""

SOLVED = 0.4
"""Seconds of the delta reader's first read after a write, to 2,080 records."""

FASTEST = 0.043
"""Seconds of the fastest read by a model that was measured."""


class Figure(NamedTuple):
    """What was measured, and by which command."""

    found: str
    command: str


COMPARED, RECALLED, REUSED = (
    "python -m evals compare-readers",
    "python -m evals.bench delta",
    "python -m evals.bench state_reuse",
)

FIGURES = {
    "retrieval": Figure(
        "households of 16 / 64 / 256 / 1,024 clips, linmem-tiny and a controller without a model: Chroma answers 20 / "
        "21 / 18 / 20% of 240 questions, in a few milliseconds whatever the size",
        COMPARED,
    ),
    "recalled": Figure(
        "LoCoMo, MiniLM vectors, 200 / 600 / 2,080 records: of the turns that tell, 70 / 58 / 47% are among the 10 "
        "that the delta reader returns, whose settings were chosen on these questions, and 58 / 45 / 45% among the "
        "10 nearest: more at 200 and 600, too near to tell at 2,080",
        RECALLED,
    ),
    "whole": Figure(
        "240 questions about households of 16 / 64 / 256 / 1,024 clips, read whole by linmem-tiny: 83 / 61 / 53 / 34% "
        "are answered right",
        COMPARED,
    ),
    "segments": Figure("the same questions, routed to one segment: 83 / 74 / 71 / 72%", COMPARED),
    "reused": Figure(
        "a read on vLLM that goes on from the kept state takes 43 / 48 / 60 ms at 2,000 / 8,000 / 32,000 tokens, "
        "without it 132 / 399 / 2,315 ms",
        REUSED,
    ),
}
"""By the name that rules give them; on two CPU cores."""


class Need(NamedTuple):
    """What a user has and wants.

    Args:
        tokens: of the memory.
        context: of the model, in tokens; None = not known.
        latency: seconds that a read may take; None = any.
    """

    tokens: int
    model: Model
    context: int | None
    latency: float | None

    @property
    def records(self) -> int:
        """Of the memory, about."""
        return self.tokens // TOKENS_A_RECORD

    def waits(self, seconds: float) -> bool:
        """Whether a read may take so long."""
        return self.latency is None or self.latency >= seconds

    @property
    def room(self) -> int:
        """Tokens of memory that are read at once: half of the context is left for instructions, question, answer."""
        return self.context // 2 if self.context else self.tokens


class Rule(NamedTuple):
    """A reader, when to use it, and what speaks for it; `figures` are names in `FIGURES`."""

    reader: str
    when: Callable[[Need], bool]
    because: str
    figures: tuple[str, ...]
    options: Callable[[Need], dict[str, Any]] = lambda need: {}


def _segments(need: Need) -> dict[str, Any]:
    # What is found in several segments is merged by a second call, after theirs.
    budget = min(BUDGET if need.waits(2 * FASTEST) else SEGMENT, need.room)
    found: dict[str, Any] = {"segment_tokens": min(SEGMENT, budget), "budget_tokens": budget}
    return found if budget < BUDGET else {}


RULES = (
    Rule(
        "delta",
        lambda need: need.model == "none" and need.records <= DELTA_RECORDS and need.waits(SOLVED),
        "of so few records it finds more than the nearest ones; it takes a moment for the first read after a write",
        ("recalled",),
    ),
    Rule(
        "chroma",
        lambda need: need.model == "none",
        "without a model, retrieval is what there is",
        ("retrieval", "recalled"),
    ),
    Rule(
        "chroma",
        lambda need: not need.waits(FASTEST),
        "no model has answered as fast as that",
        ("retrieval", "reused"),
    ),
    Rule(
        "linear",
        lambda need: need.model == "softmax" and need.tokens <= need.room,
        "the memory fits the model's context: it is read whole, and nothing is kept but the server's prefix cache",
        ("whole", "reused"),
    ),
    Rule(
        "linear",
        lambda need: need.model == "server" and need.tokens <= min(BUDGET, need.room),
        "the memory is so small that hybrid would read it whole, too: its indexes would be of no use",
        ("whole", "reused"),
    ),
    Rule(
        "hybrid",
        lambda need: True,
        "read whole, a large memory is answered from less well, and slower, than by the segments that retrieval names",
        ("whole", "segments", "reused"),
        _segments,
    ),
)
"""The first that applies."""


def recommended(need: Need) -> dict[str, Any]:
    """The reader, its options, and the reasons, as one JSON document."""
    rule = next(rule for rule in RULES if rule.when(need))
    return {
        "reader": rule.reader,
        "options": rule.options(need),
        "because": rule.because,
        "measured": [FIGURES[name]._asdict() for name in rule.figures],
    }


def recommend(
    records: Annotated[int | None, typer.Option(min=1, help="Size of the memory, in records.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Size of the memory, in tokens, if known.")] = None,
    model: Annotated[
        Model, typer.Option(help="none; server: vLLM or OpenAI-compatible; softmax: one without linear layers.")
    ] = "none",
    context: Annotated[int | None, typer.Option(min=1_000, help="The model's context, in tokens.")] = None,
    latency: Annotated[float | None, typer.Option(min=0.0, help="Seconds that a read may take.")] = None,
    as_json: Json = False,
) -> None:
    """Name a reader for a memory, with its options and the measurements that speak for it.

    \b
    linmem recommend --records 2000 --model server
    """
    if (records is None) == (tokens is None):
        raise ConfigError("say how large the memory is, once: --records N, or --tokens N")
    if model == "softmax" and context is None:
        raise ConfigError("--model softmax needs --context N: whether the memory fits decides")
    found = recommended(Need(tokens or (records or 0) * TOKENS_A_RECORD, model, context, latency))
    if as_json:
        return print_json(found)
    named = "".join(f" --set {name}={json.dumps(value)}" for name, value in found["options"].items())
    lines = [f"{found['reader']}: {found['because']}", "", f"    --reader {found['reader']}{named}", ""]
    return print_lines([*lines, *(f"{each['found']} ({each['command']})" for each in found["measured"])])
