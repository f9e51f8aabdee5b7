"""linmem-tiny, which really reads, on vLLM and in this process: its answers, and how much of them came from state."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.bench.state_reuse.load import percent
from evals.bench.state_reuse.results import Outcome, Row, Target
from evals.bench.state_reuse.stand import Stand
from evals.benchmarks import household
from evals.judge import lexically_correct
from evals.sample.generate import generate
from evals.samples import Sample
from evals.tiny.chat import ANSWER, MODELS, tiny_model
from graphs.extractive import UNKNOWN, conclusion
from linmem_langgraph import LinearReader, Memory, Reading
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.records import MemoryRecord

WEIGHTS: Path = MODELS / "hybrid"
AS_RIGHT = Target(most=1)
CACHED = Target(least=80)

OTHER, EACH = 8, 18
"""The seed of further households, and how many questions each gets; the bundled ones are of seed 7."""

Readings = Mapping[str, Reading]


def measure(stand: Stand) -> Outcome:
    """The bundled benchmark, each question as of its clip, the memories primed; and more of the kind."""
    bundled, (memories, others) = household.load(None), further(stand.scale.further)
    samples, memories = bundled.samples[: stand.scale.asked], {**bundled.memories, **memories}
    asked = [*samples, *others]
    served = read(stand.reader("linmem-tiny", answer=ANSWER), asked, memories, stand)
    computed = read(stand.reader("linmem-tiny-recompute", answer=ANSWER, prime="off"), asked, memories, stand)
    here = read(LinearReader(tiny_model(str(WEIGHTS)), max_tokens=ANSWER), asked, memories, stand)
    return outcome(samples, others, served, computed, here)


def further(questions: int) -> tuple[dict[str, tuple[MemoryRecord, ...]], tuple[Sample, ...]]:
    """Households like the bundled ones, and so many questions, so that one answer weighs less."""
    worlds = -(-questions // EACH)
    memories, samples = generate(worlds=worlds, clips=60, questions=EACH, seed=OTHER, prefix="other")
    return memories, samples[:questions]


def read(
    reader: LinearReader, samples: Sequence[Sample], memories: Mapping[str, Sequence[MemoryRecord]], stand: Stand
) -> Readings:
    """What it says to each question."""
    name = str(stand.new_folder())
    with Memory.open(name, reader) as memory:
        for home in dict.fromkeys(sample.memory for sample in samples):
            memory.write(stand.namespace(f"{name} {home}"), memories[home])
        memory.flush()
        return {
            sample.id: memory.read(stand.namespace(f"{name} {sample.memory}"), sample.question, until=sample.until)
            for sample in samples
        }


def outcome(
    samples: Sequence[Sample], others: Sequence[Sample], served: Readings, computed: Readings, here: Readings
) -> Outcome:
    """The rows.

    Args:
        samples, others: of the bundled benchmark, and of further households.
        served, computed: by the server that keeps states, and by the one that computes every prompt from its beginning.
        here: in this process.
    """
    every = [*samples, *others]
    parted = [sum(served[each.id].text != other[each.id].text for each in every) for other in (computed, here)]
    used = [[reading.usage for reading in readings.values()] for readings in (served, here)]
    shares = [percent(sum(u.cached_tokens for u in each), sum(u.prompt_tokens for u in each)) for each in used]
    return Outcome(
        name="household",
        title=f"linmem-tiny answers {len(samples)} questions of the bundled benchmark, and {len(others)} others",
        ours="on vLLM",
        theirs="in this process",
        ratio="",
        rows=(
            *_accuracy("bundled", samples, served, here),
            *_accuracy("others", others, served, here),
            Row(what="other words than in this process", ours=parted[1], n=len(every)),
            Row(what="other words than without prefix caching", ours=parted[0], n=len(every), target=Target(most=0)),
            Row(
                what="prompt tokens from state", unit="%", ours=shares[0], theirs=shares[1], n=len(every), target=CACHED
            ),
        ),
        notes=("vLLM computes in bfloat16, this process in float32: where two words are as likely, they may part.",),
    )


def _accuracy(what: str, samples: Sequence[Sample], served: Readings, here: Readings) -> tuple[Row, Row]:
    n = len(samples)
    right, right_here = (sum(is_right(each, readings[each.id]) for each in samples) for readings in (served, here))
    return (
        Row(what=f"{what}: right", unit="%", ours=percent(right, n), theirs=percent(right_here, n), n=n),
        Row(
            what=f"{what}: difference",
            unit="points",
            ours=percent(abs(right - right_here), n),
            n=n,
            target=AS_RIGHT,
        ),
    )


def is_right(sample: Sample, reading: Reading) -> bool:
    """Whether what the reading concludes holds the gold answer."""
    said = UNKNOWN if reading.text == NOTHING else conclusion(reading.text)
    return lexically_correct(sample.answer or "", said, answerable=sample.answerable)
