"""What a run asks, and in which order: by arm and memory, and the questions of one memory in order of `until`.

So a model that keeps the state of what it has read reads each clip of a memory once.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from evals.config import RunConfig, config_hash
from evals.readers import weights
from evals.rows import Key
from evals.samples import Benchmark, Sample

CONTROLS = ("blind", "oracle")


class Job(NamedTuple):
    """The questions that one arm is asked about one memory, in order."""

    arm: str
    memory: str
    samples: list[Sample]


def arms(config: RunConfig) -> tuple[str, ...]:
    """The rows of the report: "main" is the configured reader, then come those it is compared with, and controls."""
    return ("main", *config.compared, *dict.fromkeys(config.controls))


def questions(config: RunConfig, benchmark: Benchmark) -> list[Sample]:
    """What a run asks in each arm: all questions, or the first `limit` of each memory."""
    counts: Counter[str] = Counter()
    asked = []
    for sample in benchmark.samples:
        counts[sample.memory] += 1
        if config.limit is None or counts[sample.memory] <= config.limit:
            asked.append(sample)
    return asked


def hashes(config: RunConfig, data: str) -> dict[str, str]:
    """What the rows of each arm depend on, those of controls that are not asked for included.

    Args:
        data: the benchmark's fingerprint.
    """
    everything = dict.fromkeys(("main", *config.compared, *CONTROLS))
    return {arm: config_hash(config, arm, _fingerprint(config, arm, data)) for arm in everything}


def asked(config: RunConfig, benchmark: Benchmark) -> set[tuple[str, str, int]]:
    """What a run asks: arm, question and seed."""
    samples = questions(config, benchmark)
    return {(arm, sample.id, config.seed) for arm in arms(config) for sample in samples}


def jobs(config: RunConfig, benchmark: Benchmark, hashes: Mapping[str, str], done: Collection[Key] = ()) -> list[Job]:
    """What is left to do."""
    groups = dict[tuple[str, str], list[Sample]]()
    for arm in arms(config):
        for sample in questions(config, benchmark):
            if (hashes[arm], sample.id, config.seed) not in done:
                groups.setdefault((arm, sample.memory), []).append(sample)
    return [Job(arm, memory, in_order(samples)) for (arm, memory), samples in groups.items()]


def _fingerprint(config: RunConfig, arm: str, data: str) -> str:
    """What tells the data and the weights of an arm from others."""
    return data if arm in CONTROLS else data + weights(config.compared.get(arm, config.reader))


def in_order(samples: Sequence[Sample]) -> list[Sample]:
    """Questions of one memory as they are asked: by `until`, those of the whole memory last."""
    return sorted(samples, key=_when)


def _when(sample: Sample) -> tuple[bool, int]:
    return sample.until is None, sample.until or 0
