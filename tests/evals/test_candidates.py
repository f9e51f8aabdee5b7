"""Each question about a few positions of its memory, those that tell the answer among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.benchmarks import load_benchmark
from evals.benchmarks.candidates import among_candidates
from evals.config import RunConfig
from evals.samples import Benchmark, Sample
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord


def benchmark(*samples: Sample) -> Benchmark:
    records = [MemoryRecord(text=f"Clip {clip}, {part}.", position=clip) for clip in range(30) for part in "ab"]
    return Benchmark(name="some", memories={"m": tuple(records)}, samples=samples, fingerprint="f")


def asked(evidence: tuple[int, ...], until: int | None = None, name: str = "q") -> Sample:
    return Sample(id=name, memory="m", question="What?", answer="that", evidence=evidence, until=until)


def positions(found: Benchmark, name: str = "q") -> list[int]:
    return sorted({record.position or 0 for record in found.memories[f"m::{name}"]})


@given(st.sets(st.integers(0, 29), min_size=1, max_size=4), st.integers(4, 20), st.integers(1, 9), st.text(min_size=1))
def test_gold_is_there_fewer_are_a_part_of_more_and_all_of_a_position_comes(
    evidence: set[int], count: int, more: int, name: str
) -> None:
    whole = benchmark(asked(tuple(sorted(evidence)), name=name))

    few, many = among_candidates(whole, count), among_candidates(whole, count + more)

    assert len(positions(few, name)) == count
    assert evidence <= set(positions(few, name)) <= set(positions(many, name))
    assert len(few.memories[f"m::{name}"]) == 2 * count
    assert few.fingerprint != many.fingerprint != whole.fingerprint


def test_nothing_after_until_is_a_candidate() -> None:
    found = among_candidates(benchmark(asked((3,), until=12)), 10)

    assert max(positions(found)) <= 12
    assert positions(among_candidates(benchmark(asked((3,), until=5)), 10)) == [0, 1, 2, 3, 4, 5]


def test_what_is_left_out_is_counted() -> None:
    found = among_candidates(benchmark(asked((3,)), asked((), name="none"), asked((1, 2, 3), name="much")), 2)

    assert [sample.id for sample in found.samples] == ["q"]
    assert found.quirks["questions without evidence among 2 candidates, left out"] == 2


def test_other_questions_have_other_candidates() -> None:
    found = among_candidates(benchmark(*(asked((3,), name=f"q{number}") for number in range(9))), 5)

    assert len({tuple(positions(found, sample.id)) for sample in found.samples}) > 1


def test_without_any_evidence_there_are_none() -> None:
    with pytest.raises(ConfigError, match="no question of some names its evidence"):
        among_candidates(benchmark(asked(())), 5)


def test_a_config_names_them() -> None:
    config = RunConfig.model_validate({"name": "few", "benchmark": {"name": "household", "candidates": 10}})

    found = load_benchmark(**config.benchmark.model_dump())

    assert {len({record.position for record in told}) for told in found.memories.values()} == {10}
