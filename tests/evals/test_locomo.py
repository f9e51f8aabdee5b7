"""LoCoMo: the file as published, its quirks counted, and whatever is wrong named."""

import json
from collections import Counter
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from evals.benchmarks import load_benchmark
from evals.benchmarks.locomo import NOT_IN_MEMORY
from evals.samples import Benchmark
from linmem_langgraph.errors import ConfigError
from tests.evals.support import Gone, changed, shared

SMALL: list[dict[str, Any]] = [
    {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Anna",
            "speaker_b": "Bob",
            "session_10_date_time": "12:09 am on 13 September, 2023",
            "session_10": [{"speaker": "Bob", "dia_id": "D10:1", "text": "Goodbye."}],
            "session_2_date_time": "1:56 pm on 8 May, 2023",
            "session_2": [
                {"speaker": "Anna", "dia_id": "D2:1", "text": "Look!", "blip_caption": "a photo of a red mug"},
                {"speaker": "Bob", "dia_id": "D2:2", "text": "咖啡?\nYes."},
            ],
        },
        "qa": [
            {"question": "What did Anna show?", "answer": "a red mug", "evidence": ["D2:1"], "category": 4},
            {"question": "How many?", "answer": 3, "evidence": ["D10:1", "D2:2", "D2:2"], "category": 1},
            {"question": "When?", "answer": "May", "evidence": [], "category": 2},
            {"question": "Why?", "evidence": ["D9:9"], "category": 5, "adversarial_answer": "hunger"},
            {"question": "Would she?", "evidence": ["D2:1", "nonsense"], "category": 3},
        ],
    }
]


def load(folder: Path, document: Any) -> Benchmark:
    file = folder / "locomo.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return load_benchmark("locomo", file)


def test_a_turn_is_a_record_with_its_number_its_session_and_its_picture(tmp_path: Path) -> None:
    records = load(tmp_path, SMALL).memories["conv-1"]

    assert [(record.position, record.key, record.text) for record in records] == [
        (0, "D2:1", "Anna: Look! [a photo of a red mug]"),
        (1, "D2:2", "Bob: 咖啡?\nYes."),
        (2, "D10:1", "Bob: Goodbye."),
    ]
    assert [record.created_at for record in records] == [
        datetime(2023, 5, 8, 13, 56),
        datetime(2023, 5, 8, 13, 56),
        datetime(2023, 9, 13, 0, 9),
    ]
    assert [record.metadata["session"] for record in records] == [2, 2, 10]


def test_samples_name_positions_and_what_is_odd_is_counted(tmp_path: Path) -> None:
    benchmark = load(tmp_path, SMALL)

    assert [(s.id, s.answer, s.types, s.evidence, s.answerable, s.until) for s in benchmark.samples] == [
        ("conv-1_q000", "a red mug", ("single-hop",), (0,), True, None),
        ("conv-1_q001", "3", ("multi-hop",), (1, 2), True, None),
        ("conv-1_q002", "May", ("temporal",), (), True, None),
        ("conv-1_q003", NOT_IN_MEMORY, ("adversarial",), (), False, None),
        ("conv-1_q004", None, ("open-domain",), (0,), True, None),
    ]
    assert {name: count for name, count in benchmark.quirks.items() if count} == {
        "gold answers that are numbers, read as text": 1,
        "questions without evidence": 1,
        "evidence strings that resolve to no turn": 2,
        "questions without a gold answer, unscored": 1,
    }


def test_the_fingerprint_is_the_content_s(tmp_path: Path) -> None:
    once = load(tmp_path, SMALL).fingerprint

    assert load(tmp_path, SMALL).fingerprint == once
    assert load(tmp_path, changed(SMALL, (0, "qa", 0, "answer"), "a blue mug")).fingerprint != once


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ((0, "sample_id"), Gone, ["conversation 0", "'sample_id'"]),
        ((0, "conversation"), Gone, ["conversation 0", "'conversation'"]),
        ((0, "qa"), Gone, ["conversation 0", "'qa'"]),
        ((0,), "text", ["conversation 0"]),
        ((0, "qa", 1, "question"), Gone, ["conversation 0", "question 1", "'question'"]),
        ((0, "qa", 1, "question"), 5, ["conversation 0", "question 1", "'question'"]),
        ((0, "qa", 1, "evidence"), "D2:1", ["conversation 0", "question 1", "'evidence'"]),
        ((0, "qa", 1, "evidence"), Gone, ["conversation 0", "question 1", "'evidence'"]),
        ((0, "qa", 1, "answer"), ["a"], ["conversation 0", "question 1", "'answer"]),
        ((0, "qa", 1, "category"), Gone, ["conversation 0", "question 1", "'category'"]),
        ((0, "qa", 1, "category"), "four", ["conversation 0", "question 1", "'category'"]),
        ((0, "conversation", "session_2", 1, "text"), Gone, ["session_2", "turn 1", "'text'"]),
        ((0, "conversation", "session_2", 1, "dia_id"), Gone, ["session_2", "turn 1", "'dia_id'"]),
        ((0, "conversation", "session_2", 1, "speaker"), 5, ["session_2", "turn 1", "'speaker'"]),
        ((0, "conversation", "session_2", 1, "text"), "a\0b", ["session_2", "turn 1", "'text'", "NUL"]),
        ((0, "conversation", "session_2_date_time"), Gone, ["session_2", "date_time"]),
        ((0, "conversation", "session_2_date_time"), "yesterday", ["session_2", "date_time", "yesterday"]),
        ((0, "qa", 1, "category"), 9, ["conversation 0", "question 1", "'category'", "9"]),
        *(
            ((0, field), value, ["conversation 0", f"'{field}'"])
            for field, value in [("conversation", None), ("conversation", 5), ("qa", None), ("qa", 5)]
        ),
        ((0, "conversation", "session_2"), None, ["session_2"]),
        ((0, "qa", 1, "question"), "", ["conversation 0", "question 1", "'question'"]),
        *(
            ((0, "qa", 1, "answer"), value, ["conversation 0", "question 1", "'answer"])
            for value in ("lone \ud800", float("nan"), float("inf"))
        ),
        *(((0, "sample_id"), value, ["conversation 0", "'sample_id'"]) for value in ("", "lone \ud800", "a\0b")),
        *(
            ((0, "conversation", name), [], ["conversation 0", f"'{name[:20]}"])
            for name in ("session_02", "session_\u0663", f"session_{'9' * 5_000}")
        ),
        ((0, "conversation", "session_2_date_time"), "9" * 20_000, ["session_2", "date_time", "999"]),
        ((0, "qa", 1, "category"), 10**400, ["conversation 0", "question 1", "'category'"]),
    ],
)
def test_damage_is_named_by_file_place_and_field(
    tmp_path: Path, place: tuple[str | int, ...], value: Any, named: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, changed(SMALL, place, value))

    for word in [str(tmp_path / "locomo.json"), *named]:
        assert word in str(caught.value)
    assert len(str(caught.value).encode()) < 1_000


def test_a_memory_that_nothing_is_asked_of_must_have_a_name_too(tmp_path: Path) -> None:
    document = changed(changed(SMALL, (0, "sample_id"), "lone \ud800"), (0, "qa"), [])

    with pytest.raises(ConfigError, match=r"conversation 1, field 'sample_id'"):
        load(tmp_path, [*SMALL, *document])


def test_a_field_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    file = tmp_path / "locomo.json"
    file.write_text(json.dumps(SMALL).replace('"category": 4', '"category": 4, "category": 3'))

    with pytest.raises(ConfigError, match=r"locomo\.json, field 'category': stands there twice"):
        load_benchmark("locomo", file)


@pytest.mark.parametrize("document", [{}, "text", 5, None])
def test_another_document_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(ConfigError, match="expected a list of conversations"):
        load(tmp_path, document)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param([], id="no conversation"),
        pytest.param([SMALL[0], SMALL[0]], id="a sample_id twice"),
        pytest.param(
            changed(SMALL, (0, "conversation", "session_2", 1, "dia_id"), "D2:1"), id="a dialogue id twice: one is lost"
        ),
        pytest.param(changed(SMALL, (0, "conversation"), {}), id="a conversation without a session"),
    ],
)
def test_what_would_spoil_a_run_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, document)


@pytest.mark.parametrize("content", [b"", b'[{"sample_id": "conv-1", "conv', b"\xff\xfe\x00", b"not json"])
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "locomo.json"
    file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load_benchmark("locomo", file)

    assert str(file) in str(caught.value)
    assert "not JSON" in str(caught.value)


@pytest.mark.parametrize("place", [".", "missing.json"])
def test_what_cannot_be_read_is_said_to_be_unreadable(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_benchmark("locomo", tmp_path / place)

    assert str(caught.value).startswith(f"cannot read {tmp_path / place}")
    assert "JSON" not in str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("place", [".", "missing.json"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_benchmark("locomo", tmp_path / place)


def test_it_is_not_bundled() -> None:
    with pytest.raises(ConfigError, match="--data"):
        load_benchmark("locomo")


@cache
def real() -> Benchmark:
    return load_benchmark("locomo", shared("locomo", "locomo4.json"))


def test_the_real_file_has_every_question() -> None:
    samples = real().samples

    assert len(real().memories) == 4
    assert sum(map(len, real().memories.values())) == 2080
    assert len(samples) == len({sample.id for sample in samples}) == 757
    assert sum(bool(sample.evidence) for sample in samples) == 754
    assert Counter(sample.types for sample in samples)[("adversarial",)] == 173
    assert all(sample.answer is not None for sample in samples)
    assert all((sample.types == ("adversarial",)) or sample.answerable for sample in samples)


def test_the_real_file_s_quirks_are_those_of_the_raw_file() -> None:
    raw = json.loads(shared("locomo", "locomo4.json").read_bytes())
    unresolved = numbers = without = adversarial = 0
    for conversation in raw:
        turns = {
            turn["dia_id"]
            for name, session in conversation["conversation"].items()
            if name.startswith("session_") and isinstance(session, list)
            for turn in session
        }
        for row in conversation["qa"]:
            unresolved += sum(dia_id not in turns for dia_id in row["evidence"])
            numbers += isinstance(row.get("answer"), (int, float))
            adversarial += row["category"] == 5 and "answer" in row
            without += not row["evidence"]

    assert {name: count for name, count in real().quirks.items() if count} == {
        "evidence strings that resolve to no turn": unresolved,
        "gold answers that are numbers, read as text": numbers,
        "questions without evidence": without,
        "adversarial questions with a gold answer, which counts": adversarial,
    }
    assert (unresolved, numbers, without, adversarial) == (3, 6, 2, 2)


def test_the_real_evidence_is_the_turn_it_names() -> None:
    sample = next(sample for sample in real().samples if "LGBTQ support group" in sample.question)

    assert sample.answer == "7 May 2023"
    assert [real().memories[sample.memory][position].key for position in sample.evidence] == ["D1:3"]


def test_an_adversarial_question_with_a_gold_answer_keeps_it() -> None:
    (sample,) = [sample for sample in real().samples if sample.question == "Is Oscar Melanie's pet?"]

    assert (sample.answer, sample.answerable) == ("No", True)
