"""The agent of `graphs.drop_in`, with a model whose words are fixed and with the offline one."""

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langgraph.checkpoint.memory import InMemorySaver

from graphs.drop_in import create_drop_in
from graphs.extractive import ExtractiveChatModel
from linmem_langgraph import Memory
from tests.graphs.scripted import scripted

USERS = ("users", "{user_id}")
ANNA: Any = {"user_id": "anna"}


def said(text: str) -> dict[str, Any]:
    return {"messages": [("user", text)]}


def test_it_recalls_searches_manages_and_remembers(memory: Memory) -> None:
    memory.write(("users", "anna"), "Anna has a red bicycle.")
    create = tool_call(name="manage_memory", args={"content": "The bicycle was stolen."}, id="call_1")
    model = scripted(AIMessage("", tool_calls=[create]), "I am sorry.")

    answer = create_drop_in(memory, model, namespace=USERS).invoke(said("My bicycle is gone."), context=ANNA)

    assert answer["messages"][-1].text == "I am sorry."
    assert model.calls[0].tools == ["search_memory", "manage_memory"]
    assert "Anna has a red bicycle." in model.calls[0].texts[0]
    assert [record.text for record in memory.records(("users", "anna"))][1:] == [
        *("The bicycle was stolen.", "user: My bicycle is gone.", "assistant: I am sorry.")
    ]


def test_the_offline_model_answers_on_another_thread_and_no_other_user(memory: Memory) -> None:
    agent = create_drop_in(memory, ExtractiveChatModel(), namespace=USERS)
    agent.checkpointer = InMemorySaver()

    def ask(text: str, user: str, thread: str) -> str:
        config: Any = {"configurable": {"thread_id": thread}}
        return str(agent.invoke(said(text), config, context={"user_id": user})["messages"][-1].text)

    assert ask("My bicycle is red.", "anna", "1") == "Not in memory."
    assert ask("Which colour has my bicycle?", "bert", "2") == "Not in memory."
    assert ask("Which colour has my bicycle?", "anna", "3") == "user: My bicycle is red."
