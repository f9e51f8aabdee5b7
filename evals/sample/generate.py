"""Write the benchmark `household`: `python -m evals.sample.generate --worlds 12 --out evals/sample/household`."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Annotated, NamedTuple

import typer

from evals.sample.questions import UNKNOWN, WRITERS, Question, Writer
from evals.sample.world import PEOPLE, Cast, Event, State, draw_cast, simulate
from evals.samples import Sample
from linmem_langgraph.records import MemoryRecord

TWIN_SHARE = 0.3
"""How often the same question is asked again at another clip, where its answer is another one."""


class Draft(NamedTuple):
    """A question as it can be asked at the clip `until`; `changes` = at the end of the video the answer is another."""

    kind: str
    form: str
    until: int
    question: Question
    changes: bool = False

    @property
    def told(self) -> tuple[str, str]:
        """Its words and its answer."""
        return self.question.text, self.question.answer

    @property
    def weight(self) -> int:
        """How much it is wanted: more, the more captions compete with its evidence, and where its answer changes."""
        return (1 + self.question.rivals) ** 2 * (3 if self.changes else 1)


def generate(
    *,
    worlds: int,
    clips: int,
    questions: int,
    seed: int,
    people: Sequence[str] = PEOPLE,
    prefix: str = "home",
    writers: Mapping[str, Sequence[Writer]] = WRITERS,
) -> tuple[dict[str, tuple[MemoryRecord, ...]], tuple[Sample, ...]]:
    """Memories by id, and samples, of `worlds` households; the same arguments give the same result.

    Args:
        worlds: how many households. A household is the same whatever their number.
        clips: how many clips of 30 seconds each has, from 4; the memories do not depend on `questions`.
        questions: how many questions each gets; fewer where its clips do not offer as many.
        people: the names to draw from, at least 5.
        prefix: what memory ids begin with: "home" gives "home_00", "home_01", ...
        writers: who asks, by kind of question.

    Raises:
        ValueError: `clips` is below 4, or `people` has fewer than 5 names.
    """
    if clips < 4 or len(set(people)) < 5:
        raise ValueError(f"a household needs at least 4 clips and 5 people, not {clips} and {len(set(people))}")
    memories: dict[str, tuple[MemoryRecord, ...]] = {}
    samples: list[Sample] = []
    for index in range(worlds):
        rng, name = Random(f"{seed}:{index}"), f"{prefix}_{index:02d}"
        cast = draw_cast(rng, people)
        events = simulate(rng, cast, clips)
        memories[name] = _records(name, events)
        drafts = _drafts(cast, events, _untils(rng, clips, questions), writers)
        samples += _samples(name, _choose(rng, drafts, questions, list(writers)))
    return memories, tuple(samples)


def _records(name: str, events: Sequence[Event]) -> tuple[MemoryRecord, ...]:
    seen = Counter[int]()
    records = []
    for event in events:
        seen[event.clip] += 1
        key = f"{name}_c{event.clip:03d}_{seen[event.clip]}"
        records.append(MemoryRecord(text=event.caption, position=event.clip, key=key))
    return tuple(records)


def _untils(rng: Random, clips: int, questions: int) -> set[int]:
    """The clips to ask at, in the second two thirds: about two questions at each."""
    span = range(-(-clips // 3), clips)
    return set(rng.sample(span, min(len(span), questions // 2 + 1)))


def _drafts(
    cast: Cast, events: Sequence[Event], untils: set[int], writers: Mapping[str, Sequence[Writer]]
) -> list[Draft]:
    """All that can be asked at `untils`."""
    state, drafts, last = State(cast), list[Draft](), events[-1].clip
    for clip, now in groupby(events, key=lambda event: event.clip):
        for event in now:
            state.add(event)
        if clip in untils | {last}:
            drafts += askable(state, clip, writers)
    final = {draft.question.text: draft.question.answer for draft in drafts if draft.until == last}
    return [
        draft._replace(changes=final.get(draft.question.text, draft.question.answer) != draft.question.answer)
        for draft in drafts
        if draft.until in untils
    ]


def askable(state: State, until: int, writers: Mapping[str, Sequence[Writer]] = WRITERS) -> Iterator[Draft]:
    """All that can be asked now, at the clip `until`."""
    for kind, each in writers.items():
        for writer in each:
            for question in writer(state):
                yield Draft(kind, writer.__name__, until, question)


def _choose(rng: Random, drafts: Sequence[Draft], questions: int, kinds: list[str]) -> list[Draft]:
    """At most `questions` of `drafts`, of all kinds alike, no two with the same words and answer, in order of time."""
    left = {kind: [draft for draft in drafts if draft.kind == kind] for kind in rng.sample(kinds, len(kinds))}
    chosen: list[Draft] = []
    used = set[tuple[str, str]]()
    while left and len(chosen) < questions:
        counts = Counter(draft.kind for draft in chosen)
        kind = min(left, key=counts.__getitem__)
        left[kind] = [draft for draft in left[kind] if draft.told not in used]
        if not left[kind]:
            del left[kind]
            continue
        chosen.append(_pick(rng, left[kind], chosen))
        used.add(chosen[-1].told)
        text = chosen[-1].question.text
        twins = [draft for draft in drafts if draft.question.text == text and draft.told not in used]
        if twins and len(chosen) < questions and rng.random() < TWIN_SHARE:
            chosen.append(rng.choice(twins))
            used.add(chosen[-1].told)
    return sorted(chosen, key=lambda draft: draft.until)


def _pick(rng: Random, drafts: Sequence[Draft], chosen: Sequence[Draft]) -> Draft:
    """One of `drafts`: any clip alike, any form alike, and yes as often as no."""
    if drafts[0].kind == "yes_no":
        answers = Counter(draft.question.answer for draft in chosen)
        rare = min(rng.sample(("yes", "no"), 2), key=answers.__getitem__)
        drafts = [draft for draft in drafts if draft.question.answer == rare] or drafts
    until = rng.choice(sorted({draft.until for draft in drafts}))
    drafts = [draft for draft in drafts if draft.until == until]
    form = rng.choice(sorted({draft.form for draft in drafts}))
    drafts = [draft for draft in drafts if draft.form == form]
    return rng.choices(drafts, [draft.weight for draft in drafts])[0]


def _samples(name: str, drafts: Sequence[Draft]) -> list[Sample]:
    return [
        Sample(
            id=f"{name}_q{number:02d}",
            memory=name,
            question=draft.question.text,
            answer=draft.question.answer,
            types=(draft.kind,),
            until=draft.until,
            evidence=tuple(sorted({event.clip for event in draft.question.evidence})),
            answerable=draft.question.answer != UNKNOWN,
        )
        for number, draft in enumerate(drafts)
    ]


def write(folder: Path, memories: dict[str, tuple[MemoryRecord, ...]], samples: Sequence[Sample]) -> None:
    """Write the bundle: `memories.jsonl`, one line a record, and `samples.jsonl`, one line a sample."""
    fields = {"text", "position", "key", "kind", "metadata"}
    records = [
        {"memory": name, **record.model_dump(include=fields)} for name, told in memories.items() for record in told
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memories.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    (folder / "samples.jsonl").write_text("".join(sample.model_dump_json() + "\n" for sample in samples), "utf-8")


def main(
    out: Annotated[Path, typer.Option(help="The folder to write memories.jsonl and samples.jsonl to.")],
    worlds: Annotated[int, typer.Option(min=1, help="How many households, each a memory.")] = 12,
    clips: Annotated[int, typer.Option(min=4, help="Clips of 30 s in each.")] = 60,
    questions: Annotated[int, typer.Option(min=1, help="Questions about each, as far as it offers so many.")] = 18,
    seed: Annotated[int, typer.Option(help="Another seed, other households.")] = 7,
) -> None:
    """Write household worlds; with its defaults, the bundled benchmark."""
    memories, samples = generate(worlds=worlds, clips=clips, questions=questions, seed=seed)
    write(out, memories, samples)
    short = worlds * questions - len(samples)
    note = f" ({short} fewer than asked: the worlds offer no more)" if short else ""
    print(f"{out}: {len(memories)} memories, {len(samples)} samples{note}")


if __name__ == "__main__":
    typer.run(main)
