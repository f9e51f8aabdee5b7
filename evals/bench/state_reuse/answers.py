"""Whether answers from kept states are those of a server that computes every prompt from its first token."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import zip_longest

from evals.bench.state_reuse import texts
from evals.bench.state_reuse.cases import Ask, cases
from evals.bench.state_reuse.load import percent
from evals.bench.state_reuse.recorded import LOGPROBS, TIE, Parting, Recorder, partings
from evals.bench.state_reuse.results import Outcome, Row, Target
from evals.bench.state_reuse.servers import Kind
from evals.bench.state_reuse.stand import Stand
from linmem_langgraph import Memory
from linmem_langgraph.records import Usage, total

SEED = 2026
IN_TURN = 4
"""Memories that take turns: the small cache has dropped most of what it kept of one when its next question comes."""

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

    def all(self, memories: Sequence[Sequence[Ask]]) -> tuple[Usage, list[Parting]]:
        """Ask everything, one after the other: what ours cost, and where the answers part.

        Beside other requests a server cuts its prompts elsewhere, and rounds otherwise, with reuse or without.
        """
        with ExitStack() as opened:
            ours, theirs = self._memories(opened)
            usages = [self._one(ours, theirs, ask) for ask in in_turn(memories)]
        return total(usages), partings(self.reused, self.computed)

    def _memories(self, opened: ExitStack) -> tuple[Memory, Memory]:
        answer = self._stand.scale.case_answer
        reader = self._stand.reader(self._kind, answer=answer, callbacks=[self.reused], **LOGPROBS)
        ours = opened.enter_context(Memory.open(self._stand.new_folder(), reader))
        reader = self._stand.reader("recompute", answer=answer, callbacks=[self.computed], **LOGPROBS)
        return ours, opened.enter_context(Memory(reader, store=ours.store))

    def _one(self, ours: Memory, theirs: Memory, ask: Ask) -> Usage:
        namespace = self._stand.namespace(f"answers {self._kind} {ask.memory}")
        records = self._stand.records(self._stand.scale.case_size, str(namespace))
        # What theirs writes ours primes as it reads; what ours writes, before.
        writer = ours if ask.flushed else theirs
        writer.write(namespace, records[len(ours.records(namespace)) : ask.records])
        writer.flush()
        question = texts.question(ask.number)
        usage = ours.read(namespace, question, until=ask.until).usage
        theirs.read(namespace, question, until=ask.until)
        return usage


def in_turn(memories: Sequence[Sequence[Ask]]) -> Iterator[Ask]:
    """The questions of the first few memories in turn, then those of the next."""
    for start in range(0, len(memories), IN_TURN):
        turns = zip_longest(*memories[start : start + IN_TURN])
        yield from (ask for turn in turns for ask in turn if ask)
