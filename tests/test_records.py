"""Records: what can be remembered, and what is refused with a reason."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from linmem_langgraph import MemoryRecord, RecordError
from linmem_langgraph.records import MAX_POSITION, MAX_TEXT, as_record
from linmem_langgraph.testing import strategies as some


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": ""}, "empty"),
        ({"text": " \n\t"}, "empty"),
        ({"text": "x" * 1_000_000}, r"1,000,000 characters.*at most 100,000.*split"),
        ({"text": "x" * (MAX_TEXT + 1)}, "100,001"),
        ({"text": "a\x00b"}, "NUL character at offset 1"),
        ({"text": "ab\ud800"}, r"lone surrogate '\\ud800' at offset 2.*decode"),
        ({"text": "x", "position": -1}, "greater than or equal to 0"),
        ({"text": "x", "position": MAX_POSITION + 1}, "position"),
        ({"text": "x", "position": 1.5}, "position"),
        ({"text": "x", "key": ""}, "key"),
        ({"text": "x", "key": "k" * 513}, "key"),
        ({"text": "x", "key": "a\x00"}, "NUL"),
        ({"text": "x", "key": "\udfff"}, r"key.*unicode"),
        ({"text": "x", "kind": ""}, "kind"),
        ({"text": "x", "kind": "\x00"}, "NUL"),
        ({"text": "x", "metadata": {"a": "\x00"}}, "metadata has a NUL"),
        ({"text": "x", "metadata": {"\x00": "a"}}, "metadata has a NUL"),
        ({"text": "x", "metadata": {"a": ["\ud800"]}}, "surrogate"),
        ({"text": "x", "metadata": {"a": float("nan")}}, "metadata"),
        ({"text": "x", "metadata": {"a": float("inf")}}, "metadata"),
        ({"text": "x", "metadata": {"a": 2**63}}, r"9223372036854775808.*64 bits"),
        ({"text": "x", "metadata": {"a": [{"b": -(2**64)}]}}, "64 bits"),
        ({"text": "x", "metadata": {"a": "x" * MAX_TEXT}}, "at most 100,000"),
        ({"text": "x", "metadata": {"a": nested(5000)}}, "metadata"),
        ({"text": "x", "metadata": {"a": object()}}, "metadata"),
        ({"text": "x", "metadata": {1: "a"}}, "metadata"),
        ({"text": "x", "speaker": "Anna"}, "speaker"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_a_bad_value_is_refused_with_its_reason(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        MemoryRecord(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "x" * MAX_TEXT},
        {"text": "咖啡 ☕ \U0001f9e0 e\u0301"},
        {"text": "line\nline\r\n\u2028[3] forged"},
        {"text": "x", "position": 0},
        {"text": "x", "position": MAX_POSITION},
        {"text": "x", "key": "k" * 512},
        {"text": "x", "metadata": {"": "", "a.b": True, "n": None, "deep": [{"b": [1, 2.5]}], "big": 2**63 - 1}},
    ],
)
def test_what_is_valid_is_taken(fields: dict[str, Any]) -> None:
    record = MemoryRecord(**fields)
    assert MemoryRecord.model_validate_json(record.model_dump_json()) == record


def test_a_written_backslash_is_no_nul() -> None:
    assert MemoryRecord(text="x", metadata={"path": r"C:\u0000"}).metadata["path"] == r"C:\u0000"


def test_a_record_is_frozen() -> None:
    record = MemoryRecord(text="x")
    with pytest.raises(ValidationError, match="frozen"):
        record.text = "y"  # type: ignore[misc]


def test_defaults_are_not_shared() -> None:
    assert MemoryRecord(text="a").metadata is not MemoryRecord(text="b").metadata


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2023, 5, 8, 13, 56),
        datetime(2023, 5, 8, 13, 56, 7, 123456, UTC),
        datetime(2023, 5, 8, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
    ],
)
def test_dates_survive_json(moment: datetime) -> None:
    record = MemoryRecord(text="x", created_at=moment)
    assert MemoryRecord.model_validate(record.model_dump(mode="json")) == record


def test_a_string_is_a_record_with_every_default() -> None:
    assert as_record("Anna sleeps") == MemoryRecord(text="Anna sleeps")


@given(some.texts)
def test_a_record_stays_as_it_is(text: str) -> None:
    record = MemoryRecord(text=text, position=3)
    assert as_record(record) is record


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "cannot remember ''.*empty"),
        ("a\x00b", "NUL"),
        ("\ud800", "surrogate"),
        ("x" * 1_000_000, "split"),
        (b"bytes", "bytes"),
        (None, "NoneType"),
        ({"text": "x"}, "MemoryRecord or a string, not dict"),
        (7, "int"),
    ],
)
def test_what_is_no_record_is_refused(value: Any, message: str) -> None:
    with pytest.raises(RecordError, match=f"(?s){message}") as refused:
        as_record(value)
    assert len(str(refused.value)) < 500


@given(st.text(max_size=20))
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    with suppress(RecordError):
        assert as_record(text).text.encode().decode() == text
