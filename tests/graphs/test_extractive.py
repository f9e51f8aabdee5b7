"""The extractive baseline: a real chat model that speaks both protocols, and says what it is."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langchain_tests.unit_tests import ChatModelUnitTests
from langgraph.checkpoint.memory import InMemorySaver

from graphs.extractive import UNKNOWN, ExtractiveChatModel, best_line
from graphs.m3_agent import Protocol, create_m3_agent
from graphs.prompts import M3
from linmem_langgraph import Memory, create_manage_memory_tool
from tests.graphs.conftest import NAMESPACE

both = pytest.mark.parametrize("protocol", ["tool_calls", "m3"])

RACK = "Anna hangs a blue coat on the rack."


class TestExtractiveChatModel(ChatModelUnitTests):
    """What LangChain asks of every chat model."""

    @property
    def chat_model_class(self) -> type[ExtractiveChatModel]:
        return ExtractiveChatModel

    @pytest.mark.xfail(reason="there is one extractive model: a call cannot name another")
    def test_standard_params_model_override(self, model: BaseChatModel) -> None:
        super().test_standard_params_model_override(model)


def m3_dialogue(question: str, *knowledge: str) -> list[Any]:
    messages: list[Any] = [
        SystemMessage(M3.system.replace("{question}", question)),
        HumanMessage("Searched knowledge: {}"),
    ]
    for result in knowledge:
        messages += [AIMessage("Action: [Search]\nContent: x"), HumanMessage(f"Searched knowledge: {result}")]
    messages[-1] = HumanMessage(messages[-1].text + M3.instruction)
    return messages


def tool_dialogue(question: str, *results: str) -> list[Any]:
    messages: list[Any] = [SystemMessage("You answer."), HumanMessage(question)]
    for place, result in enumerate(results):
        call: Any = {"name": "recall", "args": {"query": "x"}, "id": str(place)}
        messages += [AIMessage("", tool_calls=[call]), ToolMessage(result, tool_call_id=str(place))]
    return messages


@tool
def recall(query: str, limit: int = 5) -> str:
    """Look something up."""
    return f"{query} {limit}"


@tool
def clock() -> str:
    """Tell the time."""
    return "noon"


# The line that is chosen


@pytest.mark.parametrize(
    ("question", "lines", "answer"),
    [
        ("Who hangs the blue coat?", ["Jack has a coat.", RACK], RACK),
        ("WHO HANGS THE BLUE COAT", [RACK, "Jack has a coat."], RACK),
        ("Who has the blue coat?", ["Anna: blue coat 1", "Jack: blue coat 2", "Jack: coat 3"], "Jack: blue coat 2"),
        ("Where is the green umbrella?", [RACK], UNKNOWN),
        ("Where is the blue umbrella?", [RACK], RACK),  # half of the words are enough
        ("Where is the blue silk umbrella?", [RACK], UNKNOWN),
        ("Where is it?", [RACK], UNKNOWN),  # nothing to look for
        ("Who?", [], UNKNOWN),
        ("", [RACK], UNKNOWN),
        ("谁在窗边", ["谁在窗边 咖啡机"], "谁在窗边 咖啡机"),
    ],
)
def test_the_line_with_most_of_the_words_wins_and_the_later_of_two(
    question: str, lines: list[str], answer: str
) -> None:
    assert best_line(question, lines) == answer


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is the blue coat on the rack?", "Yes."),
        ("did anna hang the blue coat?", "No."),  # it knows no forms: "hang" is not "hangs"
        ("Was the blue coat on the table?", "No."),
        ("Is the green umbrella in the bag?", UNKNOWN),
        ("What is on the rack?", RACK),
        ("Does Anna?", "Yes."),
        ("Island: blue coat?", RACK),
        ("Is it?", UNKNOWN),
    ],
)
def test_yes_is_a_line_with_every_word(question: str, answer: str) -> None:
    assert best_line(question, ["Jack enters.", RACK]) == answer


# The protocols


def test_bound_to_tools_it_first_searches_with_the_question() -> None:
    model = ExtractiveChatModel().bind_tools([clock, recall])
    reply = model.invoke(tool_dialogue("Who hangs the blue coat?"))
    [call] = reply.tool_calls
    assert (call["name"], call["args"]) == ("recall", {"query": "Who hangs the blue coat?"})
    assert reply.text == ""
    again = model.invoke(tool_dialogue("Who hangs the blue coat?"))
    assert again.tool_calls[0]["id"] != call["id"]


def test_bound_to_tools_it_then_answers_from_every_result() -> None:
    model = ExtractiveChatModel().bind_tools([recall])
    reply = model.invoke(
        tool_dialogue("Who hangs the blue coat?", f"[2] {RACK}\n[12 2023-05-08T13:56] Jack enters.", "[4] A coat.")
    )
    assert (reply.text, reply.tool_calls) == (RACK, [])


def test_it_does_not_quote_errors() -> None:
    dialogue = tool_dialogue("Is memory unavailable?")
    call: Any = {"name": "recall", "args": {"query": "x"}, "id": "1"}
    error = ToolMessage("memory is unavailable", tool_call_id="1", status="error")
    reply = ExtractiveChatModel().bind_tools([recall]).invoke([*dialogue, AIMessage("", tool_calls=[call]), error])
    assert reply.text == UNKNOWN


def test_without_a_tool_that_searches_it_abstains() -> None:
    reply = ExtractiveChatModel().bind_tools([clock]).invoke(tool_dialogue("What time is it?"))
    assert (reply.text, reply.tool_calls) == (UNKNOWN, [])


def test_in_the_m3_protocol_it_first_searches_with_the_question() -> None:
    reply = ExtractiveChatModel().invoke(m3_dialogue("Who hangs the blue coat?"))
    assert (reply.text, reply.tool_calls) == ("Action: [Search]\nContent: Who hangs the blue coat?", [])


def test_in_the_m3_protocol_it_then_answers_from_every_result() -> None:
    first = '{"CLIP_2": ["Anna hangs a blue coat on the rack.", "咖啡机"], "CLIP_3": []}'
    reply = ExtractiveChatModel().invoke(m3_dialogue("Who hangs the blue coat?", first, '{"CLIP_9": ["{A} coat}."]}'))
    assert reply.text == f"Action: [Answer]\nContent: {RACK}"


def test_in_the_m3_protocol_it_abstains_when_nothing_was_found() -> None:
    reply = ExtractiveChatModel().invoke(m3_dialogue("Who hangs the blue coat?", "{}\n(The search result is empty.)"))
    assert reply.text == f"Action: [Answer]\nContent: {UNKNOWN}"


# In the loop


@both
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who hangs the blue coat on the rack?", RACK),
        ("Does Jack wash the red mug in the sink?", "No."),
        ("Is the blue coat on the rack?", "Yes."),
        ("Who plays the xylophone in Paris?", UNKNOWN),
        ("咖啡机在窗边", "咖啡机在窗边。 The coffee machine is near the window."),
    ],
)
def test_it_answers_from_a_memory(search: BaseTool, protocol: Protocol, question: str, answer: str) -> None:
    graph = create_m3_agent([search], ExtractiveChatModel(), protocol=protocol).compile()
    state = graph.invoke({"messages": [HumanMessage(question)]})
    assert (state["answer"], state["rounds"], state["forced"], state["unparsable"]) == (answer, 2, False, 0)


@pytest.mark.parametrize("protocol", ["tool_calls", "m3"])
def test_it_answers_the_second_question_of_a_thread(search: BaseTool, protocol: Protocol) -> None:
    saver = InMemorySaver()
    graph = create_m3_agent([search], ExtractiveChatModel(), protocol=protocol).compile(checkpointer=saver)
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    graph.invoke({"messages": [HumanMessage("Who hangs the blue coat on the rack?")]}, thread)
    state = graph.invoke({"messages": [HumanMessage("Who washes the red mug in the sink?")]}, thread)
    assert state["answer"] == "Jack washes the red mug in the sink."
    assert state["seen"] == [4]


def test_it_drives_an_agent_of_langchain(memory: Memory, search: BaseTool) -> None:
    manage = create_manage_memory_tool(memory, namespace=NAMESPACE)
    agent: Any = create_agent(ExtractiveChatModel(), [manage, search])
    state = agent.invoke({"messages": [HumanMessage("Who hangs the blue coat on the rack?")]})
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert state["messages"][-1].text == RACK


# As a chat model


def test_it_can_be_given_a_string() -> None:
    assert ExtractiveChatModel().invoke("Who hangs the coat?").text == "Action: [Search]\nContent: Who hangs the coat?"


async def test_every_way_to_call_it_says_the_same() -> None:
    model = ExtractiveChatModel()
    dialogue = m3_dialogue("Who hangs the blue coat?", f'{{"CLIP_2": ["{RACK}"]}}')
    said = model.invoke(dialogue).text
    assert said.endswith(RACK)
    assert (await model.ainvoke(dialogue)).text == said
    assert "".join(chunk.text for chunk in model.stream(dialogue)) == said
    assert "".join([chunk.text async for chunk in model.astream(dialogue)]) == said
    assert [reply.text for reply in model.batch([dialogue, dialogue])] == [said, said]


def test_a_streamed_search_keeps_its_tool_call() -> None:
    model = ExtractiveChatModel().bind_tools([recall])
    chunks: list[Any] = list(model.stream(tool_dialogue("Who?")))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("recall", {"query": "Who?"})]


def test_it_says_what_it_is() -> None:
    model = ExtractiveChatModel()
    assert model._llm_type == "extractive-baseline"
    params = model._get_ls_params()
    assert (params["ls_provider"], params["ls_model_name"], params["ls_model_type"]) == (
        "offline",
        "extractive",
        "chat",
    )
