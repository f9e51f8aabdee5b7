"""What a run will cost, before a model is asked, and what it has cost.

Before, it is bounds: a question takes one search at least, as a controller that answers at once has no use for memory,
and one in each round but the last at most. Tokens are estimated.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from evals.benchmarks import load_benchmark
from evals.config import Price, ReaderConfig, RunConfig
from evals.labels import arm_label, percent
from evals.m3_graphs.formats import FORMATS, Format, FormattedReader
from evals.reads import ANSWER, READS, standing, tokens_of
from evals.rows import Prediction, RowFile, Tokens, added
from evals.samples import Benchmark, Sample
from evals.schedule import CONTROLS, Job, hashes, jobs
from evals.summary import ArmSummary
from linmem_langgraph import transcript

SHOWN = 2
"""Clips that a search is taken to show, where the reader does not read all of them."""


class Prefill(NamedTuple):
    """How much is read until all questions are answered once, by a model that reads the whole memory.

    Args:
        alone: each question reads its memory from the start.
        unordered: what was read is kept, and the questions come as the benchmark has them.
        ordered: what was read is kept, and the questions of a memory come in order of `until`, as in a run.
    """

    alone: int = 0
    unordered: int = 0
    ordered: int = 0

    def plus(self, other: "Prefill") -> "Prefill":
        """Both together."""
        return Prefill(*(one + two for one, two in zip(self, other, strict=True)))


class ArmCost(NamedTuple):
    """What is left to do in an arm; of two numbers the first is for one search a question, the second the most.

    Args:
        clips: as a reader of the whole memory reads them.
        tokens: the same, in tokens.
        reader: tokens of its model, where it has one; what is cached is a bound, too.
        controller: tokens of the controller.
        money: where prices are known.
    """

    arm: str
    questions: int
    searches: tuple[int, int]
    clips: Prefill
    tokens: Prefill
    reader: tuple[Tokens, Tokens]
    controller: tuple[Tokens, Tokens]
    money: tuple[float, float] | None


def money(tokens: Tokens, price: Price) -> float:
    """What so many tokens cost."""
    cached = price.prompt if price.cached is None else price.cached
    read = (tokens.prompt - tokens.cached) * price.prompt + tokens.cached * cached
    return (read + tokens.completion * price.completion) / 1e6


def spent(config: RunConfig, arm: str, controller: Tokens, reader: Tokens, judge: Tokens | None = None) -> float | None:
    """What an arm's answers and grades have cost, as far as prices are known; None where none is."""
    of_reader = None if arm in CONTROLS else config.compared.get(arm, config.reader).price
    of_judge = config.judge.model.price if config.judge.model else None
    prices = (controller, config.controller.price), (reader, of_reader), (judge, of_judge)
    parts = [money(used, price) for used, price in prices if price and used]
    return sum(parts) if parts else None


def cost_row(config: RunConfig, arm: ArmSummary) -> dict[str, str]:
    """What an arm took, for tables: means a question, tokens in all; the judge and money where they cost something."""
    row = {
        "rounds": f"{arm.rounds:.2f}",
        "searches": f"{arm.searches:.2f}",
        "forced %": f"{100 * arm.forced:.1f}",
        "unparsable turns": str(arm.unparsable),
        "controller tokens (cached)": _written(arm.controller),
        "reader tokens (cached)": _written(arm.reader),
        "s p50": f"{arm.p50:.3f}",
        "s p95": f"{arm.p95:.3f}",
        "gold shown %": percent(arm.evidence_shown),
    }
    if config.judge.model:
        row["judge tokens (cached)"] = _written(arm.judge)
    if _is_priced(config):
        paid = spent(config, arm.arm, arm.controller, arm.reader, arm.judge)
        row["money"] = "-" if paid is None else f"{paid:,.2f}"
    return row


def prefill(
    listed: Sequence[Sample], asked: Sequence[Sample], size: Callable[[Sample], int], *, grows: bool = True
) -> Prefill:
    """Of the questions of one memory.

    Args:
        listed: as the benchmark has them.
        asked: as a run asks them.
        size: how much of the memory there is for a question.
        grows: whether what is read for an earlier `until` is the beginning of what is read for a later one.
    """
    sizes = [size(sample) for sample in listed]
    kept = _kept if grows else _kept_whole
    return Prefill(alone=sum(sizes), unordered=kept(sizes), ordered=kept([size(sample) for sample in asked]))


def estimate(config: RunConfig, out: Path) -> list[ArmCost]:
    """What is left to do of a run, by arm; nothing is asked and nothing written.

    Raises:
        ConfigError: the set-up or the benchmark is wrong.
    """
    benchmark = load_benchmark(**config.benchmark.model_dump())
    known = hashes(config, benchmark.fingerprint)
    done = {row.key for row in RowFile(out / "predictions.jsonl").read(Prediction, cut_off=True)}
    by_arm: dict[str, list[Job]] = {}
    for job in jobs(config, benchmark, known, done):
        by_arm.setdefault(job.arm, []).append(job)
    return [_arm(config, benchmark, arm, left) for arm, left in by_arm.items()]


def estimate_table(config: RunConfig, costs: Sequence[ArmCost]) -> Table:
    """For the terminal: a column for each arm."""
    table = Table(title=f"{config.name}: {config.benchmark.name}, what is left to ask")
    table.add_column("")
    for cost in costs:
        table.add_column(arm_label(config, cost.arm), justify="right")
    lines: dict[str, Callable[[ArmCost], str]] = {
        "questions": lambda cost: f"{cost.questions:,}",
        "searches": lambda cost: _range(*cost.searches),
        "clips read, each question alone": lambda cost: f"{cost.clips.alone:,}",
        "clips read, state kept, as listed": lambda cost: f"{cost.clips.unordered:,}",
        "clips read, state kept, in order": lambda cost: f"{cost.clips.ordered:,}",
        "tokens read, state kept, in order": lambda cost: f"{cost.tokens.ordered:,}",
        "controller tokens": lambda cost: _range(*map(_all, cost.controller)),
        "reader tokens, cached ones included": lambda cost: _range(*map(_all, cost.reader)),
        "money": lambda cost: "no prices" if cost.money is None else f"{cost.money[0]:,.2f} to {cost.money[1]:,.2f}",
    }
    for name, shown in lines.items():
        table.add_row(name, *map(shown, costs))
    table.caption = "One search a question, to one in each round but the last."
    return table


def _arm(config: RunConfig, benchmark: Benchmark, arm: str, left: Sequence[Job]) -> ArmCost:
    reader = config.compared.get(arm, config.reader)
    form = reader.options.get("format") if reader.name == FormattedReader.name else None
    sizes = {job.memory: _Sizes(benchmark, job.memory, form) for job in left}
    clips, tokens = _prefill(benchmark, left, sizes, _Sizes.clips), _prefill(benchmark, left, sizes, _Sizes.tokens)
    asked = [sample for job in left for sample in job.samples]
    searches = min(1, config.max_rounds - 1), config.max_rounds - 1
    has_model = arm not in CONTROLS and reader.name in READS
    shown = ANSWER if has_model else SHOWN * max((each.of_a_clip for each in sizes.values()), default=0)
    direct = sum(bool(sample.evidence) for sample in asked) if arm == "main" and config.ranking else 0
    memories = {job.memory: [sizes[job.memory].tokens(sample) for sample in job.samples] for job in left}
    read = [_reading(reader, memories, tokens, count, direct) if has_model else Tokens() for count in searches]
    controller = [_reasoning(config, asked, count, shown) for count in searches]
    least, most = (spent(config, arm, one, other) for one, other in zip(controller, read, strict=True))
    return ArmCost(
        arm=arm,
        questions=len(asked),
        searches=(len(asked) * searches[0], len(asked) * searches[1]),
        clips=clips,
        tokens=tokens,
        reader=(read[0], read[1]),
        controller=(controller[0], controller[1]),
        money=None if least is None or most is None else (least, most),
    )


def _prefill(
    benchmark: Benchmark, left: Sequence[Job], sizes: Mapping[str, "_Sizes"], size: Callable[["_Sizes", Sample], int]
) -> Prefill:
    total = Prefill()
    for job in left:
        names = {sample.id for sample in job.samples}
        listed = [sample for sample in benchmark.samples if sample.id in names]
        of_memory = sizes[job.memory]
        total = total.plus(prefill(listed, job.samples, partial(size, of_memory), grows=of_memory.grows))
    return total


class _Sizes:
    """How much of a memory a question may read."""

    def __init__(self, benchmark: Benchmark, memory: str, form: Format | None) -> None:
        by_clip: dict[int, int] = {}
        told, self.grows = benchmark.memories[memory], form != "structured"
        for record in FORMATS[form](told) if form else told:
            position = record.position or 0
            by_clip[position] = by_clip.get(position, 0) + tokens_of(transcript.render_record(record))
        self._by_clip = by_clip
        self.of_a_clip = sum(by_clip.values()) // max(len(by_clip), 1)

    def clips(self, sample: Sample) -> int:
        return sum(sample.until is None or clip <= sample.until for clip in self._by_clip)

    def tokens(self, sample: Sample) -> int:
        return sum(size for clip, size in self._by_clip.items() if sample.until is None or clip <= sample.until)


def _kept(sizes: Sequence[int]) -> int:
    """What is read anew, where each read goes on from the largest one before that it begins with."""
    total, kept = 0, {0}
    for size in sizes:
        total += size - max(known for known in kept if known <= size)
        kept.add(size)
    return total


def _kept_whole(sizes: Sequence[int]) -> int:
    """What is read anew, where a read begins with no other but its like."""
    return sum(set(sizes))


def _reading(
    reader: ReaderConfig, memories: Mapping[str, Sequence[int]], tokens: Prefill, searches: int, direct: int
) -> Tokens:
    """Once it has read a memory for a question, it goes on from there in later rounds.

    Args:
        memories: by name: the tokens of it that each question may be answered from.
        direct: how many questions are also put to the reader themselves, for its ranking.
    """
    asked = [memory for sizes in memories.values() for memory in sizes]
    reads = len(asked) * searches + direct
    if not reads:
        return Tokens()
    once = added(READS[reader.name](memory, reader.options) for memory in asked)
    all_reads = Tokens(
        prompt=once.prompt * reads // len(asked),
        cached=max(once.cached * reads // len(asked) - tokens.ordered, 0),
        completion=once.completion * reads // len(asked),
    )
    return added([all_reads, *(standing(reader, max(sizes)) for sizes in memories.values())])


def _reasoning(config: RunConfig, asked: Sequence[Sample], searches: int, shown: int) -> Tokens:
    """Each turn sends the dialogue so far again."""
    prompts, turns = config.wording(), searches + 1
    start = tokens_of(prompts.system) + tokens_of(prompts.instruction)
    prompt = sum(turns * (start + tokens_of(sample.question)) for sample in asked)
    prompt += len(asked) * (shown + ANSWER) * turns * searches // 2
    return Tokens(prompt=prompt, completion=len(asked) * turns * ANSWER)


def _is_priced(config: RunConfig) -> bool:
    parts = [config.controller, config.reader, *config.compared.values(), config.judge.model]
    return any(part and part.price for part in parts)


def _written(used: Tokens) -> str:
    return f"{_all(used):,} ({used.cached:,})"


def _all(used: Tokens) -> int:
    return used.prompt + used.completion


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
