"""Answers from a state equal those of a server that computes every prompt from its first token.

A few dozen random cases; `python -m evals.bench state_reuse` tries hundreds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from uuid import uuid4

import pytest
from langgraph.store.memory import InMemoryStore

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.cases import cases
from evals.bench.state_reuse.recorded import LOGPROBS, Parting, Recorder, partings
from evals.vllm_cpu.server import VllmServer
from linmem_langgraph import Memory
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.records import Usage
from tests.vllm.reading import remembering

SEED = 2
ANSWER = 8
TIE = 0.05
"""Log-probability. The logits are bfloat16, in steps of 1/64 at their size, and each may be off by a step or two."""

RECORDS, LENGTH = 40, 100
"""How many a memory has at most, and the characters of each."""


@dataclass
class Pair:
    """One log that two readers read: what each server answered, token by token, and what the first one reused."""

    reusing: Memory
    computing: Memory
    reused: Recorder
    computed: Recorder
    usages: list[Usage] = field(default_factory=list)

    def ask(self, namespace: Namespace, question: str, until: int | None = None) -> None:
        self.usages.append(self.reusing.read(namespace, question, until=until).usage)
        assert self.computing.read(namespace, question, until=until).usage.cached_tokens == 0

    def partings(self) -> list[Parting]:
        """Where the answers part."""
        assert len(self.reused.answers) == len(self.usages)
        assert {len(answer) for answer in self.reused.answers.values()} == {ANSWER}
        return partings(self.reused, self.computed)


@pytest.fixture
def pair(vllm_server: VllmServer, vllm_server_without_reuse: VllmServer) -> Iterator[Pair]:
    store, reused, computed = InMemoryStore(), Recorder(), Recorder()
    ours, theirs = ({"callbacks": [recorder], **LOGPROBS} for recorder in (reused, computed))
    with (
        remembering(vllm_server.base_url, store=store, model=ours, max_tokens=ANSWER) as reusing,
        remembering(
            vllm_server_without_reuse.base_url, store=store, model=theirs, max_tokens=ANSWER, prime="off"
        ) as computing,
    ):
        yield Pair(reusing, computing, reused, computed)


def assert_same_but_for_ties(pair: Pair) -> None:
    """Two tokens that are as likely as each other may change places with the rounding."""
    found = pair.partings()
    assert [parting for parting in found if parting.margin > TIE] == []
    assert len(found) <= 0.3 * len(pair.usages)


def test_after_appends_and_at_any_until(pair: Pair) -> None:
    for asks in cases(40, RECORDS, seed=SEED):
        namespace, written = ("equal", uuid4().hex), 0
        records = texts.records(RECORDS * LENGTH, seed=str(asks[0].memory), length=LENGTH)
        for ask in asks:
            pair.reusing.write(namespace, records[written : ask.records])
            written = ask.records
            if ask.flushed:
                pair.reusing.flush()
            pair.ask(namespace, texts.question(ask.number), ask.until)
    assert_same_but_for_ties(pair)
    assert sum(usage.cached_tokens > 0 for usage in pair.usages) > 0.8 * len(pair.usages)


def test_after_records_were_forgotten_and_changed(pair: Pair) -> None:
    choose = Random(SEED)
    namespace = ("equal", uuid4().hex)
    records = texts.records(RECORDS * LENGTH, seed=SEED, length=LENGTH)
    pair.reusing.write(namespace, records)
    for number in range(5):
        gone, changed = choose.sample(pair.reusing.records(namespace), 2)
        pair.reusing.forget(namespace, [str(gone.key)])
        pair.reusing.write(namespace, changed.model_copy(update={"text": f"Nobody sees number {number}."}))
        pair.reusing.flush()
        pair.ask(namespace, texts.question(number))
    assert_same_but_for_ties(pair)
    assert all(usage.cached_tokens > 0 for usage in pair.usages)
