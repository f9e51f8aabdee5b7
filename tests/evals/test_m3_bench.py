"""M3-Bench: both halves as published, mended where they are odd, and whatever is wrong named."""

import json
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evals.benchmarks import load_benchmark
from evals.benchmarks.m3_bench import ANNOTATIONS, read_annotations
from evals.judge import words
from evals.samples import Benchmark, Sample
from linmem_langgraph.errors import ConfigError
from tests.evals.support import Gone, changed, jsonl, shared

ROBOT: dict[str, Any] = {
    "kitchen_99": {
        "video_path": "videos/kitchen_99.mp4",
        "mem_path": "memory_graphs/robot/kitchen_99.pkl",
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
            {
                "question": "Is Anna here?",
                "answer": "Yes.",
                "question_id": "kitchen_99_Q02",
                "timestamp": "0:43",
                "type": ["Person Understanding"],
                "before_clip": 0,
            },
        ],
    },
    "living_room_12": {
        "qa_list": [{"question": "Who?", "answer": "ask again", "question_id": "living_room_12_Q09", "type": []}]
    },
}
WEB: dict[str, Any] = {
    "-abc": {
        "qa_list": [
            {"question": "What?", "answer": "A dog", "question_id": "-abc_Q1", "type": ["Multi-Evidence Reasoning"]}
        ]
    }
}
DISAGREE = "timestamps that cannot be read or disagree with before_clip, which counts"
CLIPS = [{"text": "Anna puts the mug on the shelf.", "position": 0}, {"text": "Bob leaves.", "position": 5}]


def folder_of(folder: Path, robot: Any = ROBOT, web: Any = WEB, memory: str = jsonl(CLIPS)) -> Path:
    (folder / "memories").mkdir(exist_ok=True)
    for subset, videos in (("robot", robot), ("web", web)):
        if videos is not None:
            (folder / f"{subset}.json").write_text(json.dumps(videos, ensure_ascii=False), "utf-8", "surrogatepass")
    for video in ("kitchen_99", "living_room_12", "-abc"):
        (folder / "memories" / f"{video}.jsonl").write_text(memory, encoding="utf-8")
    return folder


def test_both_halves_are_loaded_and_mended(tmp_path: Path) -> None:
    benchmark = load_benchmark("m3_bench", folder_of(tmp_path))

    detail = "Multi-Detail Reasoning"
    assert [(s.id, s.memory, s.answer, s.types, s.until) for s in benchmark.samples] == [
        ("kitchen_99_Q01", "kitchen_99", "On the shelf.", (detail, "Person Understanding"), 4),
        ("kitchen_99_Q02", "kitchen_99", "Yes.", ("Person Understanding",), 0),
        ("living_room_12_Q09", "living_room_12", None, (), None),
        ("-abc_Q1", "-abc", "A dog", (detail,), None),
    ]
    assert all(sample.evidence == () for sample in benchmark.samples)
    assert {name.split(",")[0]: count for name, count in benchmark.quirks.items()} == {
        "answers that are an annotator's note": 1,
        "answers with white space at the edges": 1,
        "types named 'Multi-Evidence Reasoning'": 1,
        "answers that are a bare yes or no": 1,
        "reasonings in Chinese": 1,
        "timestamps with one digit of minutes": 1,
        "timestamps that cannot be read or disagree with before_clip": 0,
        "video ids that begin with '-'": 1,
    }
    assert [(record.position, record.text) for record in benchmark.memories["-abc"]] == [
        (0, "Anna puts the mug on the shelf."),
        (5, "Bob leaves."),
    ]


@pytest.mark.parametrize(("robot", "web", "count"), [(ROBOT, None, 3), (None, WEB, 1)])
def test_one_half_is_enough(tmp_path: Path, robot: Any, web: Any, count: int) -> None:
    assert len(load_benchmark("m3_bench", folder_of(tmp_path, robot, web)).samples) == count


@pytest.mark.parametrize("place", ANNOTATIONS)
def test_the_layout_of_either_repository_is_taken(tmp_path: Path, place: str) -> None:
    at_the_top = load_benchmark("m3_bench", folder_of(tmp_path))
    for subset in ("robot", "web"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{subset}.json").rename(tmp_path / place / f"{subset}.json")

    assert load_benchmark("m3_bench", tmp_path) == at_the_top


def test_of_several_annotations_the_first_place_counts(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, web=None)
    (folder / "annotations").mkdir()
    for name in ("robot.json", "web.json"):
        (folder / "annotations" / name).write_text(json.dumps(WEB))

    samples = load_benchmark("m3_bench", folder).samples

    assert {sample.memory for sample in samples} == {"kitchen_99", "living_room_12", "-abc"}


@pytest.mark.parametrize(
    ("timestamp", "before_clip", "disagree"),
    [
        ("02:43", 4, 0),
        ("2:30", 4, 0),
        ("02:29", 3, 0),
        ("02:29", 4, 1),
        ("02:43", None, 1),
        ("2:60", 4, 1),
        ("later", 4, 1),
        ("9" * 5000 + ":00", 4, 1),
    ],
)
def test_timestamps_that_disagree_are_counted(
    tmp_path: Path, timestamp: str, before_clip: int | None, disagree: int
) -> None:
    question = {"question": "Who?", "answer": "Bob", "question_id": "q", "type": []}
    robot = {"kitchen_99": {"qa_list": [{**question, "timestamp": timestamp, "before_clip": before_clip}]}}
    benchmark = load_benchmark("m3_bench", folder_of(tmp_path, robot, None))

    assert benchmark.quirks[DISAGREE] == disagree
    assert benchmark.samples[0].until == before_clip


def test_the_fingerprint_covers_annotations_and_memories(tmp_path: Path) -> None:
    def fingerprint(**parts: Any) -> str:
        return load_benchmark("m3_bench", folder_of(tmp_path, **parts)).fingerprint

    once = fingerprint()
    assert fingerprint() == once
    assert fingerprint(memory=jsonl(CLIPS[:1])) != once
    assert fingerprint(web=changed(WEB, ("-abc", "qa_list", 0, "answer"), "A cat")) != once


QUESTION = ("kitchen_99", "qa_list", 1)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        *(
            ((*QUESTION, field), Gone, ["'kitchen_99'", "question 1", f"'{field}'"])
            for field in ("question", "answer", "question_id", "type")
        ),
        ((*QUESTION, "answer"), 5, ["'kitchen_99'", "question 1", "'answer'"]),
        ((*QUESTION, "type"), "Person", ["'kitchen_99'", "question 1", "'type'"]),
        ((*QUESTION, "before_clip"), 1.5, ["'kitchen_99'", "question 1", "'before_clip'"]),
        ((*QUESTION, "befor_clip"), 1, ["'kitchen_99'", "question 1", "'befor_clip'"]),
        (QUESTION, "text", ["'kitchen_99'", "question 1"]),
        (("kitchen_99", "qa_list"), Gone, ["'kitchen_99'", "'qa_list'"]),
        (("kitchen_99", "qa_list"), {}, ["'kitchen_99'", "'qa_list'"]),
        (("kitchen_99",), [], ["'kitchen_99'", "'qa_list'"]),
        *(
            ((*QUESTION, field), value, ["'kitchen_99'", "question 1", f"'{field}'"])
            for field, value in [("before_clip", -1), ("question", "  "), ("question_id", "")]
        ),
        ((*QUESTION, "question_id"), "kitchen_99_Q01", ["'kitchen_99'", "question 1", "'question_id'"]),
        ((*QUESTION, "before_clip"), 2**53, ["'kitchen_99'", "question 1", "'before_clip'"]),
        ((*QUESTION, "answer"), "lone \ud800", ["'kitchen_99'", "question 1", "'answer'"]),
        ((*QUESTION, "type"), ["lone \ud800"], ["'kitchen_99'", "question 1", "'type"]),
    ],
)
def test_damage_is_named_by_file_place_and_field(
    tmp_path: Path, place: tuple[str | int, ...], value: Any, named: list[str]
) -> None:
    folder = folder_of(tmp_path, changed(ROBOT, place, value))

    with pytest.raises(ConfigError) as caught:
        load_benchmark("m3_bench", folder)

    for word in [str(tmp_path / "robot.json"), *named]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "video", ["", ".", "../../kitchen_99", "/etc/kitchen", "a/b", "x" * 300, "\u4e2d" * 100, "a\0b", "lone \ud800"]
)
def test_a_video_that_no_file_can_be_named_after_is_refused(tmp_path: Path, video: str) -> None:
    folder = folder_of(tmp_path, {video: ROBOT["kitchen_99"]})
    (tmp_path.parent / "kitchen_99.jsonl").write_text(jsonl(CLIPS))

    with pytest.raises(ConfigError, match=r"robot\.json, video '.*a file is named after it") as caught:
        load_benchmark("m3_bench", folder)
    assert len(str(caught.value).encode()) < 1_000


def test_a_video_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    """Else its first questions were gone, and nobody the wiser."""
    folder = folder_of(tmp_path)
    one, other = json.dumps({"kitchen_99": ROBOT["kitchen_99"]}), json.dumps(ROBOT)
    (folder / "robot.json").write_text(f"{one[:-1]}, {other[1:]}")

    with pytest.raises(ConfigError, match=r"robot\.json, field 'kitchen_99': stands there twice"):
        load_benchmark("m3_bench", folder)


@pytest.mark.parametrize(
    ("memory", "named"),
    [
        (jsonl(CLIPS)[:-5], ["line 2", "cut off"]),
        ("[1]\n", ["line 1", "an object"]),
        ('{"position": 0}\n', ["line 1", "'text'"]),
        ('{"text": "a", "position": "first"}\n', ["line 1", "'position'"]),
        ('{"text": "a", "position": -1}\n', ["line 1", "'position'"]),
        ('{"text": "a", "position": 0, "clip": 3}\n', ["line 1", "'clip'"]),
        ('{"text": " ", "position": 0}\n', ["line 1", "'text'"]),
        ("", []),
        ('{"text": "a"}\n', ["line 1", "'position'"]),
    ],
)
def test_a_damaged_memory_is_named_by_file_line_and_field(tmp_path: Path, memory: str, named: list[str]) -> None:
    folder = folder_of(tmp_path, memory=memory)

    with pytest.raises(ConfigError) as caught:
        load_benchmark("m3_bench", folder)

    for word in [str(tmp_path / "memories" / "kitchen_99.jsonl"), *named]:
        assert word in str(caught.value)


def test_a_missing_memory_stops_the_load(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "memories" / "living_room_12.jsonl").unlink()

    with pytest.raises(ConfigError) as caught:
        load_benchmark("m3_bench", folder)

    assert "1 of 3 videos have no memory" in str(caught.value)
    assert str(folder / "memories" / "living_room_12.jsonl") in str(caught.value)
    assert str(caught.value).endswith(f"a video, or python -m evals fetch m3_bench --out {folder}")


@pytest.mark.parametrize("graphs", ["memory_graphs", "data/memory_graphs"])
@pytest.mark.parametrize("name", ["robot/living_room_12.pkl", "robot.tar.gz"])
def test_a_graph_that_is_not_converted_is_an_error_with_the_command_that_does_it(
    tmp_path: Path, graphs: str, name: str
) -> None:
    (tmp_path / "my data").mkdir()
    folder = folder_of(tmp_path / "my data")
    (folder / "memories" / "living_room_12.jsonl").unlink()
    (folder / graphs / name).parent.mkdir(parents=True)
    (folder / graphs / name).touch()

    with pytest.raises(ConfigError) as caught:
        load_benchmark("m3_bench", folder)

    command = f"python -m evals import-graphs {shlex.quote(f'{folder}/{graphs}')} --out {shlex.quote(str(folder))}"
    assert str(caught.value).endswith(f"convert its graph: {command}")


def test_the_graph_of_another_video_is_no_help(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    shutil.rmtree(folder / "memories")
    (folder / "memory_graphs").mkdir()
    (folder / "memory_graphs" / "kitchen_98.pkl").touch()

    with pytest.raises(ConfigError, match="python -m evals fetch m3_bench"):
        load_benchmark("m3_bench", folder)


def test_a_folder_in_place_of_a_memory_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "memories" / "-abc.jsonl").unlink()
    (folder / "memories" / "-abc.jsonl").mkdir()

    with pytest.raises(ConfigError, match=r"cannot read .*-abc\.jsonl"):
        load_benchmark("m3_bench", folder)


@pytest.mark.parametrize("content", ["", '{"kitchen_99": {"qa_li', "not json"])
def test_what_is_not_json_is_refused(tmp_path: Path, content: str) -> None:
    (folder_of(tmp_path) / "web.json").write_text(content)

    with pytest.raises(ConfigError, match=r"web\.json is not JSON"):
        load_benchmark("m3_bench", tmp_path)


def test_another_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"robot\.json: expected an object of videos, found list"):
        load_benchmark("m3_bench", folder_of(tmp_path, robot=[1]))


@pytest.mark.parametrize("place", [".", "missing", "file"])
def test_another_folder_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="neither robot"):
        load_benchmark("m3_bench", tmp_path / place)


def test_it_is_not_bundled() -> None:
    with pytest.raises(ConfigError, match="--data"):
        load_benchmark("m3_bench")


def annotations(subset: str) -> tuple[list[Sample], Counter[str]]:
    quirks = Counter[str]()
    return read_annotations(shared("m3bench", f"{subset}.json"), quirks), quirks


@pytest.mark.parametrize(
    ("subset", "questions", "videos", "yes_no"), [("robot", 1276, 100, 255), ("web", 3214, 920, 362)]
)
def test_the_real_annotations_have_every_question(subset: str, questions: int, videos: int, yes_no: int) -> None:
    samples, _ = annotations(subset)

    assert len(samples) == questions
    assert len({sample.memory for sample in samples}) == videos
    assert sum(words(sample.answer or "") in (["yes"], ["no"]) for sample in samples) == yes_no


def test_the_real_ids_are_unique() -> None:
    ids = [sample.id for subset in ("robot", "web") for sample in annotations(subset)[0]]

    assert len(ids) == len(set(ids)) == 1276 + 3214


def test_robot_is_asked_as_of_a_clip_and_web_at_the_end() -> None:
    raw = json.loads(shared("m3bench", "robot.json").read_bytes())
    clips = {row["question_id"]: row["before_clip"] for video in raw.values() for row in video["qa_list"]}

    assert {sample.id: sample.until for sample in annotations("robot")[0]} == clips
    assert {sample.until for sample in annotations("web")[0]} == {None}


def test_the_real_oddities_are_mended_and_counted() -> None:
    robot, robot_quirks = annotations("robot")
    web, web_quirks = annotations("web")

    assert [sample.id for sample in (*robot, *web) if sample.answer is None] == ["living_room_12_Q09"]
    assert all(sample.answer == sample.answer.strip() for sample in (*robot, *web) if sample.answer is not None)
    assert {name: (robot_quirks[name], web_quirks[name]) for name in {**robot_quirks, **web_quirks}} == {
        "answers that are an annotator's note, unscored": (1, 0),
        "answers with white space at the edges, trimmed": (15, 0),
        "types named 'Multi-Evidence Reasoning', counted as 'Multi-Detail Reasoning'": (0, 968),
        "answers that are a bare yes or no, reported apart": (255, 362),
        "reasonings in Chinese, not used": (1275, 1),
        "timestamps with one digit of minutes, understood": (7, 0),
        DISAGREE: (0, 0),
        "video ids that begin with '-', kept": (0, 14),
    }
    types = Counter(name for sample in (*robot, *web) for name in sample.types)
    assert "Multi-Evidence Reasoning" not in types
    assert types["Multi-Detail Reasoning"] == 842 + 968


def test_the_real_annotations_load_as_a_benchmark(tmp_path: Path) -> None:
    source = shared("m3bench", "robot.json")
    (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "memories").mkdir()
    for sample in annotations("robot")[0]:
        (tmp_path / "memories" / f"{sample.memory}.jsonl").write_text(jsonl(CLIPS))

    benchmark: Benchmark = load_benchmark("m3_bench", tmp_path)

    assert len(benchmark.samples) == 1276
    assert len(benchmark.memories) == 100
