"""An assistant for several users on SQLite: conversations in a checkpointer, memories in a folder, what is private
apart from what the team shares; and one user deleted, with a receipt.

python examples/many_users.py
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langgraph.checkpoint.sqlite import SqliteSaver

from linmem_langgraph import Memory, MemoryMiddleware
from linmem_langgraph.embeddings import LexicalEmbeddings
from offline_model import chosen_model

PROMPT = (
    "Answer in one sentence. Search both memories: the user's own, and the team's. Remember what the user asks you to, "
    "for the team only where the user says so."
)


class Assistant:
    """The agent, and what it keeps."""

    def __init__(self, model: BaseChatModel, memory: Memory, threads: SqliteSaver) -> None:
        self.memory, self.threads = memory, threads
        private = MemoryMiddleware(memory, namespace=("users", "{user_id}"))
        # Everybody may read the team's memory and add to it; nobody may change or delete there.
        shared = MemoryMiddleware(memory, namespace=("teams", "{team_id}"), name="team", actions=["create"])
        self.agent: Any = create_agent(
            model, [], system_prompt=PROMPT, middleware=[private, shared], checkpointer=threads
        )

    def ask(self, user: str, text: str) -> None:
        """One turn of the user's conversation."""
        run = {"configurable": {"thread_id": f"thread of {user}", "user_id": user, "team_id": "kitchen"}}
        state = self.agent.invoke({"messages": [("user", text)]}, run)
        print(f"{user}: {text}\n  agent: {state['messages'][-1].text}")

    def delete(self, user: str) -> None:
        """Forget a user: the conversation and the private memory."""
        self.threads.delete_thread(f"thread of {user}")
        receipt = self.memory.forget(("users", user))
        print(f"Receipt for {'/'.join(receipt.namespace)}, {receipt.forgotten_at:%Y-%m-%d %H:%M} UTC:")
        print(f"  records forgotten: {receipt.from_log}, entries of the {receipt.reader} index: {receipt.from_index}")
        print(f"  no copy is left in the log's files: {receipt.scrubbed}")


@contextmanager
def opened(model: BaseChatModel, folder: Path) -> Iterator[Assistant]:
    """The assistant on what is kept in a folder."""
    with (
        SqliteSaver.from_conn_string(str(folder / "threads.sqlite")) as threads,
        Memory.open(folder / "memory", embeddings=LexicalEmbeddings()) as memory,
    ):
        yield Assistant(model, memory, threads)


def main(model: BaseChatModel, folder: Path) -> None:
    """Two users and their team, on two days."""
    with opened(model, folder) as assistant:
        assistant.ask("anna", "Remember: Anna is allergic to nuts.")
        assistant.ask("anna", "Remember for the team: the bakery delivers bread at six.")
        assistant.ask("bob", "Remember: Bob wants Fridays off.")

    print("\nThe next day, all of it opened anew:")
    with opened(model, folder) as assistant:
        assistant.ask("bob", "When does the bakery deliver bread?")
        assistant.ask("bob", "Who is allergic to nuts?")
        assistant.ask("anna", "Who is allergic to nuts?")

        print("\nAnna leaves:")
        assistant.delete("anna")
        print("\nWhat is left:")
        for namespace, count in assistant.memory.namespaces().items():
            print(f"  {'/'.join(namespace)}: {count} record(s)")
        for thread in sorted({kept.config["configurable"]["thread_id"] for kept in assistant.threads.list(None)}):
            print(f"  {thread}")


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        main(chosen_model(), Path(made))
