"""Memory as nodes of a hand-made graph."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from typing_extensions import TypedDict

from linmem_langgraph import Memory, create_search_memory_tool
from linmem_langgraph.errors import NamespaceError
from linmem_langgraph.nodes import recall_node, remember_node

USERS = ("users", "{user_id}")


class State(MessagesState):
    recalled: str


class User(TypedDict):
    user_id: str


def graph(memory: Memory) -> Any:
    def answer(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage(f"I know: {state['recalled'] or 'nothing'}")]}

    made = StateGraph(State, context_schema=User)
    made.add_node("recall", recall_node(memory, namespace=USERS, limit=1))
    made.add_node("answer", answer)
    made.add_node("remember", remember_node(memory, namespace=USERS))
    made.add_edge(START, "recall")
    made.add_edge("recall", "answer")
    made.add_edge("answer", "remember")
    return made.compile()


def ask(text: str) -> Any:
    return {"messages": [HumanMessage(text)]}


def test_a_turn_is_recalled_and_remembered(memory: Memory) -> None:
    made = graph(memory)
    made.invoke(ask("I live in Oslo."), context={"user_id": "anna"})
    memory.flush()

    done = made.invoke(ask("Which town do I live in?"), context={"user_id": "anna"})

    assert "user: I live in Oslo." in done["messages"][-1].text
    assert [record.text.partition(":")[0] for record in memory.records(("users", "anna"))] == ["user", "assistant"] * 2
    other = made.invoke(ask("Which town do I live in?"), context={"user_id": "bob"})
    assert other["messages"][-1].text == "I know: Nothing in memory matches."


async def test_the_same_in_an_event_loop(memory: Memory) -> None:
    made = graph(memory)
    await made.ainvoke(ask("I live in Oslo."), context={"user_id": "anna"})
    await memory.aflush()

    done = await made.ainvoke(ask("Which town do I live in?"), config={"configurable": {"user_id": "anna"}})

    assert "Oslo" in done["recalled"]


def test_without_words_nothing_is_recalled(memory: Memory) -> None:
    assert graph(memory).invoke(ask("  "), context={"user_id": "anna"})["recalled"] == ""


def test_without_a_user_the_graph_stops(memory: Memory) -> None:
    with pytest.raises(NamespaceError, match="user_id"):
        graph(memory).invoke(ask("Hello"))
    assert memory.namespaces() == {}


def test_the_search_tool_in_a_plain_tool_node(memory: Memory) -> None:
    memory.write(("users", "anna"), "Anna lives in Oslo.")
    memory.flush()
    tool = create_search_memory_tool(memory, namespace=USERS)

    def reason(state: State) -> dict[str, Any]:
        if isinstance(state["messages"][-1], HumanMessage):
            call = {"name": tool.name, "args": {"query": "Oslo"}, "id": "1", "type": "tool_call"}
            return {"messages": [AIMessage("", tool_calls=[call])]}
        return {"messages": [AIMessage(f"It says {state['messages'][-1].text}")]}

    made = StateGraph(State, context_schema=User)
    made.add_node("reason", reason)
    made.add_node("tools", ToolNode([tool]))
    made.add_edge(START, "reason")
    made.add_conditional_edges("reason", tools_condition, {"tools": "tools", END: END})
    made.add_edge("tools", "reason")

    done = made.compile().invoke(ask("Where?"), context={"user_id": "anna"})

    assert done["messages"][-1].text == "It says [0] Anna lives in Oslo."
