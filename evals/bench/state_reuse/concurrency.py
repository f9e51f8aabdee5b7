"""Reads in flight, over one memory and over many."""

from functools import partial
from typing import NamedTuple

from evals.bench.state_reuse import load, texts
from evals.bench.state_reuse.load import Load
from evals.bench.state_reuse.results import Outcome, Row
from evals.bench.state_reuse.stand import Stand
from linmem_langgraph import Memory
from linmem_langgraph.records import Usage
from linmem_langgraph.transcript import render


class Cell(NamedTuple):
    """Both sides with so many reads in flight over so many memories."""

    in_flight: int
    memories: int
    ours: Load
    theirs: Load

    @property
    def rates(self) -> tuple[float, float]:
        """Reads a second, ours and theirs."""
        return self.ours.rate, self.theirs.rate


def measure(stand: Stand) -> Outcome:
    """Each number in flight, over one memory and over all."""
    cells = list[Cell]()
    with stand.memory() as memory:
        sides = Sides(stand, memory)
        for memories in (1, stand.scale.memories):
            for in_flight in stand.scale.concurrent:
                cells.append(sides.cell(in_flight, memories, ours_first=len(cells) % 2 == 0))
    rows = [row for cell in cells for row in compared(cell)]
    return Outcome(
        name="concurrency",
        title=f"Reads in flight, over memories of {stand.scale.shared:,} tokens",
        ours="state reused",
        theirs="question first",
        ratio="times better",
        rows=tuple(rows),
        series={
            f"{words}, {_memories(memories)}": [
                (cell.in_flight, cell.rates[side]) for cell in cells if cell.memories == memories
            ]
            for side, words in enumerate(("state reused", "question first"))
            for memories in (1, stand.scale.memories)
        },
    )


def compared(cell: Cell) -> list[Row]:
    """Throughput and latency."""
    what = f"{cell.in_flight} in flight, {_memories(cell.memories)}"
    ours, theirs, n = cell.ours, cell.theirs, len(cell.theirs.each)
    return [
        Row(what=f"{what}: reads", unit="/s", ours=ours.rate, theirs=theirs.rate, ratio=ours.rate / theirs.rate, n=n),
        Row(what=f"{what}: p95", unit="ms", ours=ours.p95, theirs=theirs.p95, ratio=theirs.p95 / ours.p95, n=n),
    ]


class Sides:
    """Memories that are written and primed, and both ways to read them."""

    def __init__(self, stand: Stand, memory: Memory) -> None:
        self._memory, self._plain = memory, stand.plain()
        self._ours, self._theirs = stand.scale.reads_each
        self._namespaces = [stand.namespace(f"shared {number}") for number in range(stand.scale.memories)]
        self._transcripts = list[str]()
        for namespace in self._namespaces:
            records = stand.records(stand.scale.shared, str(namespace))
            memory.write(namespace, records)
            self._transcripts.append(render(records))
        memory.flush()

    def cell(self, in_flight: int, memories: int, *, ours_first: bool) -> Cell:
        """One side after the other."""
        acts = {"ours": (self._read, self._ours), "theirs": (self._ask, self._theirs)}
        ran = dict[str, Load]()
        for name in list(acts)[:: 1 if ours_first else -1]:
            act, least = acts[name]
            reads = [partial(act, number % memories, number) for number in range(max(least, in_flight))]
            ran[name] = load.run(load.shared(reads, in_flight))
        return Cell(in_flight, memories, ran["ours"], ran["theirs"])

    def _read(self, memory: int, number: int) -> Usage:
        return self._memory.read(self._namespaces[memory], texts.question(number)).usage

    def _ask(self, memory: int, number: int) -> Usage:
        return self._plain.ask(self._transcripts[memory], texts.question(number))


def _memories(count: int) -> str:
    return "1 memory" if count == 1 else f"{count} memories"
