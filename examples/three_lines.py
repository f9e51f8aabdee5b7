"""An agent of `create_agent` that you have already, and the three lines that give it a memory.

python examples/three_lines.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool

from linmem_langgraph import Memory, MemoryMiddleware
from linmem_langgraph.embeddings import LexicalEmbeddings
from offline_model import chosen_model

PROMPT = "You are a restaurant's assistant. Answer in one sentence."


@tool
def opening_hours() -> str:
    """When the restaurant is open."""
    return "From noon to ten, not on Mondays."


def main(model: BaseChatModel, folder: Path) -> None:
    """Two guests, each in several conversations."""
    tools = [opening_hours]

    # The agent was: create_agent(model, tools, system_prompt=PROMPT)
    memory = Memory.open(folder / "memory", embeddings=LexicalEmbeddings())
    remembering = MemoryMiddleware(memory, namespace=("guests", "{user_id}"), recall=True, capture=True)
    agent: Any = create_agent(model, tools, system_prompt=PROMPT, middleware=[remembering])

    def ask(guest: str, text: str) -> None:
        # Without a checkpointer each call is a new conversation: what the agent knows of earlier ones is its memory.
        state = agent.invoke({"messages": [("user", text)]}, {"configurable": {"user_id": guest}})
        print(f"{guest}: {text}\n  agent: {state['messages'][-1].text}")

    with memory:
        ask("anna", "I am allergic to nuts, and I like the table by the window.")
        ask("anna", "What am I allergic to?")
        ask("bob", "What am I allergic to?")
        print("\nWhat the memory holds of anna:")
        for record in memory.records(("guests", "anna")):
            print(f"  [{record.position}] {record.text}")


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        main(chosen_model(), Path(made))
