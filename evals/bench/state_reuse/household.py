"""linmem-tiny, which really reads, on vLLM and in this process: its answers, and how much of them came from state."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.bench.state_reuse.load import percent
from evals.bench.state_reuse.results import Outcome, Row, Target
from evals.bench.state_reuse.stand import Stand
from evals.benchmarks import household
from evals.judge import lexically_correct
from evals.samples import Sample
from evals.tiny.chat import ANSWER, MODELS, tiny_model
from graphs.extractive import UNKNOWN, conclusion
from linmem_langgraph import LinearReader, Memory, Reading
from linmem_langgraph.readers.base import NOTHING

WEIGHTS: Path = MODELS / "hybrid"
AS_RIGHT = Target(most=1)
CACHED = Target(least=80)

Readings = Mapping[str, Reading]


def measure(stand: Stand) -> Outcome:
    """The bundled benchmark, each question as of its clip, the memories primed."""
    samples = household.load(None).samples[: stand.scale.asked]
    served = read(stand.reader("linmem-tiny", answer=ANSWER), samples, stand)
    computed = read(stand.reader("linmem-tiny-recompute", answer=ANSWER, prime="off"), samples, stand)
    here = read(LinearReader(tiny_model(str(WEIGHTS)), max_tokens=ANSWER), samples, stand)
    return outcome(samples, served, computed, here)


def read(reader: LinearReader, samples: Sequence[Sample], stand: Stand) -> Readings:
    """What it says to each question."""
    benchmark, name = household.load(None), str(stand.new_folder())
    with Memory.open(name, reader) as memory:
        for home in dict.fromkeys(sample.memory for sample in samples):
            memory.write(stand.namespace(f"{name} {home}"), benchmark.memories[home])
        memory.flush()
        return {
            sample.id: memory.read(stand.namespace(f"{name} {sample.memory}"), sample.question, until=sample.until)
            for sample in samples
        }


def outcome(samples: Sequence[Sample], served: Readings, computed: Readings, here: Readings) -> Outcome:
    """The rows.

    Args:
        served, computed: by the server that keeps states, and by the one that computes every prompt from its beginning.
        here: in this process.
    """
    n = len(samples)
    right, right_here = (sum(is_right(each, readings[each.id]) for each in samples) for readings in (served, here))
    points = percent(abs(right - right_here), n)
    parted = [sum(served[each.id].text != other[each.id].text for each in samples) for other in (computed, here)]
    used = [[reading.usage for reading in readings.values()] for readings in (served, here)]
    shares = [percent(sum(u.cached_tokens for u in each), sum(u.prompt_tokens for u in each)) for each in used]
    return Outcome(
        name="household",
        title=f"linmem-tiny answers {n} questions of the bundled benchmark",
        ours="on vLLM",
        theirs="in this process",
        ratio="",
        rows=(
            Row(what="right", unit="%", ours=percent(right, n), theirs=percent(right_here, n), n=n),
            Row(what="difference", unit="points", ours=points, n=n, target=AS_RIGHT),
            Row(what="other words than in this process", ours=parted[1], n=n),
            Row(what="other words than without prefix caching", ours=parted[0], n=n, target=Target(most=0)),
            Row(what="prompt tokens from state", unit="%", ours=shares[0], theirs=shares[1], n=n, target=CACHED),
        ),
        notes=("vLLM computes in bfloat16, this process in float32: where two words are as likely, they may part.",),
    )


def is_right(sample: Sample, reading: Reading) -> bool:
    """Whether what the reading concludes holds the gold answer."""
    said = UNKNOWN if reading.text == NOTHING else conclusion(reading.text)
    return lexically_correct(sample.answer or "", said, answerable=sample.answerable)
