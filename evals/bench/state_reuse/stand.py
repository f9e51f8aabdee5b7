"""Where the scenarios run: the servers, and both sides of a read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.messages import HumanMessage, SystemMessage

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.scale import Scale
from evals.bench.state_reuse.servers import Kind, Server
from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.primer import Mode
from linmem_langgraph.readers._linear.prompt import INSTRUCTIONS, memory_message, prime_messages
from linmem_langgraph.readers.linear import LinearReader
from linmem_langgraph.records import Usage
from linmem_langgraph.vllm import ChatVLLM


@dataclass(frozen=True)
class Stand:
    """What a scenario is given.

    Args:
        folder: for the logs; in a folder of its own each.
        per_token: characters a token has.
    """

    scale: Scale
    servers: Mapping[Kind, Server]
    folder: Path
    per_token: float = 1.0
    _run: str = field(default_factory=lambda: uuid4().hex)

    @contextmanager
    def memory(self) -> Iterator[Memory]:
        """Ours: the embedded default, an SQLite log in a folder, with the linear reader."""
        with Memory.open(self.new_folder(), self.reader()) as memory:
            yield memory

    def new_folder(self) -> Path:
        """A folder that is not there yet."""
        return self.folder / uuid4().hex

    def reader(
        self, kind: Kind = "reuse", *, answer: int | None = None, prime: Mode = "auto", **options: Any
    ) -> LinearReader:
        """The linear reader on one of the servers; `options` are those of its chat model."""
        model = ChatVLLM(base_url=self.servers[kind].base_url, **options)
        # What a server recomputes anyway is not primed.
        return LinearReader(
            model, max_tokens=answer or self.scale.answer, prime="off" if kind == "recompute" else prime
        )

    def namespace(self, name: str) -> Namespace:
        """One that no earlier run has used, so that its cache is empty."""
        return ("bench", self._run, name)

    def records(self, tokens: int, seed: int | str, *, first: int = 0) -> list[MemoryRecord]:
        """Captions whose transcript has about so many tokens."""
        return texts.records(round(tokens * self.per_token), seed=seed, length=self.scale.caption, first=first)

    def plain(self) -> "Plain":
        """Theirs."""
        return Plain(self.servers["reuse"].base_url, self.scale.answer)


class Plain:
    """What one would write without thinking of the server's state."""

    def __init__(self, base_url: str, answer: int) -> None:
        self._model = ChatVLLM(base_url=base_url, max_tokens=answer, temperature=0)

    def ask(self, transcript: str, question: str) -> Usage:
        """A read in the same words, but for the question, which comes first: no two prompts begin alike."""
        messages = [SystemMessage(f"Question: {question}\n\n{INSTRUCTIONS}"), HumanMessage(memory_message(transcript))]
        # Another salt each time: nothing is left from an earlier run with the same question either.
        used = self._model.invoke(messages, extra_body={"cache_salt": uuid4().hex}).usage_metadata
        assert used is not None
        cached = used.get("input_token_details", {}).get("cache_read") or 0
        return Usage(prompt_tokens=used["input_tokens"], cached_tokens=cached, completion_tokens=used["output_tokens"])

    def prime(self, transcript: str) -> None:
        """The same prefix that ours primes, in a single request."""
        exactly = {"add_generation_prompt": False, "continue_final_message": True, "cache_salt": uuid4().hex}
        self._model.invoke(prime_messages(transcript), max_tokens=1, extra_body=exactly)
