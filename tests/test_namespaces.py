"""Namespaces: checking, encoding, templates."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import NamespaceError
from linmem_langgraph.namespaces import Namespace, NamespaceTemplate, check, decode, encode
from linmem_langgraph.testing import strategies as some


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        ((), "non-empty tuple"),
        ("users", r"tuple of strings.*'users'"),
        (["users", "anna"], "tuple"),
        (None, "tuple"),
        (("users", ""), "empty label"),
        (("users", " \t"), "empty label"),
        (("users", 7), "label 7.*not a string: write '7'"),
        (("users", None), "not a string"),
        (("users", "\ud800"), "surrogate"),
        (("langgraph", "x"), "'langgraph'.*reserves"),
    ],
)
def test_an_invalid_namespace_is_refused_with_its_reason(namespace: Any, message: str) -> None:
    with pytest.raises(NamespaceError, match=f"(?s){message}"):
        check(namespace)


@given(some.namespaces)
def test_encoding_is_reversible_and_every_store_takes_it(namespace: Namespace) -> None:
    encoded = encode(namespace)
    assert decode(encoded) == namespace
    store = InMemoryStore()
    store.put(encoded, "key", {"a": 1})
    assert store.get(encoded, "key")


@given(some.different_namespaces())
def test_encoding_is_one_to_one_even_when_joined(namespaces: list[Namespace]) -> None:
    joined = {".".join(encode(namespace)) for namespace in namespaces}
    assert len(joined) == len(namespaces)


@given(some.namespaces)
def test_no_namespace_is_the_place_of_a_head(namespace: Namespace) -> None:
    assert encode(namespace)[0] != "%linmem"


@dataclass
class Context:
    user_id: Any
    team: Any = None


class User:
    """As a LangGraph server gives it."""

    identity = "anna@example.org"
    tenant = "oslo"


@pytest.mark.parametrize(
    ("labels", "given", "filled"),
    [
        (("users", "{user_id}"), {"context": {"user_id": "anna"}}, ("users", "anna")),
        (("users", "{user_id}"), {"context": Context("anna")}, ("users", "anna")),
        (("users", "{user_id}"), {"configurable": {"user_id": "anna"}}, ("users", "anna")),
        (("users", "{user_id}"), {"user": User()}, ("users", "anna@example.org")),
        (("users", "{user_id}"), {"user": {"identity": "bert"}}, ("users", "bert")),
        (("{tenant}", "{identity}"), {"user": User()}, ("oslo", "anna@example.org")),
        ("user-{user_id}", {"context": {"user_id": 7}}, ("user-7",)),
        (("{team}", "{user_id}"), {"context": Context("a", "b")}, ("b", "a")),
        (("{user_id}",), {"context": {"user_id": "a.b c%"}}, ("a.b c%",)),
        (("{user_id}",), {"context": {"user_id": "{user_id}"}}, ("{user_id}",)),
        (("{user_id}",), {"context": {"user_id": UUID(int=5)}}, (str(UUID(int=5)),)),
        (("plain",), {}, ("plain",)),
    ],
)
def test_a_template_is_filled(labels: Any, given: dict[str, Any], filled: Namespace) -> None:
    assert NamespaceTemplate(labels).fill(**given) == filled


def test_context_comes_before_configurable() -> None:
    template = NamespaceTemplate("{user_id}")
    both: dict[str, Any] = {"context": {"user_id": "context"}, "configurable": {"user_id": "configurable"}}
    assert template.fill(**both) == ("context",)
    assert template.fill(**{**both, "context": Context(None)}) == ("configurable",)


@pytest.mark.parametrize("source", ["context", "configurable"])
def test_nobody_passes_for_another_than_the_authenticated_user(source: str) -> None:
    template = NamespaceTemplate(("users", "{user_id}"))
    assert template.fill(**{source: {"user_id": "anna@example.org"}}, user=User()) == ("users", "anna@example.org")
    with pytest.raises(NamespaceError, match=r"'bert', but the authenticated user's is 'anna@example\.org'"):
        template.fill(**{source: {"user_id": "bert"}}, user=User())
    with pytest.raises(NamespaceError, match=r"tenant.*'paris'.*'oslo'"):
        NamespaceTemplate("{tenant}").fill(**{source: {"tenant": "paris"}}, user=User())
    with pytest.raises(NamespaceError, match="empty"):
        template.fill(**{source: {"user_id": ""}}, user=User())


def test_a_user_may_have_an_id_beside_an_identity_which_the_server_puts_into_configurable() -> None:
    template, user = NamespaceTemplate(("users", "{user_id}")), {"identity": "oauth|7", "user_id": 7}
    for user_id in ("oauth|7", "7", 7, None):
        assert template.fill(configurable={"user_id": user_id}, user=user) == ("users", "7")
    with pytest.raises(NamespaceError, match=r"'oauth\|8'"):
        template.fill(configurable={"user_id": "oauth|8"}, user=user)
    with pytest.raises(NamespaceError, match=r"identity.*'7'"):
        NamespaceTemplate("{identity}").fill(configurable={"identity": "7"}, user=user)


def test_a_server_that_acts_for_others_names_them_by_a_field_of_theirs() -> None:
    template = NamespaceTemplate(("users", "{end_user_id}"))
    assert template.fill(context={"end_user_id": "bert"}, user=User()) == ("users", "bert")


def test_the_user_of_a_server_without_authentication_is_nobody() -> None:
    nobody = {"identity": "", "user_id": "root"}
    assert NamespaceTemplate("{user_id}").fill(context={"user_id": "anna"}, user=nobody) == ("anna",)
    with pytest.raises(NamespaceError, match="gives none"):
        NamespaceTemplate("{user_id}").fill(user=nobody)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"\{user_id\}.*gives none"),
        ({"context": {"other": "x"}}, r"\{user_id\}"),
        ({"context": {"user_id": ""}}, "empty"),
        ({"context": {"user_id": "  "}}, "empty"),
        ({"context": {"user_id": ""}, "configurable": {"user_id": "anna"}}, "empty"),
        ({"user": {"identity": True}}, "True"),
        ({"context": {"user_id": True}}, "True"),
        ({"context": {"user_id": 1.5}}, r"1\.5"),
        ({"context": {"user_id": ["anna"]}}, "anna"),
        ({"context": {"user_id": "\ud800"}}, "surrogate"),
    ],
)
def test_a_field_without_a_usable_value_is_an_error_that_names_it(given: dict[str, Any], message: str) -> None:
    with pytest.raises(NamespaceError, match=message) as refused:
        NamespaceTemplate(("users", "{user_id}")).fill(**given)
    assert "user_id" in str(refused.value) or "surrogate" in str(refused.value)


@pytest.mark.parametrize("labels", [("users", "{}"), ("users", "{a"), ("a}",), ("users", ""), (), ("{a}{", "b"), 7])
def test_a_broken_template_is_refused_when_it_is_made(labels: Any) -> None:
    with pytest.raises(NamespaceError):
        NamespaceTemplate(labels)


@given(st.lists(some.labels, min_size=2, max_size=2, unique=True))
def test_two_users_never_share_a_namespace(users: list[str]) -> None:
    template = NamespaceTemplate(("users", "user-{user_id}"))
    first, second = (encode(template.fill(context={"user_id": user})) for user in users)
    assert first != second


def test_two_fields_in_a_label_would_let_two_users_meet() -> None:
    with pytest.raises(NamespaceError, match="two labels"):
        NamespaceTemplate(("{org}-{user}",))


def test_no_run_names_what_a_memory_store_keeps_for_itself() -> None:
    with pytest.raises(NamespaceError, match="MemoryStore"):
        NamespaceTemplate(("{user_id}", "memories")).fill(configurable={"user_id": "linmem.items"})
