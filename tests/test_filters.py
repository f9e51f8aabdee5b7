"""Filters: every operator, every type, and what is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from linmem_langgraph import ConfigError, MemoryRecord
from linmem_langgraph.filters import matches

RECORD = MemoryRecord(
    text="Anna sleeps",
    position=3,
    key="k3",
    kind="semantic",
    created_at=datetime(2023, 5, 8, 13, 56, tzinfo=UTC),
    metadata={"who": "anna", "age": 30, "weight": 1.5, "awake": False, "tags": ["a", "b"], "place": {"room": "hall"}},
)


@pytest.mark.parametrize(
    "filter",
    [
        None,
        {},
        {"who": "anna"},
        {"who": {"$eq": "anna"}},
        {"who": {"$ne": "bert"}},
        {"absent": {"$ne": "bert"}},
        {"absent": None},
        {"age": {"$gt": 29, "$lte": 30}},
        {"age": {"$gte": 30.0, "$lt": 30.5}},
        {"weight": {"$lt": 2}},
        {"who": {"$gt": "albert"}},
        {"awake": False},
        {"tags": ["a", "b"]},
        {"place": {"room": "hall"}},
        {"who": {"$in": ["bert", "anna"]}},
        {"key": {"$in": ["k3"]}},
        {"position": 3},
        {"position": {"$gte": 3}},
        {"key": "k3"},
        {"kind": "semantic", "who": "anna"},
        {"created_at": {"$gte": "2023-05-08"}},
    ],
)
def test_matches(filter: dict[str, Any] | None) -> None:
    assert matches(RECORD, filter)


@pytest.mark.parametrize(
    "filter",
    [
        {"who": "ann"},
        {"who": None},
        {"absent": "anna"},
        {"absent": {"$gt": 0}},
        {"who": {"$in": []}},
        {"who": {"$in": ["ann", "bert"]}},
        {"absent": {"$lte": 0}},
        {"age": {"$gt": 30}},
        {"age": "30"},
        {"age": {"$gt": "29"}},
        {"age": {"$ne": 30}},
        {"awake": 0},
        {"awake": {"$lt": 1}},
        {"tags": "a"},
        {"tags": {"$gt": ["a"]}},
        {"place": {"room": "kitchen"}},
        {"position": {"$lt": 3}},
        {"kind": "semantic", "who": "bert"},
        {"created_at": {"$gte": "2124-01-01"}},
        {"text": "Anna sleeps"},
    ],
)
def test_does_not_match(filter: dict[str, Any]) -> None:
    assert not matches(RECORD, filter)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ({"who": {"$nin": ["anna"]}}, r"unknown operator '\$nin' in filter on 'who'; choose \$eq"),
        ({"who": {"$in": "anna"}}, r"\$in on 'who' has 'anna': give a list of strings"),
        ({"age": {"$in": [3]}}, r"\$in on 'age'"),
        ({"who": {"$eq": "anna", "x": 1}}, "unknown operator 'x'"),
        ({"who": {"$gte": 1, "$near": 2}}, r"\$near"),
        ("who", "a filter is a mapping"),
        ([("who", "anna")], "mapping"),
    ],
)
def test_a_bad_filter_is_refused(filter: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        matches(RECORD, filter)


@pytest.mark.parametrize("same", ["2024-05-01T12:00:00Z", "2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00"])
def test_dates_are_compared_as_instants(same: str) -> None:
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    record = MemoryRecord(text="x", created_at=noon)
    assert matches(record, {"created_at": same})
    assert matches(record, {"created_at": {"$gte": noon, "$lte": same}})
    assert not matches(record, {"created_at": {"$gt": same}})
    assert not matches(MemoryRecord(text="x"), {"created_at": {"$lte": same}})


@pytest.mark.parametrize("filter", [{"$or": [{"a": 1}]}, {"$and": []}, {"created_at": {"$gte": "yesterday"}}])
def test_what_can_never_hold_is_an_error_and_no_empty_result(filter: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        matches(RECORD, filter)
