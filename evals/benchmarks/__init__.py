"""Benchmarks by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from evals.benchmarks import household, locomo, m3_bench
from evals.benchmarks.candidates import among_candidates
from evals.samples import Benchmark
from linmem_langgraph.errors import ConfigError

Loader = Callable[[Path | None], Benchmark]

BENCHMARKS: dict[str, Loader] = {
    "household": household.load,
    "locomo": locomo.load,
    "m3_bench": m3_bench.load,
    **{f"m3_bench_{subset}": partial(m3_bench.load, subsets=[subset]) for subset in m3_bench.SUBSETS},
}


def load_benchmark(name: str, data: Path | None = None, candidates: int | None = None) -> Benchmark:
    """The benchmark of that name, from `data` where it is not bundled.

    Args:
        candidates: ask each question of so many positions of its memory only.

    Raises:
        ConfigError: the name is unknown, `data` is missing, or something in it is wrong: file, line and field are said.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"unknown benchmark {name!r}; choose {', '.join(BENCHMARKS)}")
    whole = BENCHMARKS[name](data)
    return whole if candidates is None else among_candidates(whole, candidates)
