"""A hand-made graph: what memory knows is recalled before the model, the turn is remembered after it, and the search
tool stands in a plain `ToolNode`.

python examples/hand_made_graph.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from typing_extensions import TypedDict

from linmem_langgraph import Memory, create_search_memory_tool, recall_node, remember_node
from linmem_langgraph.embeddings import LexicalEmbeddings
from offline_model import chosen_model

OWNER = ("users", "{user_id}")


class State(TypedDict):
    """The conversation, and what memory holds about the user's last message."""

    messages: Annotated[list[AnyMessage], add_messages]
    recalled: str


class User(TypedDict):
    """The run's context."""

    user_id: str


def build(model: BaseChatModel, memory: Memory) -> StateGraph[State, User, State, State]:
    """recall, then think and search in turn, then remember."""
    search = create_search_memory_tool(memory, namespace=OWNER)
    thinker = model.bind_tools([search])

    def think(state: State) -> dict[str, Any]:
        prompt = SystemMessage(f"Answer in one sentence. From memory:\n{state['recalled']}")
        return {"messages": [thinker.invoke([prompt, *state["messages"]])]}

    graph = StateGraph(State, context_schema=User)
    graph.add_node("recall", recall_node(memory, namespace=OWNER))
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([search]))
    graph.add_node("remember", remember_node(memory, namespace=OWNER))
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "think")
    graph.add_conditional_edges("think", tools_condition, {"tools": "tools", END: "remember"})
    graph.add_edge("tools", "think")
    graph.add_edge("remember", END)
    return graph


def main(model: BaseChatModel, folder: Path) -> None:
    """A fact, a question about it, and the same question from somebody else."""
    with Memory.open(folder / "memory", embeddings=LexicalEmbeddings()) as memory:
        graph = build(model, memory).compile()

        def ask(user: str, text: str) -> None:
            print(f"{user}: {text}")
            asked: Any = {"messages": [("user", text)]}
            for step in graph.stream(asked, context={"user_id": user}, stream_mode="updates"):
                for node, update in step.items():
                    print(f"  {node}: {_shown(update)}")

        ask("anna", "My bicycle is in the blue shed.")
        ask("anna", "Where is my bicycle?")
        ask("bob", "Where is my bicycle?")


def _shown(update: dict[str, Any] | None) -> str:
    if not update:
        return "what was said is in memory"
    if "recalled" in update:
        return _on_one_line(update["recalled"])
    message = update["messages"][-1]
    calls = getattr(message, "tool_calls", None)
    return f"calls {calls[0]['name']}({calls[0]['args']})" if calls else _on_one_line(message.text)


def _on_one_line(text: str) -> str:
    return " | ".join(text.splitlines())


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        main(chosen_model(), Path(made))
