"""household: the bundled benchmark (see `evals/sample`), or another folder its generator wrote."""

from pathlib import Path

from evals.benchmarks.checked import check_id, fingerprint, once, parse, parse_record, read_bytes, read_jsonl, shown
from evals.samples import Benchmark, Sample
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord

BUNDLED = Path(__file__).parents[1] / "sample" / "household"


def load(data: Path | None = None) -> Benchmark:
    """The benchmark in a folder with `memories.jsonl` and `samples.jsonl`.

    Raises:
        ConfigError: a file is missing, or a row in it is wrong.
    """
    folder = data or BUNDLED
    memories: dict[str, list[MemoryRecord]] = {}
    keys, ids = set[tuple[str, ...]](), set[tuple[str, ...]]()
    for place, row in read_jsonl(folder / "memories.jsonl"):
        check_id(row.get("memory"), place, "memory")
        record = parse_record({name: value for name, value in row.items() if name != "memory"}, place)
        if record.key is not None:
            once(keys, record.key, place, "key", row["memory"])
        memories.setdefault(row["memory"], []).append(record)
    positions = {name: {record.position for record in records} for name, records in memories.items()}
    samples = []
    for place, row in read_jsonl(folder / "samples.jsonl"):
        sample = parse(Sample, row, place)
        once(ids, sample.id, place, "id")
        if sample.memory not in memories:
            raise ConfigError(f"{place}, field 'memory': {shown(sample.memory)} is not in memories.jsonl")
        if strange := set(sample.evidence) - positions[sample.memory]:
            raise ConfigError(f"{place}, field 'evidence': no record has the position {shown(min(strange))}")
        samples.append(sample)
    if not samples:
        raise ConfigError(f"{folder / 'samples.jsonl'} has no questions")
    return Benchmark(
        name="household",
        memories={name: tuple(records) for name, records in memories.items()},
        samples=tuple(samples),
        fingerprint=fingerprint(read_bytes(folder / name) for name in ("memories.jsonl", "samples.jsonl")),
    )
