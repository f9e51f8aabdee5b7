"""linmem-tiny on a vLLM server: that states are reused rightly is checked by what it answers, not only by counts."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from langgraph.store.memory import InMemoryStore

from evals.benchmarks import household
from evals.samples import Sample
from evals.tiny.chat import ANSWER, MODELS, shipped, tiny_model
from evals.vllm_cpu.server import VllmServer
from linmem_langgraph import LinearReader, Memory, Reading
from linmem_langgraph.vllm import ChatVLLM

HOMES = ("home_00", "home_01")
BENCHMARK = household.load(None)
SAMPLES = [sample for sample in BENCHMARK.samples if sample.memory in HOMES]

RECURRENT = [name for name in shipped() if name != "softmax"]
"""The models that have a state to be reused."""

Serve = Callable[..., VllmServer]
Serving = Callable[[], AbstractContextManager[Serve]]


@pytest.fixture(scope="module", params=RECURRENT)
def folder(request: pytest.FixtureRequest) -> Path:
    return MODELS / str(request.param)


@pytest.fixture(scope="module")
def vllm_servers(vllm_serving: Serving, folder: Path) -> Iterator[Serve]:
    """Those of one model end before those of the next start."""
    with vllm_serving() as get:
        yield get


@pytest.fixture(scope="module")
def server(vllm_servers: Serve, folder: Path) -> VllmServer:
    """A state is exact where the kernels' chunks of 64 tokens end, see the README."""
    exact = ["--prefix-match-unit", "64"]
    if len({*json.loads((folder / "config.json").read_text("utf-8"))["layer_types"]}) == 1:
        exact += ["--block-size", "64"]  # layers of one kind are found at the end of a block only
    return vllm_servers(weights=folder, max_model_len=32_768, arguments=tuple(exact))


def served(server: VllmServer, **options: object) -> LinearReader:
    return LinearReader(ChatVLLM(base_url=server.base_url), max_tokens=ANSWER, **options)  # type: ignore[arg-type]


def read(reader: LinearReader, *, flush: bool = True, together: bool = False) -> dict[str, Reading]:
    """What it answers to each question as of its clip; `flush` waits for primes, `together` writes all at first."""
    readings: dict[str, Reading] = {}
    with Memory(reader, store=InMemoryStore()) as memory:
        for home in HOMES:
            left = list(BENCHMARK.memories[home])
            for sample in sorted((each for each in SAMPLES if each.memory == home), key=_until):
                known = [record for record in left if together or (record.position or 0) <= _until(sample)]
                memory.write((home,), known)
                left = left[len(known) :]
                if flush:
                    memory.flush()
                readings[sample.id] = memory.read((home,), sample.question, until=sample.until)
    return readings


def said(readings: dict[str, Reading]) -> dict[str, str]:
    return {id: reading.text for id, reading in readings.items()}


def _until(sample: Sample) -> int:
    assert sample.until is not None
    return sample.until


def test_answers_are_the_same_however_much_comes_from_a_state(server: VllmServer) -> None:
    unprimed = read(served(server, prime="off", cache_secret="off"))
    grown = read(served(server, prime="on", cache_secret="grown"))
    as_of = read(served(server, prime="on", cache_secret="as of"), together=True)
    hurried = read(served(server, prime="on", cache_secret="hurried"), flush=False)
    assert said(unprimed) == said(grown) == said(as_of)
    # A prime beside a read is computed in one batch with it, which rounds otherwise: near ties may turn.
    assert sum(hurried[id].text != grown[id].text for id in grown) <= 0.06 * len(SAMPLES)
    assert len({*said(unprimed).values()}) > len(SAMPLES) // 2
    for readings in (grown, as_of):
        used = [reading.usage for reading in readings.values()]
        assert sum(usage.cached_tokens for usage in used) > 0.7 * sum(usage.prompt_tokens for usage in used)


def test_answers_are_the_same_without_reuse(server: VllmServer, vllm_servers: Serve, folder: Path) -> None:
    anew = vllm_servers(weights=folder, max_model_len=32_768, prefix_caching=False)
    assert said(read(served(server))) == said(read(served(anew)))


def test_answers_are_those_of_this_process(server: VllmServer, folder: Path) -> None:
    """But for where two words are about as likely: the server computes in bfloat16."""
    one, other = read(served(server)), read(LinearReader(tiny_model(folder.name), max_tokens=ANSWER))
    different = [id for id in one if one[id].text != other[id].text]
    assert len(different) <= 0.1 * len(SAMPLES)
