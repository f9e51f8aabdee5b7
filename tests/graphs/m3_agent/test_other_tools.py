"""Tools beside the search, with artifacts of their own or none."""

from langchain_core.documents import Document
from langchain_core.tools import BaseTool, tool

from graphs.m3_agent import Protocol, create_m3_agent
from graphs.protocol import EMPTY_HINT
from linmem_langgraph import Memory, create_manage_memory_tool, create_search_memory_tool
from tests.graphs.conftest import NAMESPACE
from tests.graphs.m3_agent.running import both, run, tool_messages
from tests.graphs.scripted import answering, calling, scripted, searching


def test_other_tools_can_be_called_too(memory: Memory, search: BaseTool) -> None:
    remember = create_manage_memory_tool(memory, namespace=NAMESPACE)
    turn = calling("red mug on the table")
    turn.tool_calls.append(
        {"name": "manage_memory", "args": {"content": "Asked about the mug."}, "id": "2", "type": "tool_call"}
    )
    model = scripted(turn, "x")
    state = run(create_m3_agent([remember, search], model).compile())
    assert state["seen"] == [0]
    assert memory.records(NAMESPACE)[-1].text == "Asked about the mug."
    assert model.calls[0].tools == ["manage_memory", "search_memory"]


def test_the_m3_protocol_searches_with_the_tool_that_takes_a_query(memory: Memory) -> None:
    remember = create_manage_memory_tool(memory, namespace=NAMESPACE)
    look = create_search_memory_tool(memory, namespace=NAMESPACE, name="look")
    model = scripted(searching("m3", "red mug on the table"), answering("m3", "x"))
    state = run(create_m3_agent([remember, look], model, protocol="m3").compile())
    assert [message.name for message in tool_messages(state)] == ["look"]


@tool
def recall(query: str) -> str:
    """Look something up."""
    return f"It is in the sink ({query})."


def test_an_m3_controller_sees_what_a_tool_without_an_artifact_says() -> None:
    model = scripted(searching("m3", "red mug"), answering("m3", "x"))
    run(create_m3_agent([recall], model, protocol="m3").compile())
    assert "It is in the sink (red mug)." in model.calls[1].texts[-1]
    assert EMPTY_HINT not in model.calls[1].texts[-1]


@tool(response_format="content_and_artifact")
def retrieve(query: str) -> tuple[str, list[Document]]:
    """Look something up, as LangChain's retriever tools do."""
    return "It is in the sink.", [Document("It is in the sink.", metadata={"query": query})]


@both
def test_other_tools_may_have_artifacts_of_their_own(protocol: Protocol) -> None:
    turn = searching(protocol, "red mug") if protocol == "m3" else calling("red mug", name="retrieve")
    model = scripted(turn, answering(protocol, "x"))
    state = run(create_m3_agent([retrieve], model, protocol=protocol).compile())
    assert (state["answer"], state["seen"]) == ("x", [])
    assert "It is in the sink." in model.calls[1].texts[-1]
