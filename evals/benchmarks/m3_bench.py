"""M3-Bench (M3-Agent, arXiv 2508.09736): questions about long videos, from a robot's eyes and from the web.

`data` is a folder with `robot.json` and/or `web.json`, the annotations as published, and `memories/`, a JSONL file of
records for each video (`memories/kitchen_03.jsonl`; clip = position). Questions of videos without memory stop the load:
nothing leaves the denominator.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from evals.benchmarks.checked import (
    check_file_name,
    fingerprint,
    once,
    parse,
    parse_record,
    read_bytes,
    read_json,
    read_jsonl,
    shown,
)
from evals.samples import Benchmark, Sample
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MAX_POSITION, MemoryRecord

SUBSETS = ("robot", "web")

# One type under two names in the two halves.
_SAME_TYPE = {"Multi-Evidence Reasoning": "Multi-Detail Reasoning"}

# An annotator's note stands where the answer should be.
_UNSCORABLE = {"living_room_12_Q09"}


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: Text
    answer: str
    question_id: Text
    reasoning: str = ""
    type: list[str]
    timestamp: str | None = None
    before_clip: int | None = Field(default=None, ge=0, le=MAX_POSITION)


def load(data: Path | None) -> Benchmark:
    """The annotations and memories in a folder.

    Raises:
        ConfigError: the folder, a file, a field or a video's memory is missing or wrong.
    """
    if data is None:
        raise ConfigError("m3_bench is not bundled: give the folder of its annotations with --data")
    files = [data / f"{subset}.json" for subset in SUBSETS if (data / f"{subset}.json").exists()]
    if not files:
        raise ConfigError(f"{data} holds neither robot.json nor web.json, the annotations of M3-Bench")
    quirks: Counter[str] = Counter()
    seen: set[tuple[str, ...]] = set()
    samples = [sample for file in files for sample in read_annotations(file, quirks, seen)]
    videos = list(dict.fromkeys(sample.memory for sample in samples))
    missing = [video for video in videos if not _memory_file(data, video).exists()]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(videos)} videos have no memory: the first is {_memory_file(data, missing[0])}; "
            "write one JSONL file of records a video"
        )
    memory_files = [_memory_file(data, video) for video in videos]
    return Benchmark(
        name="m3_bench",
        memories={video: _read_memory(file) for video, file in zip(videos, memory_files, strict=True)},
        samples=tuple(samples),
        quirks=dict(quirks),
        fingerprint=fingerprint(read_bytes(file) for file in (*files, *memory_files)),
    )


def read_annotations(file: Path, quirks: Counter[str], seen: set[tuple[str, ...]] | None = None) -> list[Sample]:
    """The samples in `robot.json` or `web.json`; what was mended is counted in `quirks`, ids are noted in `seen`.

    Raises:
        ConfigError: the file cannot be read, or a field is missing, unknown or wrong.
    """
    videos = read_json(file)
    if not isinstance(videos, dict):
        raise ConfigError(f"{file}: expected an object of videos, found {type(videos).__name__}")
    samples, ids = [], set[tuple[str, ...]]() if seen is None else seen
    for video, entry in videos.items():
        check_file_name(video, f"{file}, video {shown(video)}")
        if not isinstance(entry, dict) or not isinstance(entry.get("qa_list"), list):
            raise ConfigError(f"{file}, video {shown(video)}, field 'qa_list': missing")
        for index, row in enumerate(entry["qa_list"]):
            place = f"{file}, video {shown(video)}, question {index}"
            question = parse(_Question, row, place)
            once(ids, question.question_id, place, "question_id")
            samples.append(_sample(video, question, quirks, place))
    return samples


def _sample(video: str, row: _Question, quirks: Counter[str], place: str) -> Sample:
    scorable = row.question_id not in _UNSCORABLE
    quirks["answers that are an annotator's note, unscored"] += not scorable
    quirks["answers with white space at the edges, trimmed"] += row.answer != row.answer.strip()
    quirks["types named 'Multi-Evidence Reasoning', counted as 'Multi-Detail Reasoning'"] += sum(
        name in _SAME_TYPE for name in row.type
    )
    fields = {
        "id": row.question_id,
        "memory": video,
        "question": row.question,
        "answer": row.answer.strip() if scorable else None,
        "types": tuple(_SAME_TYPE.get(name, name) for name in row.type),
        "until": row.before_clip,
    }
    return parse(Sample, fields, place)


def _memory_file(data: Path, video: str) -> Path:
    return data / "memories" / f"{video}.jsonl"


def _read_memory(file: Path) -> tuple[MemoryRecord, ...]:
    records, keys = list[MemoryRecord](), set[tuple[str, ...]]()
    for place, row in read_jsonl(file):
        records.append(parse_record(row, place))
        if (key := records[-1].key) is not None:
            once(keys, key, place, "key")
    if not records:
        raise ConfigError(f"{file} has no records: the video would be asked as if blind")
    return tuple(records)
