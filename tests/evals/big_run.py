"""A made-up run as large as M3-Bench's robot half: 1,276 questions of 100 videos, three readers, five rounds each."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from pathlib import Path
from random import Random
from typing import Any

from evals.config import RunConfig
from evals.rows import Grade, Prediction, Row, Tokens
from evals.samples import Sample
from tests.evals.support import grade_of, jsonl, run_config, write_household

QUESTIONS = 1276
VIDEOS = [f"kitchen_{number:02}" for number in range(100)]
CLIPS = 64
ARMS = ("main", "linear", "oracle")
TYPES = ("Cross-Modal Reasoning", "General Knowledge Extraction", "Human Understanding", "Multi-Detail Reasoning")
SEARCHES = 4
"""Before the answer, which is the fifth round."""

# Compressed, a word drawn from these takes 15 bits; one of people's talk in LoCoMo takes 14.
SYLLABLES = ("ka", "lo", "mi", "ner", "pa", "ri", "sa", "tel", "un", "ves", "bor", "di", "fen", "go", "hul", "jat")
WORDS = ["".join(parts) for count in (1, 2, 3) for parts in product(SYLLABLES, repeat=count)]
WEIGHTS = list(accumulate(1 / (rank + 10) for rank in range(len(WORDS))))


def write_big_run(folder: Path, questions: int = QUESTIONS) -> RunConfig:
    """Write the benchmark, the predictions and the grades; the set-up to report them with."""
    random = Random(0)
    videos = {video: [told(random, 60) for _ in range(CLIPS)] for video in VIDEOS}
    samples = [_sample(random, number) for number in range(questions)]
    clips = {video: {clip: [text] for clip, text in enumerate(texts)} for video, texts in videos.items()}
    write_household(folder / "data", clips, samples)
    rows = [_prediction(random, arm, sample, videos[sample.memory]) for sample in samples for arm in ARMS]
    _write(folder / "predictions.jsonl", rows)
    _write(folder / "scores.jsonl", [_grade(random, row) for row in rows])
    linear = {"name": "linear", "options": {"model": "tiny:hybrid"}}
    return run_config(folder / "data", name="big", compared={"linear": linear}, controls=["oracle"])


def told(random: Random, count: int) -> str:
    """A sentence of so many words."""
    return " ".join(random.choices(WORDS, cum_weights=WEIGHTS, k=count)).capitalize() + "."


def _sample(random: Random, number: int) -> Sample:
    until = random.randrange(CLIPS // 2, CLIPS)
    return Sample(
        id=f"q{number:04}",
        memory=VIDEOS[number % len(VIDEOS)],
        question=told(random, 12),
        answer=None if number % 50 == 49 else told(random, 8),
        types=tuple(random.sample(TYPES, random.choice((1, 1, 2)))),
        until=until,
        evidence=tuple(sorted(random.sample(range(until), 2))),
    )


def _prediction(random: Random, arm: str, sample: Sample, captions: Sequence[str]) -> Prediction:
    found = [random.sample(range(CLIPS // 2), 2) for _ in range(SEARCHES)]
    answer, error = (told(random, 20), "") if random.random() > 0.03 else ("", f"TimeoutError: {told(random, 20)}")
    searches = [
        message for clips in found for message in _search(random, arm, [f"[{n}] {captions[n]}" for n in clips], clips)
    ]
    return Prediction(
        arm=arm,
        config=f"hash-{arm}",
        question_id=sample.id,
        seed=0,
        gold=sample.answer,
        answer=answer,
        error=error,
        rounds=SEARCHES + 1,
        searches=SEARCHES,
        seconds=random.uniform(1, 9),
        controller=Tokens(prompt=random.randrange(9000), cached=random.randrange(4000), completion=300),
        messages=({"role": "human", "text": sample.question}, *searches, {"role": "ai", "text": answer}),
        shown=tuple(dict.fromkeys(clip for clips in found for clip in clips)),
        ranking=tuple(random.sample(range(CLIPS // 2), 20)) if arm == "main" else (),
        candidates=(sample.until or 0) + 1,
        **sample.model_dump(include={"memory", "question", "types", "until", "evidence", "answerable"}),
    )


def _search(random: Random, arm: str, records: Sequence[str], clips: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A round: what the controller thinks and asks, and the clips found, or what the linear reader writes."""
    call = {"name": "search_memory", "args": {"query": told(random, 8)}}
    yield {"role": "ai", "text": told(random, 25), "calls": [call]}
    if arm != "linear":
        yield {"role": "tool", "text": "\n".join(records), "positions": sorted(clips)}
        return
    usage = {"prompt_tokens": random.randrange(9000, 20000), "cached_tokens": 9000, "completion_tokens": 80}
    written = {"model": "made-up", "usage": usage, "seconds": random.random(), "invented": 0}
    yield {"role": "tool", "text": told(random, 60), "positions": sorted(clips), "written": written}


def _grade(random: Random, row: Prediction) -> Grade:
    label = "error" if row.error else "unscored" if row.gold is None else random.choice(("correct", "incorrect"))
    return grade_of(row, label, f1=random.random(), raw=told(random, 15))


def _write(path: Path, rows: Sequence[Row]) -> None:
    path.write_text(jsonl([row.model_dump(mode="json") for row in rows]), encoding="utf-8")
