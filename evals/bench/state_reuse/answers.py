"""Whether answers from kept states are those of a server that computes every prompt from its first token."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Lock

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.cases import Ask, cases
from evals.bench.state_reuse.load import percent, total
from evals.bench.state_reuse.recorded import LOGPROBS, TIE, Parting, Recorder, partings
from evals.bench.state_reuse.results import Outcome, Row, Target
from evals.bench.state_reuse.servers import Kind
from evals.bench.state_reuse.stand import Stand
from linmem_langgraph import Memory
from linmem_langgraph.records import Usage

SEED = 2026
IN_FLIGHT = 4
"""Memories that are asked at a time: the small cache has room for these, but not for those that come back."""

PARTS: dict[Kind, str] = {"reuse": "after appends, any until", "small": "under eviction"}


def measure(stand: Stand) -> Outcome:
    """Half of the cases on a server with room for all states, half on one that must drop most of them."""
    longest = len(stand.records(stand.scale.case_size, "length"))
    memories = cases(stand.scale.cases, longest, seed=SEED)
    half = (len(memories) + 1) // 2
    rows, parted = list[Row](), list[Parting]()
    for kind, part in zip(PARTS, (memories[:half], memories[half:]), strict=True):
        usage, found = Asked(stand, kind).all(part)
        rows += counted(PARTS[kind], sum(map(len, part)), usage, found)
        parted += found
    return Outcome(
        name="answers",
        title=f"Greedy answers of {stand.scale.case_answer} tokens against a server without prefix caching",
        ours="answers",
        theirs="",
        ratio="",
        rows=tuple(rows),
        notes=(
            f"A near-tie: without reuse the two best tokens were within {TIE} of each other, in log-probability.",
            *(
                f"{each.reused!r} for {each.computed!r} as token {each.place}: {each.margin:.4f} apart"
                for each in parted
            ),
        ),
    )


def counted(what: str, asked: int, usage: Usage, found: Sequence[Parting]) -> list[Row]:
    """Equal answers, near-ties, and what is neither."""
    ties = sum(each.is_tie for each in found)
    rows = {"equal": asked - len(found), "near-ties": ties, "different otherwise": len(found) - ties}
    bounds = {"different otherwise": Target(most=0)}
    reused = percent(usage.cached_tokens, usage.prompt_tokens)
    return [
        *(Row(what=f"{what}: {name}", ours=number, n=asked, target=bounds.get(name)) for name, number in rows.items()),
        Row(what=f"{what}: prompt tokens from state", unit="%", ours=reused, n=asked),
    ]


class Asked:
    """One log, and two readers on it: one on a server that keeps states, one on a server that does not."""

    def __init__(self, stand: Stand, kind: Kind) -> None:
        self._stand, self._kind = stand, kind
        self.reused, self.computed = Recorder(), Recorder()
        self._alone = Lock()

    def all(self, memories: Sequence[Sequence[Ask]]) -> tuple[Usage, list[Parting]]:
        """Ask everything: what ours cost, and where the answers part."""
        with ExitStack() as opened:
            ours, theirs = self._memories(opened)
            with ThreadPoolExecutor(IN_FLIGHT) as executor:
                usages = list(executor.map(lambda asks: self._each(ours, theirs, asks), memories))
        used = total(usage for several in usages for usage in several)
        return used, partings(self.reused, self.computed)

    def _memories(self, opened: ExitStack) -> tuple[Memory, Memory]:
        answer = self._stand.scale.case_answer
        reader = self._stand.reader(self._kind, answer=answer, callbacks=[self.reused], **LOGPROBS)
        ours = opened.enter_context(Memory.open(self._stand.new_folder(), reader))
        reader = self._stand.reader("recompute", answer=answer, callbacks=[self.computed], **LOGPROBS)
        return ours, opened.enter_context(Memory(reader, store=ours.store))

    def _each(self, ours: Memory, theirs: Memory, asks: Sequence[Ask]) -> list[Usage]:
        namespace = self._stand.namespace(f"answers {self._kind} {asks[0].memory}")
        records = self._stand.records(self._stand.scale.case_size, str(namespace))
        used, written = list[Usage](), 0
        for ask in asks:
            ours.write(namespace, records[written : ask.records])
            written = ask.records
            if ask.flushed:
                ours.flush()
            question = texts.question(ask.number)
            used.append(ours.read(namespace, question, until=ask.until).usage)
            # Beside other requests a server without prefix caching cuts its prompts elsewhere, and rounds otherwise.
            with self._alone:
                theirs.read(namespace, question, until=ask.until)
        return used
