"""An answer ends the run; what is a thought, or content in blocks, is told from it."""

import pytest
from langchain_core.messages import AIMessage

from graphs.m3_agent import Protocol
from tests.graphs.m3_agent.running import Compile, both, nodes, run
from tests.graphs.scripted import answering, scripted, searching


@both
def test_an_answer_at_once_needs_no_search(agent: Compile, protocol: Protocol) -> None:
    graph = agent(scripted(answering(protocol, "On the table.")), protocol)
    assert nodes(graph) == ["reason"]


@both
def test_nothing_is_asked_of_the_model_after_its_answer(agent: Compile, protocol: Protocol) -> None:
    """The reference's `finished_is_noop`."""
    model = scripted(answering(protocol, "zzz"), forever=True)
    assert run(agent(model, protocol))["answer"] == "zzz"
    assert len(model.calls) == 1


def test_an_m3_answer_is_verbatim(agent: Compile) -> None:
    model = scripted(answering("m3", '  Émile said: "Action!" 咖啡\n'))
    assert run(agent(model, "m3"))["answer"] == '  Émile said: "Action!" 咖啡\n'


def test_a_tool_calling_answer_is_trimmed(agent: Compile) -> None:
    assert run(agent(scripted("\n On the table. \n")))["answer"] == "On the table."


@both
def test_content_may_be_blocks(agent: Compile, protocol: Protocol) -> None:
    def blocks(message: AIMessage) -> AIMessage:
        thought = {"type": "reasoning", "reasoning": "Action: [Search]\nContent: nonsense"}
        text = [{"type": "text", "text": message.text}] if message.text else []
        return AIMessage([thought, *text], tool_calls=message.tool_calls)

    model = scripted(blocks(searching(protocol, "red mug on the table")), blocks(answering(protocol, "x")))
    state = run(agent(model, protocol))
    assert (state["answer"], state["seen"], state["unparsable"]) == ("x", [0], 0)


def test_a_thought_alone_is_an_empty_turn(agent: Compile) -> None:
    model = scripted(AIMessage([{"type": "reasoning", "reasoning": "Hm."}]), "x")
    state = run(agent(model))
    assert (state["answer"], state["unparsable"]) == ("x", 1)


def test_an_m3_controller_thinks_before_it_acts(agent: Compile) -> None:
    turn = "<think>Action: [Answer]\nContent: the sink?</think>\nAction: [Search]\nContent: red mug on the table"
    model = scripted(turn, "The mug... </think>Action: [Answer]\nContent: On the table.")
    state = run(agent(model, "m3"))
    assert (state["answer"], state["seen"]) == ("On the table.", [0])


@pytest.mark.parametrize("max_rounds", [1, 5])
def test_a_thought_in_the_text_is_not_part_of_the_answer(agent: Compile, max_rounds: int) -> None:
    model = scripted("<think>The mug... on the table?</think>\n\nOn the table.")
    assert run(agent(model, max_rounds=max_rounds))["answer"] == "On the table."
