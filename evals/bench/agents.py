"""What the loop and the middleware take, beside the model's own time: a model whose words are fixed, and a reader that
answers at once.

The loop (`graphs.m3_agent`) against an agent of `create_agent` with the same tool, and against the same turns in plain
Python. A turn of an agent with the middleware against the same turn without, less the reads and writes themselves.
"""

import statistics
import time
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.table import Table

from evals.bench.scripted import ScriptedModel
from evals.bench.timing import Ratio, compare
from graphs.m3_agent import create_m3_agent
from linmem_langgraph import Memory, MemoryMiddleware, create_search_memory_tool
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers import Query, Reader
from linmem_langgraph.records import MemoryRecord, Reading, ScoredRecord

NAMESPACE = ("bench",)
SEARCHES = 3
FOUND = Reading(
    text="[0] Anna lives in Oslo.",
    records=(ScoredRecord(record=MemoryRecord(text="Anna lives in Oslo.", position=0, key="0"), score=1.0),),
    reader="constant",
)


class ConstantReader(Reader):
    """Finds the same at once."""

    name: ClassVar[str] = "constant"

    waits_for_updates: ClassVar[bool] = False

    def read(self, log: Log, query: Query) -> Reading:
        """That one record."""
        return FOUND

    def update(self, log: Log, change: Change) -> None:
        """Nothing is derived."""

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Nothing is derived."""
        return 0

    def rebuild(self, log: Log) -> None:
        """Nothing is derived."""


def searching(searches: int) -> ScriptedModel:
    """A model that searches so often, and then answers."""

    def says(messages: list[BaseMessage]) -> AIMessage:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        call = {"name": "search_memory", "args": {"query": "Where does Anna live?"}, "id": str(done)}
        return AIMessage("", tool_calls=[call]) if done < searches else AIMessage("In Oslo.")

    return ScriptedModel(says=says)


def loops(repeats: int) -> dict[str, Ratio]:
    """Questions of so many searches: the loop against each of the others."""
    with Memory(ConstantReader(), store=InMemoryStore()) as memory:
        memory.write(NAMESPACE, "Anna lives in Oslo.")
        tool, model = create_search_memory_tool(memory, namespace=NAMESPACE), searching(SEARCHES)
        ours = create_m3_agent([tool], model).compile()
        agent = create_agent(model, [tool], system_prompt="Answer from memory.")
        asked: Any = {"messages": [HumanMessage("Where does Anna live?")]}
        assert ours.invoke(asked)["answer"] == agent.invoke(asked)["messages"][-1].text == plain(model, tool)
        return {
            "an agent of create_agent": compare(lambda _: ours.invoke(asked), lambda _: agent.invoke(asked), repeats),
            "the turns in plain Python": compare(lambda _: ours.invoke(asked), lambda _: plain(model, tool), repeats),
        }


def plain(model: BaseChatModel, tool: BaseTool) -> str:
    """The same without a graph."""
    messages: list[BaseMessage] = [SystemMessage("Answer from memory."), HumanMessage("Where does Anna live?")]
    while True:
        messages.append(said := model.invoke(messages))
        if not said.tool_calls:
            return str(said.text)
        messages += [tool.invoke(call) for call in said.tool_calls]


def middleware(repeats: int) -> dict[str, float]:
    """Milliseconds of a turn: with recall and capture, without, and of what these read and write."""
    with Memory(ConstantReader(), store=InMemoryStore()) as memory:
        memory.write(NAMESPACE, "Anna lives in Oslo.")
        model, asked = searching(0), "Where does Anna live?"
        remembering = MemoryMiddleware(memory, namespace=NAMESPACE, recall=True, capture=True)
        tools = [*remembering.tools]
        bare = create_agent(model, tools, system_prompt="Answer.")
        whole = create_agent(model, [], middleware=[remembering], system_prompt="Answer.")

        def reads_and_writes() -> None:
            memory.read(NAMESPACE, asked)
            memory.write(NAMESPACE, [f"user: {asked}", "assistant: In Oslo."])

        return {
            "with recall and capture": _median(lambda: whole.invoke({"messages": [HumanMessage(asked)]}), repeats),
            "without": _median(lambda: bare.invoke({"messages": [HumanMessage(asked)]}), repeats),
            "one read and one write": _median(reads_and_writes, repeats),
        }


def main(repeats: int = 300) -> None:
    """Print both."""
    table = Table(title=f"{SEARCHES} searches and an answer, a model and a reader that take no time")
    for column in ("the loop against", "loop ms", "other ms", "ratio", "quartiles"):
        table.add_column(column, justify="left" if column == "the loop against" else "right")
    for what, ratio in loops(repeats).items():
        quartiles = f"{ratio.low:.2f} to {ratio.high:.2f}"
        table.add_row(what, f"{1e3 * ratio.ours:.2f}", f"{1e3 * ratio.theirs:.2f}", f"{ratio.ratio:.2f}", quartiles)
    times = middleware(repeats)
    turn = Table("a turn of an agent", "ms", title="MemoryMiddleware")
    for what, time_ in times.items():
        turn.add_row(what, f"{time_:.2f}")
    beyond = times["with recall and capture"] - times["without"] - times["one read and one write"]
    turn.add_row("the middleware beyond store and reader", f"{beyond:.2f}")
    console = Console(width=120)
    console.print(table)
    console.print(turn)


def _median(act: Callable[[], object], repeats: int) -> float:
    act()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)
