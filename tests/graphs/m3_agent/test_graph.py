"""The graph itself: its nodes, its input and output, and arguments that are refused."""

from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool
from langgraph.graph import StateGraph

from graphs.m3_agent import Protocol, create_m3_agent
from graphs.prompts import Prompts
from linmem_langgraph import ConfigError, Memory, create_manage_memory_tool
from tests.graphs.conftest import NAMESPACE
from tests.graphs.m3_agent.running import QUESTION, Compile, both, run
from tests.graphs.scripted import ScriptedChatModel, answering, scripted, searching


def test_it_is_an_uncompiled_graph_of_three_nodes(search: BaseTool) -> None:
    graph = create_m3_agent([search], scripted())
    assert isinstance(graph, StateGraph)
    assert list(graph.nodes) == ["reason", "memory", "answer"]
    assert graph.compile().checkpointer is None
    assert graph.compile().store is None


@both
def test_it_can_be_drawn(agent: Compile, protocol: Protocol) -> None:
    drawing = agent(scripted(), protocol).get_graph()
    assert set(drawing.nodes) == {"__start__", "reason", "memory", "answer", "__end__"}
    assert {(edge.source, edge.target) for edge in drawing.edges} == {
        ("__start__", "reason"),
        ("__start__", "answer"),
        ("reason", "memory"),
        ("reason", "reason"),
        ("reason", "answer"),
        ("reason", "__end__"),
        ("memory", "reason"),
        ("memory", "answer"),
        ("answer", "__end__"),
    }
    assert all(name in drawing.draw_mermaid() for name in ("reason", "memory", "answer"))


def test_its_input_is_messages_alone(agent: Compile) -> None:
    graph = agent(scripted())
    assert list(graph.get_input_jsonschema()["properties"]) == ["messages"]
    assert set(graph.get_output_jsonschema()["properties"]) == {
        "messages",
        "seen",
        "seen_keys",
        "rounds",
        "unparsable",
        "answer",
        "forced",
    }


@both
@pytest.mark.parametrize(
    "messages",
    [[], [SystemMessage("Be kind.")], [AIMessage("Hi")], [HumanMessage(QUESTION), AIMessage("Hi")]],
    ids=["none", "system", "ai", "answered"],
)
def test_a_question_must_be_there(agent: Compile, protocol: Protocol, messages: Sequence[Any]) -> None:
    graph = agent(scripted(answering(protocol, "x")), protocol)
    with pytest.raises(ConfigError, match=r"question|human"):
        graph.invoke({"messages": list(messages)})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"protocol": "m4"}, "unknown protocol 'm4'; choose tool_calls, m3"),
        ({"max_rounds": 0}, "max_rounds is 0: give 1 or more"),
        ({"max_rounds": -1}, "max_rounds is -1: give 1 or more"),
    ],
)
def test_a_bad_argument_is_named(search: BaseTool, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_m3_agent([search], scripted(), **options)
    assert str(caught.value) == named


def test_the_m3_protocol_needs_a_tool_that_takes_a_query(memory: Memory) -> None:
    tools = [create_manage_memory_tool(memory, namespace=NAMESPACE)]
    with pytest.raises(ConfigError, match="query"):
        create_m3_agent(tools, scripted(), protocol="m3")


@both
def test_a_loop_without_tools_is_refused(protocol: Protocol) -> None:
    with pytest.raises(ConfigError, match="tools is empty"):
        create_m3_agent([], scripted(), protocol=protocol)


def test_a_model_that_calls_no_tools_is_refused(search: BaseTool) -> None:
    with pytest.raises(ConfigError, match="tool"):
        create_m3_agent([search], FakeListChatModel(responses=["x"]))


def test_the_m3_protocol_takes_a_model_that_calls_no_tools(search: BaseTool) -> None:
    class Unable(ScriptedChatModel):
        def bind_tools(self, *args: Any, **kwargs: Any) -> NoReturn:
            raise NotImplementedError

    model = Unable(replies=[searching("m3", "red mug on the table"), answering("m3", "x")])
    assert run(create_m3_agent([search], model, protocol="m3").compile())["answer"] == "x"


def test_m3_wordings_must_show_the_question(search: BaseTool) -> None:
    prompts = Prompts(system="Answer.", instruction="i", final="f")
    with pytest.raises(ConfigError, match="question"):
        create_m3_agent([search], scripted(), protocol="m3", prompts=prompts)
