"""The manage tool: what it changes and what it refuses; and the public suites."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from linmem_langgraph import ConfigError, ContextOverflow, Memory, MemoryRecord, create_manage_memory_tool
from linmem_langgraph.namespaces import Namespace
from tests.tools.calling import Suite, answer


class _Manage(Suite):
    create = staticmethod(create_manage_memory_tool)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"action": "update", "content": "Anna is awake", "id": "known"}


class TestManageUnit(_Manage, ToolsUnitTests):
    """langchain-tests."""


class TestManageIntegration(_Manage, ToolsIntegrationTests):
    """langchain-tests."""


def test_create_update_and_delete(memory: Memory, namespace: Namespace) -> None:
    tool = create_manage_memory_tool(memory, namespace=namespace)
    created = answer(tool, content="Anna lives in Oslo")
    key = created.artifact["id"]
    assert created.content == f"created memory {key}"
    assert created.artifact == {"action": "created", "id": key, "namespace": list(namespace)}
    assert answer(tool, action="update", id=key, content="Anna lives in Rome").content == f"updated memory {key}"
    assert memory.read(namespace, "Anna").text == "[0] Anna lives in Rome"
    assert answer(tool, action="delete", id=key).content == f"deleted memory {key}"
    assert memory.records(namespace) == []


def test_an_update_keeps_everything_but_the_text(memory: Memory, namespace: Namespace) -> None:
    record = MemoryRecord(text="old", position=4, key="k", kind="semantic", metadata={"who": "anna"})
    memory.write(namespace, [record, MemoryRecord(text="other", position=9)])
    answer(create_manage_memory_tool(memory, namespace=namespace), action="update", id="k", content="new")
    assert memory.records(namespace)[0] == record.model_copy(update={"text": "new"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "create"}, "create needs content"),
        ({"action": "create", "content": "  "}, "create needs content"),
        ({"action": "create", "content": "x", "id": "k"}, "no id"),
        ({"action": "create", "content": "a\x00"}, "NUL"),
        ({"action": "create", "content": "\ud800"}, "surrogate"),
        ({"action": "create", "content": "x" * 1_000_000}, "split"),
        ({"action": "update", "content": "x"}, "update needs the id"),
        ({"action": "update", "content": "x", "id": "absent"}, "no memory with the id 'absent'"),
        ({"action": "update", "id": "known"}, "update needs content"),
        ({"action": "delete"}, "delete needs the id"),
        ({"action": "delete", "id": "absent"}, "no memory with the id 'absent'"),
        ({"action": "delete", "id": "\ud800"}, "no memory"),
        ({"action": "drop"}, "action"),
    ],
)
def test_a_bad_change_is_a_tool_error_and_changes_nothing(
    open_memory: Callable[..., Memory], namespace: Namespace, arguments: dict[str, Any], message: str
) -> None:
    memory = open_memory()
    memory.write(namespace, MemoryRecord(text="Anna sleeps", key="known"))
    before = memory.records(namespace)
    told = answer(create_manage_memory_tool(memory, namespace=namespace), **arguments)
    assert told.status == "error"
    assert message in str(told.content)
    assert len(str(told.content)) < 2_000
    assert memory.records(namespace) == before


async def test_a_record_too_large_for_the_reader_is_a_tool_error(
    memory: Memory, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise ContextOverflow("the record has 9 tokens")

    monkeypatch.setattr(memory.reader, "check", refuse)
    told = answer(create_manage_memory_tool(memory, namespace=namespace), action="create", content="Anna sleeps")
    assert told.status == "error"
    assert "the record has 9 tokens" in told.content
    assert memory.records(namespace) == []


def test_only_permitted_actions_are_there(memory: Memory, namespace: Namespace) -> None:
    key, _ = memory.write(namespace, ["Anna sleeps", "Bert takes the red mug"])
    tool = create_manage_memory_tool(memory, namespace=namespace, actions=("create", "update"))
    assert "delete" not in json.dumps(convert_to_openai_tool(tool)["function"]["parameters"]["properties"]["action"])
    assert answer(tool, action="delete", id=key).status == "error"
    assert len(memory.records(namespace)) == 2
    only = create_manage_memory_tool(memory, namespace=namespace, actions=("delete",))
    assert answer(only, id=key).content == f"deleted memory {key}"


@pytest.mark.parametrize(("actions", "message"), [((), "empty"), (("drop",), "'drop'.*create, update, delete")])
def test_bad_actions_are_refused(memory: Memory, actions: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_manage_memory_tool(memory, namespace=("a",), actions=actions)
