"""M3-Bench (M3-Agent, arXiv 2508.09736): questions about long videos, from a robot's eyes and from the web.

`data` is a folder laid out as M3-Bench or M3-Agent's repository: `robot.json` and/or `web.json`, the annotations as
published (or in `annotations/`, or in `data/annotations/`; of several the first), and `memories/`, a JSONL file of
records for each video (`memories/kitchen_03.jsonl`; clip = position), converted from `memory_graphs/`. Questions of
videos without memory stop the load: nothing leaves the denominator. Oddities are counted, and mended where it matters.
"""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
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

ANNOTATIONS = (".", "annotations", "data/annotations")
"""Where annotations may be, in a folder."""

GRAPHS = ("memory_graphs", "data/memory_graphs")
"""Where memory graphs may be."""

ARCHIVES = (".tar.gz", ".tgz", ".tar")
"""What many graphs are published in."""

CLIP = 30
"""Seconds of a clip."""

# One type under two names in the two halves.
_SAME_TYPE = {"Multi-Evidence Reasoning": "Multi-Detail Reasoning"}

# An annotator's note stands where the answer should be.
_UNSCORABLE = {"living_room_12_Q09"}

_YES_NO = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)
_TIMESTAMP = re.compile(r"(\d{1,4}):([0-5]\d)")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")

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


def load(data: Path | None, subsets: Sequence[str] = SUBSETS) -> Benchmark:
    """The annotations and memories in a folder.

    Args:
        subsets: those of them that are asked, as far as their annotations are there.

    Raises:
        ConfigError: the folder, a file, a field or a video's memory is missing or wrong.
    """
    if data is None:
        raise ConfigError("m3_bench is not bundled: give the folder of its annotations with --data")
    files = [file for subset in subsets if (file := annotation_file(data, subset))]
    if not files:
        raise ConfigError(
            f"{data} holds neither robot.json nor web.json, the annotations of M3-Bench: "
            f"get them with {command('fetch', 'm3_bench', '--out', data)}"
        )
    quirks: Counter[str] = Counter()
    seen: set[tuple[str, ...]] = set()
    samples = [sample for file in files for sample in read_annotations(file, quirks, seen)]
    videos = list(dict.fromkeys(sample.memory for sample in samples))
    missing = [video for video in videos if not _memory_file(data, video).exists()]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(videos)} videos have no memory: the first is {_memory_file(data, missing[0])}; "
            f"{_remedy(data, missing[0])}"
        )
    memory_files = [_memory_file(data, video) for video in videos]
    return Benchmark(
        name="m3_bench",
        memories={video: _read_memory(file) for video, file in zip(videos, memory_files, strict=True)},
        samples=tuple(samples),
        quirks=dict(quirks),
        fingerprint=fingerprint(read_bytes(file) for file in (*files, *memory_files)),
    )


def annotation_file(data: Path, subset: str) -> Path | None:
    """The file of a half, if it is in one of its places."""
    places = (data / place / f"{subset}.json" for place in ANNOTATIONS)
    return next((file for file in places if file.exists()), None)


def graph_folder(data: Path) -> Path | None:
    """The folder of memory graphs, if it is in one of its places."""
    return next((data / place for place in GRAPHS if (data / place).is_dir()), None)


def command(*words: object) -> str:
    """The command line of one of our commands."""
    return shlex.join(["python", "-m", "evals", *map(str, words)])


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
        quirks["video ids that begin with '-', kept"] += video.startswith("-")
    return samples


def _sample(video: str, row: _Question, quirks: Counter[str], place: str) -> Sample:
    scorable = row.question_id not in _UNSCORABLE
    quirks["answers that are an annotator's note, unscored"] += not scorable
    quirks["answers with white space at the edges, trimmed"] += row.answer != row.answer.strip()
    quirks["types named 'Multi-Evidence Reasoning', counted as 'Multi-Detail Reasoning'"] += sum(
        name in _SAME_TYPE for name in row.type
    )
    quirks["answers that are a bare yes or no, reported apart"] += bool(_YES_NO.fullmatch(row.answer))
    quirks["reasonings in Chinese, not used"] += bool(_CHINESE.search(row.reasoning))
    if row.timestamp is not None:
        quirks["timestamps with one digit of minutes, understood"] += row.timestamp.find(":") == 1
        quirks["timestamps that cannot be read or disagree with before_clip, which counts"] += (
            _last_clip(row.timestamp) != row.before_clip
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


def _last_clip(timestamp: str) -> int | None:
    """The last clip that is over at a time ("12:34"); None = it cannot be read."""
    read = _TIMESTAMP.fullmatch(timestamp)
    return (60 * int(read[1]) + int(read[2])) // CLIP - 1 if read else None


def _remedy(data: Path, video: str) -> str:
    folder = graph_folder(data)
    if folder and any(file.name.endswith(ARCHIVES) or file.name == f"{video}.pkl" for file in folder.rglob("*.*")):
        return f"convert its graph: {command('import-graphs', folder, '--out', data)}"
    return f"write one JSONL file of records a video, or {command('fetch', 'm3_bench', '--out', data)}"


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
