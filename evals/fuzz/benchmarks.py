"""The files of benchmarks: annotations and memories, read by their loaders or refused with `ConfigError`."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from evals.benchmarks import load_benchmark
from evals.fuzz.documents import damaged_json, damaged_jsonl
from evals.fuzz.files import json_target, same_again
from evals.fuzz.run import Target
from evals.samples import Benchmark
from linmem_langgraph.records import MAX_POSITION

ROBOT: dict[str, Any] = {
    "kitchen_99": {
        "video_path": "data/videos/robot/kitchen_99.mp4",
        "mem_path": "data/memory_graphs/robot/kitchen_99.pkl",
        "qa_list": [
            {
                "question": "Where is the mug?",
                "answer": " On the shelf.\n",
                "question_id": "kitchen_99_Q01",
                "reasoning": "她把杯子放在架子上",
                "timestamp": "02:43",
                "type": ["Multi-Detail Reasoning", "Person Understanding"],
                "before_clip": 4,
            },
            {"question": "Is Anna here?", "answer": "Yes.", "question_id": "kitchen_99_Q02", "type": []},
        ],
    },
    "living_room_12": {
        "qa_list": [{"question": "Who?", "answer": "?", "question_id": "living_room_12_Q09", "type": ["x"]}]
    },
}
WEB = {"-abc": {"qa_list": [{"question": "What?", "answer": "A dog", "question_id": "-abc_Q1", "type": ["a"]}]}}
CLIPS = [
    {"text": "Anna puts the mug on the shelf.", "position": 0, "key": "a", "metadata": {"clip": 0, "who": ["Anna"]}},
    {"text": "Bob leaves.", "position": 5, "kind": "semantic", "created_at": "2023-05-08T13:56:00"},
]
LOCOMO = [
    {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Anna",
            "session_10_date_time": "12:09 am on 13 September, 2023",
            "session_10": [{"speaker": "Bob", "dia_id": "D10:1", "text": "Goodbye."}],
            "session_2_date_time": "1:56 pm on 8 May, 2023",
            "session_2": [
                {"speaker": "Anna", "dia_id": "D2:1", "text": "Look!", "blip_caption": "a photo of a red mug"},
                {"speaker": "Bob", "dia_id": "D2:2", "text": "咖啡?\nYes."},
            ],
        },
        "qa": [
            {"question": "What did Anna show?", "answer": "a red mug", "evidence": ["D2:1"], "category": 4},
            {"question": "How many?", "answer": 3, "evidence": ["D10:1", "D2:2"], "category": 1},
            {"question": "Why?", "evidence": ["D9:9"], "category": 5, "adversarial_answer": "hunger"},
        ],
    },
    {
        "sample_id": "conv-2",
        "conversation": {
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [{"speaker": "Anna", "dia_id": "D1:1", "text": "Hello."}],
        },
        "qa": [],
    },
]
HOUSEHOLD_MEMORIES = [{"memory": memory, **record} for memory in ("home", "other") for record in CLIPS]
HOUSEHOLD_SAMPLES = [
    {
        "id": "q1",
        "memory": "home",
        "question": "Who?",
        "answer": "Anna",
        "until": 7,
        "evidence": [0, 5],
        "types": ["a"],
    },
    {"id": "q2", "memory": "other", "question": "Who sings?", "answer": None, "answerable": False},
]


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def _jsonl(rows: Sequence[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


FILES = {
    "m3_bench": {
        "robot.json": _json(ROBOT),
        "web.json": _json(WEB),
        **{f"memories/{video}.jsonl": _jsonl(CLIPS) for video in (*ROBOT, *WEB)},
    },
    "locomo": {"locomo.json": _json(LOCOMO)},
    "household": {"memories.jsonl": _jsonl(HOUSEHOLD_MEMORIES), "samples.jsonl": _jsonl(HOUSEHOLD_SAMPLES)},
}
"""What stands in each benchmark's folder."""

DAMAGED = {
    "annotations": ("m3_bench", "robot.json"),
    "memories": ("m3_bench", "memories/kitchen_99.jsonl"),
    "locomo": ("locomo", "locomo.json"),
    "household_memories": ("household", "memories.jsonl"),
    "household_samples": ("household", "samples.jsonl"),
}
"""Which of it is damaged, by kind."""


def targets(folder: Path) -> dict[str, Target]:
    """The kinds of files, by name; each has a folder of its own below `folder`."""
    # Where no name in a file may lead: it could be read as a memory.
    (folder / "outside.jsonl").write_bytes(_jsonl(CLIPS))
    return {name: _target(folder / name, *of) for name, of in DAMAGED.items()}


def _target(folder: Path, benchmark: str, name: str) -> Target:
    for each, content in FILES[benchmark].items():
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes(content)
    damaged = damaged_json if name.endswith(".json") else damaged_jsonl
    load = partial(load_benchmark, benchmark, folder / name if benchmark == "locomo" else folder)
    return json_target(folder, name, FILES[benchmark][name], damaged, load, check)


def check(benchmark: Benchmark) -> None:
    """Raises AssertionError unless every sample can be asked, and the whole be written and read again."""
    same_again(benchmark)
    assert len({sample.id for sample in benchmark.samples}) == len(benchmark.samples), "an id stands there twice"
    for sample in benchmark.samples:
        positions = {record.position for record in benchmark.memories[sample.memory]}
        assert positions.issuperset(sample.evidence), f"evidence without a record: {sample!r:.500}"
        assert sample.evidence == tuple(sorted(set(sample.evidence))), f"evidence in disorder: {sample!r:.500}"
        assert (sample.until or 0) <= MAX_POSITION, f"no position: {sample!r:.500}"
