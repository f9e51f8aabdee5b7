"""Many conversations at once in one process, over a folder: an SQLite log and a Chroma index.

Each is an agent of `create_agent` with `MemoryMiddleware`: it recalls before the model and remembers the turn. The
model's words are fixed and the embeddings lexical, so what is measured is the memory. Afterwards everything that was
said must be there once, in its own user's memory, and nothing else have been recalled.
"""

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from rich.console import Console
from rich.table import Table
from typing_extensions import TypedDict

from evals.bench.scripted import ScriptedModel
from linmem_langgraph import Memory, MemoryMiddleware
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.memory import Records
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.records import Reading

USERS = ("users", "{user_id}")


class User(TypedDict):
    """Whose conversation it is."""

    user_id: str


def repeat(messages: list[BaseMessage]) -> AIMessage:
    """What it was told that memory holds."""
    told = " ".join(str(each.text) for each in messages if isinstance(each, SystemMessage))
    return AIMessage(f"I recall {told.count('said by')} things.", response_metadata={"recalled": told})


@dataclass
class Found:
    """What went wrong, and the seconds that writes and reads took."""

    turns: int = 0
    errors: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    writes: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    seconds: float = 0.0


class TimedMemory(Memory):
    """Notes how long each write and each read took, in seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.writes, self.reads = list[float](), list[float]()

    def write(self, namespace: Namespace, records: Records) -> list[str]:
        started = time.perf_counter()
        keys = super().write(namespace, records)
        self.writes.append(time.perf_counter() - started)
        return keys

    async def aread(self, namespace: Namespace, query: str, **options: Any) -> Reading:
        started = time.perf_counter()
        reading = await super().aread(namespace, query, **options)
        self.reads.append(time.perf_counter() - started)
        return reading


async def talk(agent: Any, user: str, turns: int, found: Found) -> None:
    """A conversation of so many turns, one after the other."""
    for turn in range(turns):
        asked = HumanMessage(f"turn {turn}, said by {user}", id=f"{user}-{turn}")
        try:
            answer = await agent.ainvoke({"messages": [asked]}, context={"user_id": user})
        except Exception as exc:
            found.errors.append(f"{user}, turn {turn}: {type(exc).__name__}: {exc}")
            continue
        recalled = answer["messages"][-1].response_metadata["recalled"].split()
        found.foreign += sum(word.startswith("user-") and word.strip(",.") != user for word in recalled)
        found.turns += 1


def run(conversations: int, turns: int, folder: Path) -> Found:
    """All of them at once on one event loop; then count what is there."""
    found = Found()
    users = [f"user-{place}" for place in range(conversations)]

    async def together() -> None:
        await asyncio.gather(*(talk(agent, user, turns, found) for user in users))

    with TimedMemory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        remembering = MemoryMiddleware(memory, namespace=USERS, recall=True, capture=True)
        model = ScriptedModel(says=repeat)
        agent = create_agent(model, [], middleware=[remembering], system_prompt="Answer.", context_schema=User)
        started = time.perf_counter()
        asyncio.run(together())
        found.seconds = time.perf_counter() - started
        memory.flush()
        for user in users:
            said = [record.text for record in memory.records(("users", user)) if record.text.startswith("user:")]
            expected = {f"user: turn {turn}, said by {user}" for turn in range(turns)}
            found.lost += len(expected - set(said))
            found.doubled += len(said) - len(set(said))
            found.foreign += len(set(said) - expected)
        found.writes, found.reads = memory.writes, memory.reads
    return found


def main(conversations: int, turns: int) -> None:
    """Print what was found."""
    with TemporaryDirectory(prefix="linmem-bench-") as folder:
        found = run(conversations, turns, Path(folder) / "memory")
    table = Table("what", "", title=f"{conversations} conversations of {turns} turns at once, SQLite and Chroma")
    table.columns[1].justify = "right"
    for what, times in (("write", found.writes), ("read", found.reads)):
        if len(times) > 1:
            cuts = statistics.quantiles(times, n=20)
            table.add_row(f"{what}, ms: p50 / p95", f"{1e3 * cuts[9]:.1f} / {1e3 * cuts[18]:.1f}")
    table.add_row("turns a second", f"{found.turns / found.seconds:.1f}")
    for what, count in (("errors", len(found.errors)), ("lost", found.lost), ("doubled", found.doubled)):
        table.add_row(what, str(count))
    table.add_row("another user's", str(found.foreign))
    console = Console(width=120)
    console.print(table)
    for error in found.errors[:5]:
        console.print(error, markup=False)
