"""A schedule of M3-Bench's shape: questions to many videos, each as of some clip, each asked several times."""

import time
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from evals.bench.state_reuse import load, texts
from evals.bench.state_reuse.load import Load, percent
from evals.bench.state_reuse.results import Outcome, Row, Target
from evals.bench.state_reuse.stand import Stand
from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.records import Usage
from linmem_langgraph.transcript import render

SEED = 8
CACHED = Target(least=85)
FASTER = Target(least=5)


class Read(NamedTuple):
    """One read of a video's memory."""

    video: int
    until: int
    question: str


def schedule(videos: int, clips: int, questions: int, reads: int) -> list[list[Read]]:
    """The reads of each video, ordered by `until`."""
    choose, made = Random(SEED), list[list[Read]]()
    for video in range(videos):
        asked = enumerate(sorted(choose.randrange(clips) for _ in range(questions)))
        made.append(
            [
                Read(video, until, texts.question(f"{video}.{number}.{again}"))
                for number, until in asked
                for again in range(reads)
            ]
        )
    return made


def measure(stand: Stand) -> Outcome:
    """Ours in order of `until`, with all that it primes; theirs in random order, the question first."""
    scale, server = stand.scale, stand.servers["reuse"]
    videos = [clips(stand, video) for video in range(scale.videos)]
    asked = schedule(scale.videos, scale.clips, scale.questions, scale.reads)
    before = server.counters()
    with stand.memory() as memory:
        started = time.perf_counter()
        for number, video in enumerate(videos):
            memory.write(stand.namespace(f"video {number}"), video)
        memory.flush()
        primed = time.perf_counter() - started
        ours = load.run([[partial(_read, stand, memory, read) for read in reads] for reads in asked])
    after = server.counters()
    theirs = load.run(load.shared(unordered(stand, videos, asked), scale.videos))
    return outcome(stand, primed, ours, theirs, (after[0] - before[0], after[1] - before[1]))


def clips(stand: Stand, video: int) -> list[MemoryRecord]:
    """One record a clip."""
    length = round(stand.scale.clip * stand.per_token)
    made = (texts.caption(length, seed=f"video {video} {clip}") for clip in range(stand.scale.clips))
    return [MemoryRecord(text=text, position=clip, key=str(clip)) for clip, text in enumerate(made)]


def unordered(
    stand: Stand, videos: Sequence[Sequence[MemoryRecord]], asked: Sequence[Sequence[Read]]
) -> list[load.Read]:
    """The same reads, shuffled."""
    plain, reads = stand.plain(), [read for several in asked for read in several]
    Random(SEED).shuffle(reads)
    return [partial(plain.ask, render(videos[read.video][: read.until + 1]), read.question) for read in reads]


def outcome(stand: Stand, primed: float, ours: Load, theirs: Load, counted: tuple[int, int]) -> Outcome:
    """The rows.

    Args:
        primed: seconds until all memories were written and primed.
        counted: the prompt tokens by the server's counters meanwhile, and those of them found in its cache.
    """
    scale, n, by_server = stand.scale, len(ours.each), percent(counted[1], counted[0])
    tokens = [load.usage.prompt_tokens for load in (ours, theirs)]
    wall = primed + ours.wall
    size = scale.clips * (scale.clip + len("[10] \n"))
    return Outcome(
        name="m3_schedule",
        title=f"{scale.videos} videos in flight, {scale.questions} questions each, {scale.reads} reads a question",
        ours="by until, state reused",
        theirs="unordered, question first",
        ratio="times faster",
        rows=(
            Row(
                what="all of it", unit="s", ours=wall, theirs=theirs.wall, ratio=theirs.wall / wall, n=n, target=FASTER
            ),
            Row(what="writing and priming", unit="s", ours=primed),
            Row(what="the reads", unit="s", ours=ours.wall, theirs=theirs.wall, ratio=theirs.wall / ours.wall, n=n),
            Row(
                what="from state, by the readings", unit="%", ours=ours.cached, theirs=theirs.cached, n=n, target=CACHED
            ),
            Row(what="from state, by the server's counters", unit="%", ours=by_server, target=CACHED),
            Row(what="prompt tokens, by the readings", unit="k", ours=tokens[0] / 1e3, theirs=tokens[1] / 1e3, n=n),
            Row(what="prompt tokens, by the server's counters", unit="k", ours=counted[0] / 1e3),
            Row(what="read p50", unit="ms", ours=ours.p50, theirs=theirs.p50, ratio=theirs.p50 / ours.p50, n=n),
            Row(what="read p95", unit="ms", ours=ours.p95, theirs=theirs.p95, ratio=theirs.p95 / ours.p95, n=n),
        ),
        notes=(
            f"A memory has {scale.clips} records, {size:,} tokens in the end; all are written and primed first, "
            "which the server's counters hold, too.",
        ),
        series={
            "state reused, by the readings": [(0, ours.cached)],
            "state reused, by the server's counters": [(0, by_server)],
            "question first, by the readings": [(0, theirs.cached)],
        },
    )


def _read(stand: Stand, memory: Memory, read: Read) -> Usage:
    return memory.read(stand.namespace(f"video {read.video}"), read.question, until=read.until).usage
