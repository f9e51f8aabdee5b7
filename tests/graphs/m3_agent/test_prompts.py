"""What the controller is shown, turn by turn, in either protocol."""

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage

from graphs.m3_agent import Protocol
from graphs.prompts import M3, TOOL_CALLS, Prompts
from graphs.protocol import EMPTY_HINT
from tests.graphs.conftest import CLIPS
from tests.graphs.m3_agent.running import QUESTION, Compile, both, run
from tests.graphs.scripted import answering, calling, scripted, searching


def test_what_a_tool_calling_controller_is_shown(agent: Compile) -> None:
    model = scripted(calling("red mug on the table"), "On the table.")
    state = run(agent(model))
    first, second = model.calls
    assert first.types == ["system", "human"]
    assert first.texts == [TOOL_CALLS.system, QUESTION]
    assert second.types == ["system", "human", "ai", "tool"]
    assert second.messages[1:] == state["messages"][:3]
    assert first.tools == second.tools == ["search_memory"]


def test_what_an_m3_controller_is_shown(agent: Compile) -> None:
    model = scripted(searching("m3", "red mug on the table"), searching("m3", "coffee machine"), answering("m3", "x"))
    run(agent(model, "m3"))
    system = M3.system.replace("{question}", QUESTION)
    found = [f'Searched knowledge: {{"CLIP_{clip}": ["{CLIPS[clip][0]}", "{CLIPS[clip][1]}"]}}' for clip in (0, 1)]
    turns = [str(searching("m3", query).content) for query in ("red mug on the table", "coffee machine")]
    assert [call.texts for call in model.calls] == [
        [system, "Searched knowledge: {}" + M3.instruction],
        [system, "Searched knowledge: {}", turns[0], found[0] + M3.instruction],
        [system, "Searched knowledge: {}", turns[0], found[0], turns[1], found[1] + M3.instruction],
    ]
    assert [call.types for call in model.calls] == [
        ["system", "human"],
        ["system", "human", "ai", "human"],
        ["system", "human", "ai", "human", "ai", "human"],
    ]
    assert not any(call.tools for call in model.calls)
    assert not any(
        message.tool_calls for call in model.calls for message in call.messages if isinstance(message, AIMessage)
    )


def test_an_m3_controller_is_told_that_a_result_is_empty(agent: Compile) -> None:
    model = scripted(searching("m3", "xylophone"), answering("m3", "x"))
    run(agent(model, "m3"))
    assert model.calls[1].texts[-1] == f"Searched knowledge: {{}}\n{EMPTY_HINT}{M3.instruction}"


def test_a_tool_calling_controller_is_told_that_a_result_is_empty(agent: Compile) -> None:
    model = scripted(calling("xylophone"), "x")
    run(agent(model))
    assert model.calls[1].texts[-1] == "Nothing in memory matches."


@both
def test_the_last_round_says_that_it_is_the_last(agent: Compile, protocol: Protocol) -> None:
    model = scripted(*[searching(protocol, "red mug")] * 2, answering(protocol, "x"))
    run(agent(model, protocol, max_rounds=3))
    final = (M3 if protocol == "m3" else TOOL_CALLS).final
    assert [call.texts[-1].endswith(final) for call in model.calls] == [False, False, True]


@both
def test_other_wordings_can_be_given(agent: Compile, protocol: Protocol) -> None:
    prompts = Prompts(system="S {question} {other} {", instruction="\nI", final="\nF", empty="E")
    model = scripted(searching(protocol, "red mug"), "", searching(protocol, "coat"), answering(protocol, "x"))
    run(agent(model, protocol, max_rounds=4, prompts=prompts))
    assert {call.texts[0] for call in model.calls} == {f"S {QUESTION} {{other}} {{"}
    assert [call.texts[-1].rpartition("\n")[2] for call in model.calls] == ["I", "I", "I", "F"]
    assert sum("E\n\nI" in text for call in model.calls for text in call.texts) == (protocol == "tool_calls")


def test_a_question_may_look_like_a_template(agent: Compile) -> None:
    question = "What is {question} in {0} or %s \\1?"
    model = scripted(answering("m3", "x"))
    run(agent(model, "m3"), question)
    assert model.calls[0].texts[0] == M3.system.replace("{question}", question)


@both
def test_a_question_may_be_given_in_blocks(agent: Compile, protocol: Protocol) -> None:
    model = scripted(answering(protocol, "x"))
    message = HumanMessage([{"type": "text", "text": "Where is "}, {"type": "text", "text": "the red mug?"}])
    agent(model, protocol).invoke({"messages": [message]})
    assert QUESTION in "\n".join(model.calls[0].texts)


@both
def test_the_question_is_the_last_human_message(agent: Compile, protocol: Protocol) -> None:
    model = scripted(answering(protocol, "x"))
    messages: list[AnyMessage] = [
        SystemMessage("Be kind."),
        HumanMessage("Hello"),
        AIMessage("Hi"),
        HumanMessage(QUESTION),
    ]
    agent(model, protocol).invoke({"messages": messages})
    said = "\n".join(model.calls[0].texts)
    assert QUESTION in said
    assert ("Hello" in said) == (protocol == "tool_calls")  # an m3 dialogue is about one question
