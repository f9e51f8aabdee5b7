"""Damaged files of every kind are read or refused in words; and the fuzzer notices a reader that does otherwise."""

import json
import re
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from evals.benchmarks import load_benchmark
from evals.fuzz.benchmarks import DAMAGED, FILES, check
from evals.fuzz.documents import damaged_json, damaged_jsonl
from evals.fuzz.files import check_refusal
from evals.fuzz.rows import GRADES, PREDICTIONS
from evals.fuzz.rows import check as check_rows
from evals.samples import Sample
from tests.evals.m3_graphs.pickles import graph, node, pickled
from tests.evals.support import ROOT

KINDS = (*DAMAGED, "predictions", "scores", "graphs")


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evals.fuzz", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_damaged_files_of_every_kind_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "graph.pkl").write_bytes(pickled(graph([node(0, "img"), node(1, "episodic", "<face_0> sits.")])))

    done = fuzz("--files", "100", "--seed", "1", "--graph", str(tmp_path / "graph.pkl"))

    assert done.returncode == 0, done.stderr
    for kind, line in zip(KINDS, done.stdout.splitlines(), strict=True):
        assert re.match(rf"{kind}: 100 files in \d+ s: [1-9]\d* read, [1-9]\d* refused, nothing else; ", line)


@pytest.mark.parametrize("kind", ["graph", "graphs"])
def test_a_kind_that_is_not_there_is_refused_with_those_there_are(kind: str) -> None:
    done = fuzz("--kind", kind)

    assert done.returncode == 2
    for word in (repr(kind), *DAMAGED, "--graph"):
        assert word in done.stderr


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    script = Path(__file__).with_name("faulty.py")
    done = subprocess.run(
        [sys.executable, "-c", f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    found["stderr"] = done.stderr
    return found


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("imports", "AssertionError: it did more than compute: import"),
        ("opens_elsewhere", "AssertionError: it did more than compute: open"),
        ("runs_code", "AssertionError: it did more than compute: "),
        ("starts_a_process", "AssertionError: it did more than compute: "),
        ("changes_a_class", "AssertionError: a class was changed"),
        ("takes_all_memory", "MemoryError"),
        ("raises", "KeyError: 'session_3'"),
        ("hangs", "Hang: it took more than 1 s"),
        ("hangs_and_hides_it", "Hang: it took more than 1 s"),
        ("opens_beside", "opens_beside: 2 files in 0 s: 2 read, 0 refused, nothing else"),
    ],
)
def test_a_reader_that_does_this_is_noticed(said: dict[str, str], case: str, words: str) -> None:
    assert said[case].startswith(words)


def test_the_file_that_did_it_is_said_and_kept(said: dict[str, str]) -> None:
    found = re.search(r"raises, file 0 of seed 0, kept as (.*):", said["stderr"])

    assert found
    assert Path(found[1]).read_bytes() == b"damaged"
    for name in re.findall("kept as (.*):", said["stderr"]):
        Path(name).unlink()


NAMED = re.compile(r"/x/\S*\.json, video ")


@pytest.mark.parametrize(
    "message",
    [
        "wrong",
        "robot.json is wrong",
        "/x/robot.json, video \ud800: wrong",
        f"/x/robot.json, video {'x' * 3_000}: wrong",
    ],
    ids=["no file", "no place", "cannot be printed", "a novel"],
)
def test_a_refusal_that_does_not_say_where_is_noticed(message: str) -> None:
    check_refusal("/x/robot.json, video 'a': wrong", NAMED)
    with pytest.raises((AssertionError, UnicodeEncodeError)):
        check_refusal(message, NAMED)


@pytest.mark.parametrize(
    "fields",
    [
        {"answer": "\ud800"},
        {"until": 2**53},
        {"evidence": (5, 0)},
        {"evidence": (0, 0)},
        {"evidence": (3,)},
        {"id": "q2"},
    ],
)
def test_a_sample_that_is_not_valid_is_noticed(tmp_path: Path, fields: dict[str, Any]) -> None:
    for name, content in FILES["household"].items():
        (tmp_path / name).write_bytes(content)
    benchmark = load_benchmark("household", tmp_path)
    first: Sample = benchmark.samples[0]
    changed = benchmark.model_copy(update={"samples": (first.model_copy(update=fields), *benchmark.samples[1:])})

    check(benchmark)
    with pytest.raises((AssertionError, ValueError)):
        check(changed)


def test_a_row_that_is_not_valid_is_noticed() -> None:
    deep: Any = {"a": 1}
    for _ in range(2_000):
        deep = {"a": deep}
    said = ({"role": "ai", "text": "", "calls": [{"name": "search", "args": deep}]},)
    for rows in ([*GRADES, *GRADES], [PREDICTIONS[0].model_copy(update={"messages": said})]):
        with pytest.raises((AssertionError, RecursionError)):
            check_rows(rows)
    check_rows(PREDICTIONS)


@pytest.mark.parametrize(
    ("damaged", "whole"),
    [(damaged_json, FILES["m3_bench"]["robot.json"]), (damaged_jsonl, FILES["household"]["memories.jsonl"])],
)
def test_damage_is_the_same_for_a_seed_and_of_all_sorts(damaged: Any, whole: bytes) -> None:
    made = [damaged(whole, Random(f"0:{number}")) for number in range(1_500)]

    assert made == [damaged(whole, Random(f"0:{number}")) for number in range(1_500)]
    assert len(set(made)) > 1_300
    parts = (b"\0", b"NaN", b"\\ud800", b"\xed\xa0\x80", b"9" * 5_000, b"[" * 1_000, b"\r\n", b"\xef\xbb\xbf")
    for part in parts:
        assert any(part in content for content in made), part
    assert any(content.startswith(b"\xff\xfe") for content in made)
    assert any(len(content) > 100_000 for content in made)
    assert any(len(content) < len(whole) / 2 for content in made)
