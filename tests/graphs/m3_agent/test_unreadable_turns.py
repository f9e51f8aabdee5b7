"""Turns that are empty, garbled or call what is not there: they cost a round and are counted."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call

from graphs.m3_agent import Protocol
from graphs.prompts import M3, TOOL_CALLS
from graphs.protocol import EMPTY_HINT
from tests.graphs.m3_agent.running import QUESTION, Compile, both, nodes, run, shown, tool_messages
from tests.graphs.scripted import answering, calling, scripted


@pytest.mark.parametrize("empty", ["", " \n", AIMessage([]), AIMessage([{"type": "text", "text": ""}])])
def test_an_empty_turn_is_not_sent_back_to_a_tool_calling_controller(agent: Compile, empty: AIMessage | str) -> None:
    model = scripted(empty, calling("red mug on the table"), "x")
    state = run(agent(model))
    assert (state["answer"], state["rounds"], state["unparsable"]) == ("x", 3, 1)
    assert model.calls[1].texts == [TOOL_CALLS.system, f"{QUESTION}\n\n{TOOL_CALLS.empty}"]
    assert model.calls[2].types == ["system", "human", "ai", "tool"], "the reminder does not stay"


@pytest.mark.parametrize(
    "unreadable", ["", "I do not know", "Action: [Search]\nContent: ", "<think>Action: [Answer] Content: x"]
)
def test_an_unreadable_turn_is_an_empty_search_to_an_m3_controller(agent: Compile, unreadable: str) -> None:
    model = scripted(unreadable, answering("m3", "x"))
    graph = agent(model, "m3")
    assert nodes(graph) == ["reason", "reason"]
    assert model.calls[1].types == ["system", "human", "ai", "human"]
    assert model.calls[1].texts[2] == unreadable or not unreadable
    assert model.calls[1].texts[3:] == [f"Searched knowledge: {{}}\n{EMPTY_HINT}{M3.instruction}"]


@both
def test_unreadable_turns_cost_rounds_and_are_counted(agent: Compile, protocol: Protocol) -> None:
    model = scripted("", forever=True)
    graph = agent(model, protocol)
    assert nodes(graph) == ["reason"] * 4 + ["answer"]
    state = run(agent(scripted("", forever=True), protocol))
    assert (state["answer"], state["rounds"], state["unparsable"]) == ("", 5, 5)


def test_the_last_round_after_an_empty_turn_does_not_invite_a_search(agent: Compile) -> None:
    model = scripted("", "x")
    assert run(agent(model, max_rounds=2))["answer"] == "x"
    assert model.calls[1].texts == [TOOL_CALLS.system, f"{QUESTION}\n\n{TOOL_CALLS.final}"]


def test_a_tool_that_does_not_exist_is_an_error_the_model_sees(agent: Compile) -> None:
    model = scripted(calling("red mug", name="serach"), calling("red mug on the table"), "x")
    state = run(agent(model))
    wrong, right = tool_messages(state)
    assert wrong.status == "error"
    assert "serach" in wrong.text
    assert "search_memory" in wrong.text
    assert model.calls[1].texts[-1] == wrong.text
    assert (state["answer"], shown(right), state["rounds"], state["unparsable"]) == ("x", [0], 3, 0)


@pytest.mark.parametrize(
    "args", [{}, {"q": "red mug"}, {"query": "red mug", "limit": 0}, {"query": "x", "filter": {"a": {"$no": 1}}}]
)
def test_arguments_a_tool_refuses_are_an_error_the_model_sees(agent: Compile, args: dict[str, Any]) -> None:
    wrong = AIMessage("", tool_calls=[{"name": "search_memory", "args": args, "id": "1"}])
    model = scripted(wrong, calling("red mug on the table"), "x")
    state = run(agent(model))
    assert [message.status for message in tool_messages(state)] == ["error", "success"]
    assert model.calls[1].messages[-1].text == tool_messages(state)[0].text
    assert (state["answer"], state["seen"]) == ("x", [0])


def test_an_empty_query_is_an_error_the_model_sees(agent: Compile) -> None:
    state = run(agent(scripted(calling("  "), "x")))
    assert tool_messages(state)[0].status == "error"
    assert state["answer"] == "x"


def garbled(text: str = "", *queries: str) -> AIMessage:
    """A turn with a call whose arguments are not JSON, and calls that are."""
    bad = invalid_tool_call(name="search_memory", args='{"query": ', id="bad", error="not JSON")
    return AIMessage(text, tool_calls=calling(*queries).tool_calls, invalid_tool_calls=[bad])


def test_a_garbled_call_is_an_empty_turn(agent: Compile) -> None:
    model = scripted(garbled(), "x")
    state = run(agent(model))
    assert (state["answer"], state["rounds"], state["unparsable"]) == ("x", 2, 1)
    assert model.calls[1].texts == [TOOL_CALLS.system, f"{QUESTION}\n\n{TOOL_CALLS.empty}"]


def test_what_is_said_beside_a_garbled_call_is_no_answer(agent: Compile) -> None:
    state = run(agent(scripted(garbled("Let me look."), "x")))
    assert (state["answer"], state["unparsable"]) == ("x", 1)


def test_a_garbled_call_beside_a_good_one_does_not_stay_unanswered(agent: Compile) -> None:
    model = scripted(garbled("", "red mug on the table"), "x")
    state = run(agent(model))
    answered = {message.tool_call_id for message in tool_messages(state)}
    for message in model.calls[1].messages:
        if isinstance(message, AIMessage):
            assert {call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]} <= answered


def test_what_is_said_beside_a_search_is_no_answer(agent: Compile) -> None:
    state = run(agent(scripted(calling("red mug on the table", text="Let me look."), "x")))
    assert (state["answer"], state["seen"]) == ("x", [0])
