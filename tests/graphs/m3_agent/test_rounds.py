"""Rounds, and the forced answer when they are spent."""

import pytest
from langchain_core.messages import AIMessage
from langgraph.errors import GraphRecursionError

from graphs.m3_agent import Protocol
from tests.graphs.m3_agent.running import Compile, ask, both, nodes, run, tool_messages
from tests.graphs.scripted import answering, calling, scripted, searching


@both
@pytest.mark.parametrize("max_rounds", [1, 2, 5])
def test_max_rounds_counts_every_call_of_the_model(agent: Compile, protocol: Protocol, max_rounds: int) -> None:
    model = scripted(searching(protocol, "red mug"), forever=True)
    graph = agent(model, protocol, max_rounds=max_rounds)
    assert nodes(graph) == ["reason", "memory"] * (max_rounds - 1) + ["answer"]
    assert len(model.calls) == max_rounds


@both
def test_there_are_five_rounds(agent: Compile, protocol: Protocol) -> None:
    model = scripted(*[searching(protocol, "red mug")] * 4, answering(protocol, "In the sink."))
    state = run(agent(model, protocol))
    assert (state["answer"], state["rounds"], state["forced"], state["unparsable"]) == ("In the sink.", 5, True, 0)
    assert len(tool_messages(state)) == 4


@both
def test_an_answer_in_the_last_free_round_is_not_forced(agent: Compile, protocol: Protocol) -> None:
    model = scripted(*[searching(protocol, "red mug")] * 3, answering(protocol, "x"))
    state = run(agent(model, protocol))
    assert (state["rounds"], state["forced"]) == (4, False)


@both
def test_a_single_round_answers_without_a_search(agent: Compile, protocol: Protocol) -> None:
    model = scripted(answering(protocol, "On the table."))
    state = run(agent(model, protocol, max_rounds=1))
    assert (state["answer"], state["rounds"], state["forced"], state["seen"]) == ("On the table.", 1, True, [])


@both
def test_a_forced_turn_that_still_searches_has_not_answered(agent: Compile, protocol: Protocol) -> None:
    model = scripted(*[searching(protocol, "red mug")] * 5)
    state = run(agent(model, protocol))
    assert (state["answer"], state["rounds"], state["forced"], state["unparsable"]) == ("", 5, True, 1)
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    assert not last.tool_calls, "a call without a result would make the thread unusable"


@both
def test_a_forced_turn_that_is_empty_has_not_answered(agent: Compile, protocol: Protocol) -> None:
    state = run(agent(scripted(""), protocol, max_rounds=1))
    assert (state["answer"], state["forced"], state["unparsable"]) == ("", True, 1)


@both
def test_many_rounds_fit_in_langgraphs_own_limit(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug"), forever=True)
    state = run(agent(model, protocol, max_rounds=40))
    assert (state["rounds"], len(model.calls), len(tool_messages(state))) == (40, 40, 39)


def test_a_smaller_limit_of_the_caller_is_langgraphs_error(agent: Compile) -> None:
    graph = agent(scripted(calling("red mug"), forever=True), max_rounds=40)
    with pytest.raises(GraphRecursionError, match="10"):
        graph.invoke(ask(), {"recursion_limit": 10})
