"""Each question of a benchmark about a memory of its own: a few positions, those that tell the answer among them.

So retrieval can be measured by the number of candidates, as LinMem does. Positions stay what they were.
"""

from collections import Counter
from random import Random

from evals.benchmarks.checked import fingerprint
from evals.samples import PART, Benchmark, Sample
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord


def among_candidates(benchmark: Benchmark, count: int) -> Benchmark:
    """The questions that name their evidence, each about `count` positions; those beside the evidence are drawn.

    What is drawn depends on the question alone: of more candidates, fewer are a part.

    Raises:
        ConfigError: no question names its evidence.
    """
    memories, samples, quirks = dict[str, tuple[MemoryRecord, ...]](), list[Sample](), Counter[str](benchmark.quirks)
    for sample in benchmark.samples:
        records = benchmark.memories[sample.memory]
        known = sorted({record.position or 0 for record in records if _is_known(record, sample)})
        if not sample.evidence or len(sample.evidence) > count:
            quirks[f"questions without evidence among {count} candidates, left out"] += 1
            continue
        if len(known) < count:
            quirks[f"questions about fewer than {count} positions"] += 1
        chosen = _chosen(sample, known, count)
        part = f"{sample.memory}{PART}{sample.id}"
        memories[part] = tuple(record for record in records if record.position in chosen)
        samples.append(sample.model_copy(update={"memory": part}))
    if not samples:
        raise ConfigError(f"no question of {benchmark.name} names its evidence: candidates cannot be drawn")
    return Benchmark(
        name=benchmark.name,
        memories=memories,
        samples=tuple(samples),
        quirks=dict(quirks),
        fingerprint=fingerprint([benchmark.fingerprint.encode(), str(count).encode()]),
    )


def _chosen(sample: Sample, known: list[int], count: int) -> set[int]:
    others = [position for position in known if position not in sample.evidence]
    drawn = Random(sample.id).sample(others, len(others))
    return {*sample.evidence, *drawn[: count - len(sample.evidence)]}


def _is_known(record: MemoryRecord, sample: Sample) -> bool:
    return sample.until is None or (record.position or 0) <= sample.until
