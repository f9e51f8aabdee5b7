"""Searches: an ordinary tool run each, nothing shown twice, in the namespace and store of the run."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.store.memory import InMemoryStore

from graphs.m3_agent import Protocol, create_m3_agent
from linmem_langgraph import ChromaReader, Memory, NamespaceError, create_search_memory_tool
from linmem_langgraph.embeddings import LexicalEmbeddings
from tests.graphs.conftest import CLIPS, NAMESPACE
from tests.graphs.m3_agent.running import Compile, ask, both, run, shown, tool_messages
from tests.graphs.scripted import answering, calling, scripted, searching


@both
def test_a_search_is_an_ordinary_tool_run_in_either_protocol(
    agent: Compile, memory: Memory, protocol: Protocol
) -> None:
    model = scripted(searching(protocol, "Who puts the red mug on the table?"), answering(protocol, "On the table."))
    state = run(agent(model, protocol))
    question, asked, found, answered = state["messages"]
    assert isinstance(question, HumanMessage)
    assert isinstance(asked, AIMessage)
    assert isinstance(found, ToolMessage)
    assert isinstance(answered, AIMessage)
    [call] = asked.tool_calls
    assert (call["name"], call["args"]) == ("search_memory", {"query": "Who puts the red mug on the table?"})
    assert call["id"]
    assert (found.name, found.tool_call_id, found.status) == ("search_memory", call["id"], "success")
    assert found.text == "[0] Lily puts the red mug on the table.\n[0] Lily says: good morning."
    assert [hit["record"]["text"] for hit in found.artifact["records"]] == CLIPS[0]
    assert {key: state[key] for key in state if key != "messages"} == {
        "answer": "On the table.",
        "rounds": 2,
        "seen": [0],
        "seen_keys": sorted(record.key or "" for record in memory.records(NAMESPACE, until=0)),
        "unparsable": 0,
        "forced": False,
    }
    json.dumps(found.artifact)


@both
def test_what_was_shown_is_not_shown_again(agent: Compile, protocol: Protocol) -> None:
    query = "Who has the red mug?"
    model = scripted(*[searching(protocol, query)] * 4, answering(protocol, "x"))
    state = run(agent(model, protocol))
    found = [shown(message) for message in tool_messages(state)]
    assert sorted(found[:3]) == [[0], [1], [4]]
    assert found[3] == []
    assert state["seen"] == [0, 1, 4]


@both
def test_what_was_shown_last_is_in_the_state_after_an_answer(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "Anna hangs a blue coat"), answering(protocol, "x"))
    assert run(agent(model, protocol))["seen"] == [2]


@both
def test_what_was_shown_last_is_in_the_state_after_a_forced_answer(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "Anna hangs a blue coat"), answering(protocol, "x"))
    assert run(agent(model, protocol, max_rounds=2))["seen"] == [2]


def test_one_turn_may_search_several_times(agent: Compile) -> None:
    model = scripted(calling("red mug on the table", "blue coat on the rack"), calling("Anna blue coat rack"), "x")
    state = run(agent(model))
    assert [shown(message) for message in tool_messages(state)[:2]] == [[0], [2]]
    assert 2 not in shown(tool_messages(state)[2])
    assert {0, 2} <= set(state["seen"])
    assert model.calls[1].types == ["system", "human", "ai", "tool", "tool"]
    assert state["rounds"] == 3


@both
def test_nothing_later_than_until_is_found(memory: Memory, protocol: Protocol) -> None:
    search = create_search_memory_tool(memory, namespace=NAMESPACE, until=1)
    model = scripted(*[searching(protocol, "Jack washes the red mug in the sink")] * 4, answering(protocol, "x"))
    assert run(create_m3_agent([search], model, protocol=protocol).compile())["seen"] == [0, 1]


@both
def test_the_memory_may_use_the_store_of_the_graph(tmp_path: Path, protocol: Protocol) -> None:
    store = InMemoryStore()
    reader = ChromaReader(tmp_path, embeddings=LexicalEmbeddings())
    with Memory(reader, store=store) as writer, Memory(reader) as memory:
        writer.write(NAMESPACE, "Lily puts the red mug on the table.")
        search = create_search_memory_tool(memory, namespace=NAMESPACE)
        model = scripted(searching(protocol, "red mug"), answering(protocol, "x"))
        graph = create_m3_agent([search], model, protocol=protocol).compile(store=store)
        assert tool_messages(run(graph))[0].text == "[0] Lily puts the red mug on the table."


@both
@pytest.mark.parametrize("how", ["context", "configurable"])
def test_the_namespace_may_come_from_the_run(memory: Memory, protocol: Protocol, how: str) -> None:
    search = create_search_memory_tool(memory, namespace=("video", "{video_id}"))
    model = scripted(searching(protocol, "red mug on the table"), answering(protocol, "x"))
    graph: Any = create_m3_agent([search], model, protocol=protocol).compile()
    values = {"video_id": "kitchen_99"}
    given = {"context": values} if how == "context" else {"config": {"configurable": values}}
    assert graph.invoke(ask(), **given)["seen"] == [0]


def test_a_namespace_that_cannot_be_told_is_an_error_for_the_developer(memory: Memory) -> None:
    search = create_search_memory_tool(memory, namespace=("video", "{video_id}"))
    graph = create_m3_agent([search], scripted(calling("red mug"), "x")).compile()
    with pytest.raises(NamespaceError, match="video_id"):
        run(graph)
