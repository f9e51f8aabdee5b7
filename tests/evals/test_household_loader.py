"""household as it is loaded: the bundle, a folder by hand, and whatever is wrong named."""

from pathlib import Path
from typing import Any

import pytest

from evals.benchmarks import BENCHMARKS, load_benchmark
from evals.sample.generate import generate, write
from linmem_langgraph.errors import ConfigError
from tests.evals.support import Gone, changed, jsonl

RECORDS: list[dict[str, Any]] = [
    {"memory": "home", "text": "Anna takes the red mug.", "position": 0, "key": "a"},
    {"memory": "home", "text": "Bob leaves the kitchen.", "position": 3, "key": "b"},
    {"memory": "other", "text": "Lily enters the garden.", "position": 0, "key": "a"},
]
SAMPLES: list[dict[str, Any]] = [
    {"id": "q1", "memory": "home", "question": "Who took the mug?", "answer": "Anna", "until": 2, "evidence": [0]},
    {"id": "q2", "memory": "other", "question": "Who sings?", "answer": "not in memory", "answerable": False},
]


def folder_of(folder: Path, records: Any = RECORDS, samples: Any = SAMPLES) -> Path:
    for name, rows in (("memories", records), ("samples", samples)):
        (folder / f"{name}.jsonl").write_text(rows if isinstance(rows, str) else jsonl(rows), encoding="utf-8")
    return folder


def test_the_bundle_is_what_the_issue_asks_for() -> None:
    benchmark = load_benchmark("household")

    assert len(benchmark.memories) >= 10
    assert len(benchmark.samples) >= 150
    assert all(len({record.position for record in records}) >= 60 for records in benchmark.memories.values())
    assert len({sample.id for sample in benchmark.samples}) == len(benchmark.samples)
    for sample in benchmark.samples:
        assert sample.until is not None
        assert all(position <= sample.until for position in sample.evidence)
        assert sample.answerable or not sample.evidence


def test_a_folder_by_hand(tmp_path: Path) -> None:
    benchmark = load_benchmark("household", folder_of(tmp_path))

    assert {name: [r.text for r in records] for name, records in benchmark.memories.items()} == {
        "home": ["Anna takes the red mug.", "Bob leaves the kitchen."],
        "other": ["Lily enters the garden."],
    }
    assert [(s.id, s.until, s.evidence, s.answerable) for s in benchmark.samples] == [
        ("q1", 2, (0,), True),
        ("q2", None, (), False),
    ]


def test_what_the_generator_writes_is_loaded_as_it_was(tmp_path: Path) -> None:
    memories, samples = generate(worlds=2, clips=12, questions=4, seed=5)
    write(tmp_path, memories, samples)

    benchmark = load_benchmark("household", tmp_path)

    assert benchmark.memories == memories
    assert benchmark.samples == samples


def test_blank_lines_are_passed_over_and_do_not_shift_the_numbers(tmp_path: Path) -> None:
    first, second, third = jsonl(RECORDS).splitlines(keepends=True)

    assert len(load_benchmark("household", folder_of(tmp_path, f"\n{first}\n \n{second}{third}")).memories) == 2
    with pytest.raises(ConfigError, match="line 4"):
        load_benchmark("household", folder_of(tmp_path, f"\n{first}\n{{]\n"))


def test_the_fingerprint_covers_both_files(tmp_path: Path) -> None:
    once = load_benchmark("household", folder_of(tmp_path)).fingerprint

    assert load_benchmark("household", folder_of(tmp_path)).fingerprint == once
    assert load_benchmark("household", folder_of(tmp_path, records=RECORDS[::-1])).fingerprint != once
    assert load_benchmark("household", folder_of(tmp_path, samples=SAMPLES[:1])).fingerprint != once


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [
        *((1, field, Gone) for field in ("memory", "text")),
        *((1, field, 5) for field in ("memory", "text", "key", "kind", "metadata")),
        *((1, "position", value) for value in ("three", -1, 1.5)),
        (1, "clip", 3),
        (1, "text", ""),
        (1, "text", "lone \ud800"),
        (1, "position", Gone),
        (1, "key", "a"),
        *((1, "memory", value) for value in ("", "lone \ud800", "a\0b")),
    ],
)
def test_a_wrong_record_is_named_by_file_line_and_field(tmp_path: Path, row: int, field: str, value: Any) -> None:
    folder = folder_of(tmp_path, records=changed(RECORDS, (row, field), value))

    with pytest.raises(ConfigError) as caught:
        load_benchmark("household", folder)

    assert f"{folder / 'memories.jsonl'}, line {row + 1}, field '{field}" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [
        *((1, field, Gone) for field in ("id", "memory", "question", "answer")),
        *((1, field, 5) for field in ("id", "question", "answer", "types", "evidence")),
        *((1, field, "") for field in ("id", "question", "memory")),
        (1, "until", -1),
        (1, "until", "later"),
        (1, "answerable", "perhaps"),
        (1, "evidence", ["first"]),
        (1, "gold", "Anna"),
        (1, "memory", "nobody's"),
        (1, "id", "q1"),
        (1, "evidence", [99]),
        (1, "evidence", [10**400]),
        (1, "until", 2**53),
        (1, "memory", "x" * 100_000),
        (1, "x" * 100_000, 1),
        *((1, field, "lone \ud800") for field in ("id", "question", "answer")),
        (1, "types", ["lone \ud800"]),
    ],
)
def test_a_wrong_sample_is_named_by_file_line_and_field(tmp_path: Path, row: int, field: str, value: Any) -> None:
    folder = folder_of(tmp_path, samples=changed(SAMPLES, (row, field), value))

    with pytest.raises(ConfigError) as caught:
        load_benchmark("household", folder)

    assert f"{folder / 'samples.jsonl'}, line {row + 1}, field '{field[:30]}" in str(caught.value)
    assert len(str(caught.value).encode()) < 1_000


@pytest.mark.parametrize("name", ["memories", "samples"])
@pytest.mark.parametrize(
    ("damage", "said"), [(lambda text: text[:-9], "cut off"), (lambda text: f"{text}[]\n", "expected an object")]
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path: Path, name: str, damage: Any, said: str) -> None:
    folder = folder_of(tmp_path)
    file = folder / f"{name}.jsonl"
    text = damage(file.read_text())
    file.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load_benchmark("household", folder)

    assert f"{file}, line {len(text.splitlines())}: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["memories", "samples"])
def test_a_field_that_stands_there_twice_is_named(tmp_path: Path, name: str) -> None:
    """Python's JSON would keep the last of the two and say nothing."""
    folder = folder_of(tmp_path)
    first, second, *others = (folder / f"{name}.jsonl").read_text().splitlines()
    twice = f'{second[:-1]}, "memory": "home"}}'
    (folder / f"{name}.jsonl").write_text("\n".join([first, twice, *others]))

    with pytest.raises(ConfigError, match=rf"{name}\.jsonl, line 2, field 'memory': stands there twice"):
        load_benchmark("household", folder)


@pytest.mark.parametrize("depth", [101, 500, 100_000])
def test_what_is_nested_too_deep_is_named_by_file_and_line(tmp_path: Path, depth: int) -> None:
    row = '{"memory": "home", "text": "a", "position": 0, "metadata": {"a": ' + "[" * depth + "]" * depth + "}}"

    with pytest.raises(ConfigError, match=r"memories\.jsonl, line 1: .*(100 levels|recursion depth)"):
        load_benchmark("household", folder_of(tmp_path, records=row))


def test_a_wrong_value_is_shown_however_deep_and_long_it_is(tmp_path: Path) -> None:
    deep: Any = "x" * 100_000
    for _ in range(90):
        deep = [deep]

    with pytest.raises(ConfigError, match=r"memories\.jsonl, line 1, field 'text': .*found \[\[") as caught:
        load_benchmark("household", folder_of(tmp_path, records=changed(RECORDS, (0, "text"), deep)))
    assert len(str(caught.value)) < 1_000


def test_evidence_is_put_in_order(tmp_path: Path) -> None:
    samples = changed(SAMPLES, (0, "evidence"), [3, 0, 3])

    assert load_benchmark("household", folder_of(tmp_path, samples=samples)).samples[0].evidence == (0, 3)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"samples\.jsonl"):
        load_benchmark("household", folder_of(tmp_path, samples=[]))


@pytest.mark.parametrize("name", ["memories", "samples"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (folder_of(tmp_path) / f"{name}.jsonl").unlink()

    with pytest.raises(ConfigError, match=rf"cannot read .*{name}\.jsonl"):
        load_benchmark("household", tmp_path)


@pytest.mark.parametrize("name", ["memories", "samples"])
def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (folder_of(tmp_path) / f"{name}.jsonl").unlink()
    (tmp_path / f"{name}.jsonl").mkdir()

    with pytest.raises(ConfigError, match=rf"cannot read .*{name}\.jsonl"):
        load_benchmark("household", tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_benchmark("household", folder_of(tmp_path) / "samples.jsonl")


def test_an_unknown_benchmark_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        load_benchmark("houshold")

    for word in ("'houshold'", *BENCHMARKS):
        assert word in str(caught.value)
