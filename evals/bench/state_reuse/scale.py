"""How large each scenario is."""

from typing import Self

from pydantic import BaseModel, ConfigDict, PositiveInt


class Scale(BaseModel):
    """Sizes in tokens of the transcript, unless it says otherwise; the defaults take some minutes on two CPU cores.

    Args:
        repeats: how often whatever is timed in pairs is timed.
        answer: tokens an answer has where its time matters: a token costs the same on both sides.
        sizes: of the memories whose reads are timed; the last two have a target.
        caption: characters of a record.
        append_to, appended: of a memory that grows, and by how much.
        primed, beside: of the memory that is primed, and of the one that is read meanwhile.
        primes: how often that is done, on each side.
        cases, case_size, case_answer: random cases of equal answers, the largest memory, the tokens compared.
        videos, clips, clip, questions, reads: of the M3-Bench-shaped schedule; `clip` in characters of its record.
        concurrent: reads in flight.
        memories: that these reads go to; and one.
        shared: of each such memory.
        reads_each: reads of every number in flight, ours and theirs; as many as are in flight at least.
        cache_blocks: blocks of the cache that is too small.
        writes, settled: pairs of writes and puts, and those that go before, untimed.
        written: characters of a record that is written.
        asked, further: questions of the bundled benchmark, and of further households.
    """

    model_config = ConfigDict(frozen=True)

    repeats: PositiveInt = 5
    answer: PositiveInt = 4
    caption: PositiveInt = 100
    sizes: tuple[PositiveInt, ...] = (2_000, 4_000, 8_000, 16_000, 32_000)
    append_to: PositiveInt = 16_000
    appended: PositiveInt = 300
    primed: PositiveInt = 40_000
    beside: PositiveInt = 2_000
    primes: PositiveInt = 2
    cases: PositiveInt = 200
    case_size: PositiveInt = 5_000
    case_answer: PositiveInt = 16
    videos: PositiveInt = 20
    clips: PositiveInt = 60
    clip: PositiveInt = 150
    questions: PositiveInt = 12
    reads: PositiveInt = 3
    concurrent: tuple[PositiveInt, ...] = (1, 8, 32)
    memories: PositiveInt = 16
    shared: PositiveInt = 4_000
    reads_each: tuple[PositiveInt, PositiveInt] = (96, 16)
    cache_blocks: PositiveInt = 80
    writes: PositiveInt = 300
    settled: PositiveInt = 400
    written: PositiveInt = 400
    asked: PositiveInt = 216
    further: PositiveInt = 1_008

    @classmethod
    def quick(cls) -> Self:
        """Small enough to see within a minute or two that all of it runs; its figures mean nothing."""
        return cls(
            repeats=2,
            sizes=(1_000, 2_000, 4_000),
            append_to=2_000,
            primed=8_000,
            primes=1,
            cases=16,
            case_size=2_500,
            videos=4,
            clips=20,
            questions=4,
            reads=2,
            concurrent=(1, 4),
            memories=8,
            shared=1_500,
            reads_each=(16, 8),
            cache_blocks=60,
            writes=20,
            settled=5,
            asked=36,
            further=18,
        )
