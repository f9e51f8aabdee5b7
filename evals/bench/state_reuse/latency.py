"""How long a read takes right after a flushed write, as the memory grows."""

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.results import Outcome, Row, Target
from evals.bench.state_reuse.stand import Stand
from evals.bench.timing import Ratio, compare
from linmem_langgraph import Memory
from linmem_langgraph.transcript import render

FASTER = Target(least=20)
LONG = 16_000
"""Tokens from which on it is to be that much faster."""

GROWTH = Target(most=2)


def measure(stand: Stand) -> Outcome:
    """Reads of memories of each size."""
    sizes = stand.scale.sizes
    with stand.memory() as memory:
        timed = {size: read(stand, memory, size) for size in sizes}
    rows = [
        Row.faster(f"read {size:,} tokens", timed[size], stand.scale.repeats, FASTER if size >= LONG else None)
        for size in sizes
    ]
    smallest, largest = sizes[0], sizes[-1]
    mine, others = timed[largest].ours / timed[smallest].ours, timed[largest].theirs / timed[smallest].theirs
    growth = Row(what=f"growth from {smallest:,} to {largest:,}", unit="x", ours=mine, theirs=others, target=GROWTH)
    return Outcome(
        name="latency",
        title="A read after a flushed write",
        ours="state reused",
        theirs="question first",
        ratio="times faster",
        rows=(*rows, growth),
        notes=("Before each pair of reads a record is written and flushed; ours goes first every other time.",),
        series={
            "state reused": [(size, 1e3 * timed[size].ours) for size in sizes],
            "question first": [(size, 1e3 * timed[size].theirs) for size in sizes],
        },
    )


def read(stand: Stand, memory: Memory, size: int) -> Ratio:
    """Both sides' reads of one memory, which grows by a record before each pair of them."""
    namespace, plain = stand.namespace(f"latency {size}"), stand.plain()
    written = stand.records(size, size)
    memory.write(namespace, written)

    def grow(run: int) -> None:
        written.extend(stand.records(1, size, first=len(written)))
        memory.write(namespace, written[-1])
        memory.flush()

    return compare(
        lambda run: memory.read(namespace, texts.question(run)),
        lambda run: plain.ask(render(written), texts.question(run)),
        stand.scale.repeats,
        before=grow,
    )
