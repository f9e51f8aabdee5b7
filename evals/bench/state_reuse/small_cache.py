"""A server whose cache is too small for the memories in flight: answers, counters and throughput."""

from contextlib import ExitStack
from functools import partial
from random import Random

from evals.bench.state_reuse import load, texts
from evals.bench.state_reuse.load import Load
from evals.bench.state_reuse.recorded import LOGPROBS, Parting, Recorder, partings
from evals.bench.state_reuse.results import Outcome, Row, Target
from evals.bench.state_reuse.servers import Kind
from evals.bench.state_reuse.stand import Stand
from linmem_langgraph import Memory
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.records import Usage

SEED = 16
IN_FLIGHT = 8
ROUNDS = 2

NO_SLOWER = Target(least=1)
SAME = Target(least=1, most=1)
EQUAL = Target(most=0)


def measure(stand: Stand) -> Outcome:
    """The same reads of many memories, in random order, on the small server and on one that reuses nothing."""
    ran: dict[Kind, list[Load]] = {"small": [], "recompute": []}
    with ExitStack() as opened:
        sides = Sides(stand, opened)
        before = stand.servers["small"].counters()
        for number in range(ROUNDS):
            for kind in list(ran)[:: 1 if number % 2 else -1]:
                ran[kind].append(load.run(load.shared(sides.reads(kind, number), IN_FLIGHT)))
        after = stand.servers["small"].counters()
        for number in range(ROUNDS):
            # Alone, a server without prefix caching cuts its prompts, and rounds, in one way only.
            load.run([sides.reads("reference", number)])
    counted = (after[0] - before[0], after[1] - before[1])
    found = partings(sides.reused, sides.computed)
    return outcome(stand, load.joined(ran["small"]), load.joined(ran["recompute"]), counted, found)


class Sides:
    """One log, and readers of it: on the small server, on the one that reuses nothing, and there for reference."""

    def __init__(self, stand: Stand, opened: ExitStack) -> None:
        self.reused, self.computed = Recorder(), Recorder()
        self._reads = max(2 * stand.scale.reads_each[1], IN_FLIGHT)
        small = Memory.open(stand.new_folder(), stand.reader("small", callbacks=[self.reused], **LOGPROBS))
        recompute = Memory(stand.reader("recompute", **LOGPROBS), store=small.store)
        reference = Memory(stand.reader("recompute", callbacks=[self.computed], **LOGPROBS), store=small.store)
        self._memories = {"small": small, "recompute": recompute, "reference": reference}
        for memory in self._memories.values():
            opened.enter_context(memory)
        self._namespaces = [stand.namespace(f"small {number}") for number in range(stand.scale.memories)]
        for namespace in self._namespaces:
            small.write(namespace, stand.records(stand.scale.shared, str(namespace)))
        small.flush()

    def reads(self, side: str, number: int) -> list[load.Read]:
        """A round of reads, the same on each side."""
        choose = Random(SEED + number).choice
        asked = [(choose(self._namespaces), texts.question(f"{number}.{read}")) for read in range(self._reads)]
        return [partial(self._read, self._memories[side], namespace, question) for namespace, question in asked]

    def _read(self, memory: Memory, namespace: Namespace, question: str) -> Usage:
        return memory.read(namespace, question).usage


def outcome(stand: Stand, ours: Load, theirs: Load, counted: tuple[int, int], found: list[Parting]) -> Outcome:
    """The rows; `counted` are the prompt tokens by the server's counters, and those of them found in its cache."""
    n, ties = len(ours.each), sum(each.is_tie for each in found)
    said = ours.usage
    return Outcome(
        name="small_cache",
        title=(
            f"{stand.scale.memories} memories of {stand.scale.shared:,} tokens, {IN_FLIGHT} reads in flight, "
            f"a cache of {stand.scale.cache_blocks} blocks"
        ),
        ours="too small a cache",
        theirs="no reuse",
        ratio="ratio",
        rows=(
            Row(
                what="reads",
                unit="/s",
                ours=ours.rate,
                theirs=theirs.rate,
                ratio=ours.rate / theirs.rate,
                n=n,
                target=NO_SLOWER,
            ),
            Row(what="read p95", unit="ms", ours=ours.p95, theirs=theirs.p95, ratio=ours.p95 / theirs.p95, n=n),
            Row(what="answers that differ, near-ties aside", ours=len(found) - ties, n=n, target=EQUAL),
            Row(what="near-ties", ours=ties, n=n),
            Row(what="prompt tokens from state", unit="%", ours=ours.cached, theirs=theirs.cached, n=n),
            Row(
                what="prompt tokens: readings, server's counter",
                ours=said.prompt_tokens,
                theirs=counted[0],
                ratio=said.prompt_tokens / counted[0],
                target=SAME,
            ),
            Row(
                what="cached tokens: readings, server's counter",
                ours=said.cached_tokens,
                theirs=counted[1],
                ratio=said.cached_tokens / counted[1],
                target=SAME,
            ),
        ),
    )
