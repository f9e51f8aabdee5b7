"""What it takes to add a little to a long memory: the flush, and the read that follows."""

import time

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.results import Outcome, Row, Target, median, quantile
from evals.bench.state_reuse.stand import Stand
from evals.bench.timing import compare
from linmem_langgraph import Memory
from linmem_langgraph.namespaces import Namespace

SLOWER = Target(most=2)


def measure(stand: Stand) -> Outcome:
    """Two memories of one size: one grows before each read, the other does not."""
    scale, repeats = stand.scale, 4 * stand.scale.repeats
    growing, resting = stand.namespace("append growing"), stand.namespace("append resting")
    flushes = list[float]()
    with stand.memory() as memory:
        anew = [written(stand, memory, namespace, 0, scale.append_to) for namespace in (growing, resting)]

        def grow(run: int) -> None:
            flushes.append(written(stand, memory, growing, len(memory.records(growing)), scale.appended))

        timed = compare(
            lambda run: memory.read(growing, texts.question(run)),
            lambda run: memory.read(resting, texts.question(run)),
            repeats,
            before=grow,
        )
    added, whole = median(flushes), median(anew)
    appended = f"{scale.appended:,} tokens to {scale.append_to:,}"
    return Outcome(
        name="append",
        title=f"Append {appended}, flush, read",
        ours="after an append",
        theirs="without",
        ratio="ratio",
        rows=(
            Row.slower("read", timed, repeats, SLOWER),
            Row(
                what=f"write and flush, against {scale.append_to:,} anew",
                unit="ms",
                ours=1e3 * added,
                theirs=1e3 * whole,
                ratio=added / whole,
                low=quantile(flushes, 0.25) / whole,
                high=quantile(flushes, 0.75) / whole,
                n=len(flushes),
            ),
        ),
        notes=(f"The memory that grows has {scale.appended * len(flushes):,} tokens more in the end.",),
    )


def written(stand: Stand, memory: Memory, namespace: Namespace, first: int, tokens: int) -> float:
    """Seconds until so many tokens more are written and primed."""
    records = stand.records(tokens, str(namespace), first=first)
    started = time.perf_counter()
    memory.write(namespace, records)
    memory.flush()
    return time.perf_counter() - started
