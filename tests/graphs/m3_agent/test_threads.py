"""Threads: another question, a forced turn before it, and several at once."""

from concurrent.futures import ThreadPoolExecutor

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from graphs.extractive import ExtractiveChatModel
from graphs.m3_agent import Protocol
from graphs.prompts import M3
from tests.graphs.m3_agent.running import Compile, ask, both, run
from tests.graphs.scripted import answering, scripted, searching


@both
def test_a_thread_takes_another_question(agent: Compile, protocol: Protocol) -> None:
    first: list[AIMessage | str] = [
        searching(protocol, "red mug on the table"),
        searching(protocol, "xylophone"),
        "",
        answering(protocol, "one"),
    ]
    second = [searching(protocol, "red mug on the table"), answering(protocol, "two")]
    model = scripted(*first, *second)
    graph = agent(model, protocol, max_rounds=4, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    state = graph.invoke(ask(), thread)
    assert (state["answer"], state["rounds"], state["unparsable"], state["forced"]) == ("one", 4, 1, True)
    steps = list(graph.stream(ask("And where is it now?"), thread, stream_mode="values"))
    state = steps[-1]
    assert (state["answer"], state["rounds"], state["unparsable"], state["forced"]) == ("two", 2, 0, False)
    assert state["seen"] == [0], "what the first question has seen may be shown again"
    assert [step["answer"] for step in steps[1:]] == ["", "", "two"]
    assert ("And where is it now?" in model.calls[4].texts[-1]) == (protocol == "tool_calls")
    if protocol == "m3":
        assert model.calls[4].texts[1] == "Searched knowledge: {}" + M3.instruction
        assert "And where is it now?" in model.calls[4].texts[0]
        assert len(model.calls[4].texts) == 2


@both
def test_a_thread_survives_a_forced_turn_that_still_searched(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug"), answering(protocol, "x"))
    graph = agent(model, protocol, max_rounds=1, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    assert graph.invoke(ask(), thread)["answer"] == ""
    assert graph.invoke(ask("And now?"), thread)["answer"] == "x"
    assert not any(message.tool_calls for message in model.calls[1].messages if isinstance(message, AIMessage))


@both
def test_one_graph_serves_several_threads_at_once(agent: Compile, protocol: Protocol) -> None:
    graph = agent(ExtractiveChatModel(), protocol)
    questions = {
        "Who hangs the blue coat?": [2],
        "Who washes the red mug in the sink?": [4],
        "Who says good morning?": [0],
    }
    with ThreadPoolExecutor(8) as pool:
        asked = list(questions) * 8
        states = list(pool.map(lambda question: run(graph, question), asked))
    assert [state["seen"] for state in states] == [questions[question] for question in asked]
