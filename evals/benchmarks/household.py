"""household: the bundled benchmark (see `evals/sample`), or another folder its generator wrote."""

from pathlib import Path

from evals.benchmarks.checked import fingerprint, parse, read_bytes, read_jsonl
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
    for place, row in read_jsonl(folder / "memories.jsonl"):
        if not isinstance(row.get("memory"), str):
            raise ConfigError(f"{place}, field 'memory': the memory's id is missing")
        record = {name: value for name, value in row.items() if name != "memory"}
        memories.setdefault(row["memory"], []).append(parse(MemoryRecord, record, place))
    samples = []
    for place, row in read_jsonl(folder / "samples.jsonl"):
        sample = parse(Sample, row, place)
        if sample.memory not in memories:
            raise ConfigError(f"{place}, field 'memory': {sample.memory!r} is not in memories.jsonl")
        samples.append(sample)
    return Benchmark(
        name="household",
        memories={name: tuple(records) for name, records in memories.items()},
        samples=tuple(samples),
        fingerprint=fingerprint(read_bytes(folder / name) for name in ("memories.jsonl", "samples.jsonl")),
    )
