"""The memory inspector: pages, readings as of a position, forgetting that has to be confirmed, and whose memory."""

from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from graphs.inspector import create_inspector
from linmem_langgraph import ConfigError, Memory, NamespaceError
from tests.graphs.conftest import NAMESPACE

KITCHEN = "video/kitchen_99"


class Whose(BaseModel):
    video: str | None = None


@pytest.fixture
def inspect(memory: Memory) -> Any:
    """Send a form, as a server does whose user is `user`; all on one thread."""
    graph = create_inspector(memory, namespace=("video", "{video}"), context_schema=Whose)
    compiled: Any = graph.compile(checkpointer=InMemorySaver())

    def send(user: Any = None, video: str | None = None, **form: Any) -> dict[str, Any]:
        config: Any = {"configurable": {"thread_id": "1", "langgraph_auth_user": user}}
        found: dict[str, Any] = compiled.invoke(form, config, context=Whose(video=video))["result"]
        return found

    return send


def test_namespaces_come_in_pages(memory: Memory, inspect: Any) -> None:
    memory.write(("users", "a/b"), "Slashes.")
    found = inspect(action="namespaces", limit=1)
    assert found == {"namespaces": [{"namespace": '["users", "a/b"]', "records": 1}], "total": 2, "next_offset": 1}
    found = inspect(action="namespaces", limit=1, offset=1)
    assert found == {"namespaces": [{"namespace": KITCHEN, "records": 6}], "total": 2, "next_offset": None}
    assert inspect(action="browse", namespace='["users", "a/b"]')["records"][0]["text"] == "Slashes."


def test_records_come_in_pages_as_of_a_position(inspect: Any) -> None:
    found = inspect(video="kitchen_99", until=1, limit=3, offset=3)
    assert [record["position"] for record in found["records"]] == [1]
    assert (found["namespace"], found["total"], found["next_offset"]) == (KITCHEN, 4, None)
    assert inspect(action="browse", namespace=KITCHEN)["total"] == 6


def test_a_reading_is_as_of_a_position(inspect: Any) -> None:
    reading = inspect(action="read", namespace=KITCHEN, query="Who has the red mug?", until=0)["reading"]
    assert "Lily puts the red mug on the table." in reading["text"]
    assert {hit["record"]["position"] for hit in reading["records"]} == {0}
    assert reading["reader"] == "chroma"


def test_records_are_forgotten_by_key(memory: Memory, inspect: Any) -> None:
    first, *others = (record.key for record in memory.records(NAMESPACE))
    receipt = inspect(action="forget", namespace=KITCHEN, keys=[first, "nobody"], confirm=KITCHEN)["receipt"]
    assert (receipt["forgotten"], receipt["unknown"]) == ([first], ["nobody"])
    assert [record.key for record in memory.records(NAMESPACE)] == others


def test_a_whole_namespace_is_forgotten_and_no_other(memory: Memory, inspect: Any) -> None:
    memory.write(("video", "garden"), "A bird.")
    receipt = inspect(action="forget", video="kitchen_99", everything=True, confirm=KITCHEN)["receipt"]
    assert receipt["from_log"] == 6
    assert memory.namespaces() == {("video", "garden"): 1}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"keys": ["a"]}, f"confirm is '': write '{KITCHEN}'"),
        ({"everything": True, "confirm": "video/garden"}, f"confirm is 'video/garden': write '{KITCHEN}'"),
        ({"confirm": KITCHEN}, r"keys is \[\] and everything is False"),
        ({"keys": ["a"], "everything": True, "confirm": KITCHEN}, "everything is True"),
    ],
)
def test_nothing_is_forgotten_unless_it_is_clear_what(
    memory: Memory, inspect: Any, form: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        inspect(action="forget", namespace=KITCHEN, **form)
    assert memory.namespaces() == {NAMESPACE: 6}


def test_a_confirmation_is_for_one_run(memory: Memory, inspect: Any) -> None:
    inspect(action="forget", namespace=KITCHEN, keys=["nobody"], confirm=KITCHEN)
    with pytest.raises(ConfigError, match="confirm is ''"):
        inspect(action="forget", namespace=KITCHEN, everything=True)
    with pytest.raises(ConfigError, match="confirm is 'no'"):
        inspect(action="forget", namespace=KITCHEN, everything=True, confirm="no")
    assert inspect(action="browse", namespace=KITCHEN)["total"] == 6


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"action": "delete"}, "action is 'delete'.*'forget'"),
        ({"limit": 0}, "limit is 0: .*greater"),
        ({"until": -1}, "until is -1"),
        ({"offset": "much"}, "offset is 'much'"),
        ({"namespace": "video/"}, "empty label"),
        ({"namespace": "[1"}, "no JSON array"),
        ({}, r"needs \{video\}.*pass context="),
        ({"action": "read", "namespace": KITCHEN}, "the query is ''"),
    ],
)
def test_a_wrong_form_is_said_to_be(inspect: Any, form: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        inspect(**form)
    assert inspect(action="namespaces")["total"] == 1


def test_authenticated_users_have_their_own_memory_alone(memory: Memory, inspect: Any) -> None:
    memory.write(("video", "garden"), "A bird.")
    garden = SimpleNamespace(identity="anna", video="garden")
    assert inspect(garden, action="namespaces")["namespaces"] == [{"namespace": "video/garden", "records": 1}]
    assert inspect(garden, namespace="video/garden") == inspect(garden) == inspect(garden, video="garden")
    for form in ({"action": "browse"}, {"action": "forget", "everything": True, "confirm": KITCHEN}):
        with pytest.raises(NamespaceError, match=r"authenticated user's is"):
            inspect(garden, namespace=KITCHEN, **form)
        with pytest.raises(NamespaceError, match="authenticated user's is 'garden'"):
            inspect(garden, video="kitchen_99", **form)
    with pytest.raises(NamespaceError, match=r"needs \{video\}"):
        inspect(SimpleNamespace(identity="bert"), action="namespaces")
    assert memory.namespaces() == {("video", "garden"): 1, NAMESPACE: 6}
