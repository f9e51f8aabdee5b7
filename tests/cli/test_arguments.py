"""Namespaces, options, positions and keys as they are written in a shell."""

import pytest
from hypothesis import given

from linmem_langgraph import NamespaceError
from linmem_langgraph.cli.arguments import format_namespace, parse_exclude, parse_namespace, parse_options
from linmem_langgraph.testing import strategies as some


@given(some.namespaces)
def test_a_namespace_is_read_back_as_it_was_shown(namespace: tuple[str, ...]) -> None:
    assert parse_namespace(format_namespace(namespace)) == namespace


@pytest.mark.parametrize(
    ("text", "namespace"),
    [
        ("anna", ("anna",)),
        ("users/anna", ("users", "anna")),
        ('["users", "a/b"]', ("users", "a/b")),
        ("a.b/%c", ("a.b", "%c")),
        ('{"a": 1}', ('{"a": 1}',)),
    ],
)
def test_namespaces(text: str, namespace: tuple[str, ...]) -> None:
    assert parse_namespace(text) == namespace


@pytest.mark.parametrize(
    "text", ["", "/", "users/", "/users", "a//b", "[", "[]", "[1]", '["a", ""]', '["\\ud800"]', "langgraph/a", "\udcff"]
)
def test_what_is_no_namespace(text: str) -> None:
    with pytest.raises(NamespaceError):
        parse_namespace(text)


def test_options_are_json_or_text() -> None:
    pairs = [
        "a=3",
        "b=0.5",
        "c=true",
        "d=null",
        'e={"x": [1]}',
        'f="3"',
        "prime=off",
        "model=vllm:",
        "url=http://h/?a=b",
    ]

    assert parse_options([*pairs, "empty=", "a=4", "deep=" + "[" * 100_000]) == {
        "a": 4,
        "b": 0.5,
        "c": True,
        "d": None,
        "e": {"x": [1]},
        "f": "3",
        "prime": "off",
        "model": "vllm:",
        "url": "http://h/?a=b",
        "empty": "",
        "deep": "[" * 100_000,
    }


def test_positions_and_keys_are_told_apart() -> None:
    digits = "12345678901234567890"

    assert parse_exclude(["3", '"3"', "home", "true", "1e5", "0012", digits]) == {
        3,
        "3",
        "home",
        "true",
        "1e5",
        "0012",
        digits,
    }
