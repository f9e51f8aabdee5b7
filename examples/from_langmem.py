"""Moving over from langmem: one import line in the agent, one command for what it has remembered.

    python examples/from_langmem.py

Namespaces, keys and dates stay. The command replaces langmem's items in the store by records and keeps a copy of the
file; `linmem import-langmem memories.sqlite my_memory` would make a memory's folder of them instead.
"""

import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langgraph.store.sqlite import SqliteStore

from offline_model import chosen_model

NAMESPACE = ("memories", "{langgraph_user_id}")


def langmem_before() -> ModuleType:
    """from langmem import create_manage_memory_tool, create_search_memory_tool"""
    with warnings.catch_warnings():  # its imports are deprecated ones
        warnings.simplefilter("ignore")
        return import_module("langmem")


def langmem_after() -> ModuleType:
    """from linmem_langgraph.langmem import create_manage_memory_tool, create_search_memory_tool"""
    return import_module("linmem_langgraph.langmem")


def ask(langmem: ModuleType, model: BaseChatModel, file: Path, user: str, text: str) -> None:
    """The agent, the same before and after: all that changes is where its two tools are imported from."""
    with SqliteStore.from_conn_string(str(file)) as store:
        store.setup()
        tools = [langmem.create_manage_memory_tool(NAMESPACE), langmem.create_search_memory_tool(NAMESPACE)]
        agent: Any = create_agent(model, tools, store=store)
        state = agent.invoke({"messages": [("user", text)]}, {"configurable": {"langgraph_user_id": user}})
    print(f"{user}: {text}\n  agent: {state['messages'][-1].text}")


def main(model: BaseChatModel, folder: Path) -> None:
    """Two users' memories, made with langmem, found without it."""
    file = folder / "memories.sqlite"

    before = langmem_before()
    print(f"- {langmem_before.__doc__}")
    ask(before, model, file, "anna", "Remember: Anna lives in Oslo.")
    ask(before, model, file, "bob", "Remember: Bob lives in Bergen.")

    print(f"\n$ linmem import-langmem {file.name} --in-place")
    command = [sys.executable, "-m", "linmem_langgraph", "import-langmem", str(file), "--in-place"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(done.stdout)

    after = langmem_after()
    print(f"+ {langmem_after.__doc__}")
    ask(after, model, file, "anna", "Where does Anna live?")
    ask(after, model, file, "bob", "Where does Anna live?")
    ask(after, model, file, "bob", "Where does Bob live?")


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        main(chosen_model(), Path(made))
