"""predict: every question of every arm a row, whatever fails, however often the run is killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

from evals.benchmarks import load_benchmark
from evals.config import RunConfig, load_config
from evals.judge import judge
from evals.predict import predict
from evals.report import report
from evals.rows import Prediction, RowFile
from evals.sample.generate import generate, write
from evals.samples import Benchmark, Sample
from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers import Query, Reader
from linmem_langgraph.readers.chroma import ChromaReader
from linmem_langgraph.records import Reading
from tests.evals.support import ROOT, Hook, HookedController, run_config, write_household

ARMS = ("main", "blind", "oracle")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two households; their questions stand in the file in no order of time."""
    folder = tmp_path_factory.mktemp("household")
    memories, samples = generate(worlds=2, clips=15, questions=5, seed=3)
    write(folder, memories, random.Random(1).sample(samples, len(samples)))
    return folder


@pytest.fixture(scope="module")
def households(data: Path) -> Benchmark:
    return load_benchmark("household", data)


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Prediction]]:
    """A run in one go."""
    out = tmp_path_factory.mktemp("unbroken")
    return out, predict(run_config(data), out)


def written(out: Path) -> list[Prediction]:
    return list(RowFile(out / "predictions.jsonl").read(Prediction))


def content(rows: Sequence[Prediction]) -> dict[Any, Mapping[str, Any]]:
    """Rows by key, without the seconds they took; a key that stands there twice is an error."""
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: row.model_dump(exclude={"seconds"}) for row in rows}


@pytest.fixture
def controlled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hook], None]:
    """Make the controller one with a hook."""

    def put(hook: Hook) -> None:
        monkeypatch.setattr("evals.predict.chat_model", lambda name, **options: HookedController(hook))

    return put


# --- an unbroken run


def test_every_question_is_answered_in_every_arm(
    unbroken: tuple[Path, list[Prediction]], households: Benchmark
) -> None:
    out, rows = unbroken

    assert content(written(out)) == content(rows)
    assert Counter((row.arm, row.question_id) for row in rows) == Counter(
        (arm, sample.id) for arm in ARMS for sample in households.samples
    )
    assert all(not row.error and row.answer and row.rounds == 2 and row.searches == 1 for row in rows)
    assert all(row.seconds > 0 and not row.forced and not row.unparsable for row in rows)


def test_a_row_says_what_was_asked(unbroken: tuple[Path, list[Prediction]], households: Benchmark) -> None:
    samples = {sample.id: sample for sample in households.samples}
    for row in unbroken[1]:
        sample = samples[row.question_id]
        assert row.gold == sample.answer
        for name in ("memory", "question", "types", "until", "evidence", "answerable"):
            assert getattr(row, name) == getattr(sample, name)
        positions = {record.position for record in households.memories[sample.memory]}
        assert row.candidates == sum(position <= (sample.until or 0) for position in positions if position is not None)


def test_a_row_keeps_the_dialogue(unbroken: tuple[Path, list[Prediction]]) -> None:
    for row in unbroken[1]:
        asked, called, result, answer = row.messages
        assert (asked["role"], asked["text"]) == ("human", row.question)
        assert called["calls"] == [{"name": "search_memory", "args": {"query": row.question}}]
        assert (result["role"], result["positions"]) == ("tool", sorted(set(row.shown)))
        assert (answer["role"], answer["text"]) == ("ai", row.answer)


def test_questions_of_a_memory_are_asked_in_order_of_time(
    data: Path, tmp_path: Path, households: Benchmark, controlled: Callable[[Hook], None]
) -> None:
    asked: list[str] = []
    controlled(lambda question, messages: asked.append(question))

    rows = predict(run_config(data, concurrency=1, controls=["blind"]), tmp_path)

    order = [(row.arm, row.memory, row.until) for row in rows]
    for arm in ("main", "blind"):
        for memory in households.memories:
            untils = [until or 0 for where, whose, until in order if (where, whose) == (arm, memory)]
            assert untils == sorted(untils)
            assert len(untils) == 5
    in_file = [sample.until or 0 for sample in households.samples if sample.memory == rows[0].memory]
    assert in_file != sorted(in_file)  # or the test would show nothing
    assert [question for question, again in pairwise(asked) if question == again] == [row.question for row in rows]
    # All of a memory before the next, or a model's state would be lost in between.
    assert len([1 for one, two in pairwise(order) if one[:2] != two[:2]]) == 3


def test_a_question_without_a_bound_comes_last(tmp_path: Path) -> None:
    clips = {"home": {clip: [f"Anna sees {clip} birds."] for clip in range(4)}}
    samples = [
        Sample(id=str(until), memory="home", question="How many birds?", answer="1", until=until)
        for until in (None, 3, 0, 2)
    ]
    data = write_household(tmp_path / "data", clips, samples)

    rows = predict(run_config(data, controls=[], concurrency=1), tmp_path / "out")

    assert [row.until for row in rows] == [0, 2, 3, None]
    assert [row.candidates for row in rows] == [1, 3, 4, 4]


SECRETS = {"home": {clip: [f"The secret word of clip {clip} is w{clip}q."] for clip in range(10)}}


def secret(question: int, until: int | None, evidence: tuple[int, ...]) -> Sample:
    text = f"What is the secret word of clip {question}?"
    return Sample(
        id=f"{question}@{until}", memory="home", question=text, answer=f"w{question}q", until=until, evidence=evidence
    )


@pytest.mark.parametrize("by", ["record", "position"])
def test_nothing_beyond_until_is_shown_anywhere(tmp_path: Path, by: str) -> None:
    samples = [secret(asked, until, (asked,)) for asked in (1, 5, 9) for until in (0, 4, 5, 8, None)]
    data = write_household(tmp_path / "data", SECRETS, samples)
    options = {"embeddings": "lexical", "by": by, "limit": 10}

    rows = predict(run_config(data, reader={"name": "chroma", "options": options}), tmp_path / "out")

    for row in rows:
        last = 9 if row.until is None else row.until
        seen = json.dumps([row.messages, row.answer])
        assert {int(clip) for clip in re.findall(r"w(\d)q", seen)} <= set(range(last + 1))
        assert {*row.shown, *row.ranking} <= set(range(last + 1))
        if row.arm == "main":  # with room for all of them, all that may be seen is seen
            assert set(row.ranking) == set(row.shown) == set(range(last + 1))


def test_blind_sees_nothing_and_oracle_the_gold_up_to_until(tmp_path: Path) -> None:
    samples = [secret(3, 6, (3, 5, 8)), secret(2, None, (2,)), secret(7, 1, (7,)), secret(4, 9, ())]
    data = write_household(tmp_path / "data", SECRETS, samples)

    rows = predict(run_config(data), tmp_path / "out")

    shown = {(row.arm, row.question_id): set(row.shown) for row in rows}
    assert {key[1]: positions for key, positions in shown.items() if key[0] == "oracle"} == {
        "3@6": {3, 5},
        "2@None": {2},
        "7@1": set(),
        "4@9": set(),
    }
    blind = [row for row in rows if row.arm == "blind"]
    assert len(blind) == 4
    assert all(not row.shown and not row.ranking for row in blind)
    assert not any(re.search(r"w\dq", json.dumps(row.messages)) for row in blind)
    assert [row.answer for row in rows if row.arm == "oracle" and row.question_id == "2@None"] == [
        SECRETS["home"][2][0]
    ]


@pytest.mark.parametrize(("ranking", "expected"), [(0, 0), (3, 3), (100, 10)])
def test_the_ranking_is_as_long_as_was_asked_for(tmp_path: Path, ranking: int, expected: int) -> None:
    data = write_household(tmp_path / "data", SECRETS, [secret(3, None, (3,)), secret(4, None, ())])

    rows = predict(run_config(data, controls=[], ranking=ranking), tmp_path / "out")

    assert {row.question_id: len(row.ranking) for row in rows} == {"3@None": expected, "4@None": 0}
    assert all(len(set(row.ranking)) == len(row.ranking) for row in rows)


@pytest.mark.parametrize("protocol", ["tool_calls", "m3"])
def test_both_protocols_answer(tmp_path: Path, protocol: str) -> None:
    data = write_household(tmp_path / "data", SECRETS, [secret(3, None, (3,))])

    (row,) = predict(run_config(data, controls=[], protocol=protocol), tmp_path / "out")

    assert "w3q" in row.answer
    assert (row.rounds, row.searches, row.error) == (2, 1, "")


def test_readers_are_compared_over_the_same_memories(tmp_path: Path) -> None:
    data = write_household(tmp_path / "data", SECRETS, [secret(3, None, (3,)), secret(4, 5, (4,))])
    options = {"embeddings": "lexical", "by": "record", "limit": 1}
    config = run_config(data, compared={"single": {"name": "chroma", "options": options}})

    rows = predict(config, tmp_path / "out")

    assert Counter(row.arm for row in rows) == dict.fromkeys(["main", "single", "blind", "oracle"], 2)
    assert {len(row.shown) for row in rows if row.arm == "single"} == {1}
    assert {len(row.shown) for row in rows if row.arm == "main"} == {3}
    assert all("w" in row.answer for row in rows if row.arm in ("main", "single"))
    assert not any(row.ranking for row in rows if row.arm != "main")


def test_a_limit_takes_the_first_of_each_memory(data: Path, tmp_path: Path, households: Benchmark) -> None:
    rows = predict(run_config(data, controls=[], limit=2), tmp_path)

    first = defaultdict(list)
    for sample in households.samples:
        first[sample.memory].append(sample.id)
    assert {row.question_id for row in rows} == {id for ids in first.values() for id in ids[:2]}


def test_progress_grows_to_all(data: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    predict(run_config(data, controls=[]), tmp_path, lambda done, total: told.append((done, total)))

    assert told[0] == (0, 10)
    assert sorted(told) == [(done, 10) for done in range(11)]


def test_the_resolved_config_is_saved_with_the_run(unbroken: tuple[Path, list[Prediction]], data: Path) -> None:
    assert load_config(unbroken[0] / "config.yaml") == run_config(data)


# --- what was written is not asked again


def test_a_finished_run_asks_nothing(
    unbroken: tuple[Path, list[Prediction]], data: Path, controlled: Callable[[Hook], None]
) -> None:
    out, rows = unbroken
    before = (out / "predictions.jsonl").read_bytes()
    asked: list[str] = []
    controlled(lambda question, messages: asked.append(question))
    told: list[tuple[int, int]] = []

    again = predict(run_config(data), out, lambda done, total: told.append((done, total)))

    assert content(again) == content(rows)
    assert asked == []
    assert told == [(len(rows), len(rows))]
    assert (out / "predictions.jsonl").read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1, 17, 29])
def test_a_run_goes_on_where_it_was_cut_off(
    unbroken: tuple[Path, list[Prediction]], data: Path, tmp_path: Path, controlled: Callable[[Hook], None], kept: int
) -> None:
    lines = (unbroken[0] / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "predictions.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:40])
    asked: list[str] = []
    controlled(lambda question, messages: asked.append(question))

    rows = predict(run_config(data), tmp_path)

    assert content(rows) == content(unbroken[1]) == content(written(tmp_path))
    assert len(asked) == 2 * (30 - kept)  # a search and an answer each
    assert (tmp_path / "predictions.jsonl").read_bytes().startswith(b"".join(lines[:kept]))


def test_more_controls_and_more_questions_are_added_to_a_run(
    data: Path, tmp_path: Path, controlled: Callable[[Hook], None], unbroken: tuple[Path, list[Prediction]]
) -> None:
    predict(run_config(data, controls=[], limit=2), tmp_path)
    asked: list[str] = []
    controlled(lambda question, messages: asked.append(question))

    rows = predict(run_config(data), tmp_path)

    assert content(rows) == content(unbroken[1])
    assert len(asked) == 2 * (30 - 4)


def test_a_run_can_go_on_with_fewer_controls(data: Path, tmp_path: Path) -> None:
    predict(run_config(data, controls=["blind"], limit=1), tmp_path)

    predict(run_config(data, controls=[], limit=1), tmp_path)


def test_a_run_that_is_interrupted_stops_soon(data: Path, tmp_path: Path, controlled: Callable[[Hook], None]) -> None:
    controlled(lambda question, messages: time.sleep(0.02))

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(run_config(data, controls=["blind", "oracle"]), tmp_path, interrupt)

    assert len(written(tmp_path)) <= 4


# --- killed


def row_count(out: Path) -> int:
    file = out / "predictions.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def started(config: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "evals", "predict", "--config", str(config), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said.decode()


@pytest.fixture(scope="module")
def config_file(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    file.write_text(yaml.safe_dump(run_config(data).model_dump(mode="json")))
    return file


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments_it_ends_with_the_same_rows(
    config_file: Path, unbroken: tuple[Path, list[Prediction]], tmp_path: Path, seed: int
) -> None:
    rng, kills = random.Random(seed), list[int]()
    # Once before or around the first row, then between later ones.
    moments = [(0, rng.uniform(0.3, 1.5)), *((rng.randint(1, 20), rng.uniform(0, 0.03)) for _ in range(1))]
    for more, pause in moments:
        process, goal = started(config_file, tmp_path), row_count(tmp_path) + more
        while row_count(tmp_path) < goal and process.poll() is None:
            time.sleep(0.002)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        code, said = finished(process)
        assert code in (-signal.SIGKILL, 0), said
        kills.append(row_count(tmp_path))

    code, said = finished(started(config_file, tmp_path))

    assert (code, said) == (0, "")
    assert kills == sorted(kills)
    assert kills[0] < len(unbroken[1]), "nothing was interrupted"
    assert content(written(tmp_path)) == content(unbroken[1])


# --- folders in use, or of another run


def test_a_second_process_on_the_same_folder_is_refused(data: Path, config_file: Path, tmp_path: Path) -> None:
    refusals: list[tuple[int, str]] = []

    def intrude(done: int, total: int) -> None:
        if not refusals:
            refusals.append(finished(started(config_file, tmp_path)))

    rows = predict(run_config(data, controls=[]), tmp_path, intrude)

    ((code, said),) = refusals
    assert code == 2
    assert "another process is writing" in said
    assert "Traceback" not in said
    assert content(written(tmp_path)) == content(rows)


@pytest.mark.parametrize(
    "change",
    [
        {"max_rounds": 3},
        {"protocol": "m3"},
        {"reader": {"options": {"embeddings": "lexical", "limit": 1}}},
        {"controller": {"model": "openai:gpt-5-mini", "options": {"base_url": "http://127.0.0.1:1/v1"}}},
    ],
    ids=str,
)
def test_a_folder_of_another_set_up_is_refused_and_left_as_it_is(
    unbroken: tuple[Path, list[Prediction]], data: Path, change: dict[str, Any]
) -> None:
    out = unbroken[0]
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}

    with pytest.raises(ConfigError, match="rows of another set-up") as caught:
        predict(run_config(data, **change), out)

    assert str(out / "predictions.jsonl") in str(caught.value)
    assert {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()} == before


def test_a_folder_of_other_data_is_refused(unbroken: tuple[Path, list[Prediction]], tmp_path: Path) -> None:
    data = write_household(tmp_path, SECRETS, [secret(3, None, (3,))])

    with pytest.raises(ConfigError, match="rows of another set-up"):
        predict(run_config(data), unbroken[0])


def test_damaged_rows_stop_the_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text("{}\n")

    with pytest.raises(ConfigError, match=r"predictions\.jsonl, line 1, field 'arm'"):
        predict(run_config(data), tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()

    with pytest.raises(ConfigError, match="out"):
        predict(run_config(data), tmp_path / "out")


# --- a controller that fails


def on(clip: int, act: Callable[[list[BaseMessage]], AIMessage]) -> Hook:
    """Act so when the question is about `clip`."""
    return lambda question, messages: act(messages) if f"clip {clip}?" in question else None


def raising(error: Exception) -> Callable[[list[BaseMessage]], AIMessage]:
    def act(messages: list[BaseMessage]) -> AIMessage:
        raise error

    return act


def later(error: Exception) -> Callable[[list[BaseMessage]], AIMessage]:
    """Search first."""

    def act(messages: list[BaseMessage]) -> AIMessage:
        if any(message.type == "tool" for message in messages):
            raise error
        return AIMessage("", tool_calls=[tool_call(name="search_memory", args={"query": "word"}, id="1")])

    return act


def always(message: AIMessage) -> Callable[[list[BaseMessage]], AIMessage]:
    return lambda messages: message.model_copy(update={"id": None}, deep=True)


def call(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name=name, args=args, id="1")])


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    samples = [secret(asked, None, (asked,)) for asked in range(5)]
    return write_household(tmp_path / "data", SECRETS, samples)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (raising(TimeoutError("no reply in 60 s")), "TimeoutError: no reply in 60 s"),
        (later(TimeoutError("no reply in 60 s")), "TimeoutError: no reply in 60 s"),
        (raising(RuntimeError("out of memory")), "RuntimeError: out of memory"),
        (raising(ValueError("bad \ud800 text")), "ValueError: bad"),
    ],
    ids=["times out", "times out later", "raises", "raises what is not text"],
)
def test_a_controller_that_raises_is_an_error_row_and_the_run_goes_on(
    secrets: Path, tmp_path: Path, controlled: Callable[[Hook], None], act: Any, error: str
) -> None:
    controlled(on(2, act))
    out = tmp_path / "out"

    rows = predict(run_config(secrets), out)

    assert len(rows) == len(written(out)) == 15
    assert {row.question_id: row.error.startswith(error) for row in rows if row.error} == {"2@None": True}
    assert sum(bool(row.error) for row in rows) == 3
    grades = judge(run_config(secrets), out)
    assert Counter(grade.label for grade in grades)["error"] == 3
    summary = report(run_config(secrets), out)
    assert [(arm.arm, arm.errors, arm.accuracy.n) for arm in summary.arms] == [(arm, 1, 5) for arm in ARMS]
    assert summary.arms[0].accuracy.mean == pytest.approx(4 / 5)


def test_an_error_row_keeps_the_rounds_before_it(
    secrets: Path, tmp_path: Path, controlled: Callable[[Hook], None]
) -> None:
    controlled(on(2, later(TimeoutError("no reply"))))

    rows = predict(run_config(secrets, controls=[]), tmp_path / "out")

    (row,) = [row for row in rows if row.error]
    assert [message["role"] for message in row.messages] == ["human", "ai", "tool"]


UNKNOWN_TOOL = call("delete_everything", query="x")
NO_JSON = AIMessage("", invalid_tool_calls=[invalid_tool_call(name="search_memory", args="{", id="1", error="cut off")])

NESTED: Any = "x"
for _ in range(300):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("message", "answer", "expected"),
    [
        (AIMessage(""), "", {"rounds": 5, "searches": 0, "unparsable": 5, "forced": True}),
        (AIMessage(" \n"), "", {"rounds": 5, "searches": 0, "unparsable": 5, "forced": True}),
        (AIMessage([]), "", {"rounds": 5, "searches": 0, "unparsable": 5, "forced": True}),
        (NO_JSON, "", {"rounds": 5, "searches": 0, "unparsable": 5, "forced": True}),
        (UNKNOWN_TOOL, "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (call("search_memory"), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (call("search_memory", query=""), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (
            call("search_memory", query="x", filter={"position": {"$like": 3}}),
            "",
            {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True},
        ),
        (call("search_memory", query=NESTED), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (
            call("search_memory", query="x", filter={"\ud800": NESTED}),
            "",
            {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True},
        ),
        (call("search_memory", query=float("nan")), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (call("search_memory", **{"\ud800": 1}), "", {"rounds": 5, "searches": 4, "unparsable": 1, "forced": True}),
        (AIMessage("lone \ud800 end"), None, {"rounds": 1, "searches": 0, "unparsable": 0, "forced": False}),
        (AIMessage("long " * 200_000), None, {"rounds": 1, "searches": 0, "unparsable": 0, "forced": False}),
        (AIMessage([{"type": "text", "text": "w2q"}]), "w2q", {"rounds": 1, "forced": False}),
    ],
    ids=[
        *("empty", "blank", "no content", "arguments cut off", "unknown tool", "no query", "empty query"),
        *("bad filter", "deep query", "deep filter", "no number", "odd name"),
        *("lone surrogate", "1 MB", "content blocks"),
    ],
)
def test_a_controller_that_misbehaves_is_a_row_with_marks_and_the_run_goes_on(
    secrets: Path,
    tmp_path: Path,
    controlled: Callable[[Hook], None],
    message: AIMessage,
    answer: str | None,
    expected: dict[str, Any],
) -> None:
    controlled(on(2, always(message)))
    out = tmp_path / "out"

    rows = predict(run_config(secrets, controls=[]), out)

    assert len(rows) == 5
    assert content(written(out)) == content(rows)
    for line in (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=pytest.fail)
    (row,) = [row for row in rows if row.question_id == "2@None"]
    assert row.error == ""
    assert {name: getattr(row, name) for name in expected} == expected
    if answer is not None:
        assert row.answer == answer
    others = [row for row in rows if row.question_id != "2@None"]
    assert all((row.rounds, row.error) == (2, "") for row in others)
    config = run_config(secrets, controls=[])
    labels = {grade.question_id: grade.label for grade in judge(config, out)}
    assert labels["2@None"] == ("correct" if answer == "w2q" else "incorrect")
    assert report(config, out).arms[0].accuracy.n == 5


def test_the_largest_number_of_rounds_can_be_spent(
    secrets: Path, tmp_path: Path, controlled: Callable[[Hook], None]
) -> None:
    controlled(on(2, always(call("search_memory", query="word"))))

    rows = predict(run_config(secrets, controls=[], max_rounds=50), tmp_path / "out")

    (row,) = [row for row in rows if row.question_id == "2@None"]
    assert (row.error, row.rounds, row.searches, row.forced) == ("", 50, 49, True)


# --- a reader that fails


class Failing(ChromaReader):
    """Fails at reads, or at updates, of the memories named; `error` says with what."""

    def __init__(self, path: Path, error: Exception, *, reads: Sequence[str] = (), updates: Sequence[str] = ()) -> None:
        from linmem_langgraph.embeddings import LexicalEmbeddings

        super().__init__(path, embeddings=LexicalEmbeddings(), by="position", limit=3)
        self._error, self._failing_reads, self._failing_updates = error, reads, updates

    def read(self, log: Log, query: Query) -> Reading:
        if log.namespace[-1] in self._failing_reads:
            raise self._error
        return super().read(log, query)

    def update(self, log: Log, change: Change) -> None:
        if log.namespace[-1] in self._failing_updates:
            raise self._error
        super().update(log, change)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(error: Exception, **where: Sequence[str]) -> None:
        monkeypatch.setattr("evals.predict.configured_reader", lambda config, path: Failing(path / "c", error, **where))

    return put


@pytest.fixture
def two(tmp_path: Path) -> tuple[RunConfig, Path]:
    """A set-up over two memories, with a question that cannot be answered in each, and its folder."""
    clips = dict.fromkeys(("broken", "sound"), SECRETS["home"])
    samples = [
        Sample(id=f"{name}_{kind}", memory=name, question=question, answer=gold, answerable=known, evidence=evidence)
        for name in clips
        for kind, question, gold, known, evidence in [
            ("known", "What is the secret word of clip 3?", "w3q", True, (3,)),
            ("unknown", "Why do whales sing?", "not in memory", False, ()),
        ]
    ]
    return run_config(write_household(tmp_path / "data", clips, samples)), tmp_path / "out"


def labels_of(config: RunConfig, out: Path) -> dict[tuple[str, str], str]:
    predict(config, out)
    return {(grade.arm, grade.question_id): grade.label for grade in judge(config, out)}


def test_a_reader_that_is_down_gives_error_rows_not_wrong_answers(
    two: tuple[RunConfig, Path], failing: Callable[..., None]
) -> None:
    failing(ReaderUnavailable("Chroma at nowhere does not answer"), reads=["broken"])

    labels = labels_of(*two)

    assert len(labels) == 12
    assert {key[1] for key, label in labels.items() if label == "error"} == {"broken_known", "broken_unknown"}
    assert {key[0] for key, label in labels.items() if label == "error"} == {"main"}
    assert labels["main", "sound_known"] == labels["main", "sound_unknown"] == "correct"
    errors = [row.error for row in written(two[1]) if row.error]
    assert all("Chroma at nowhere does not answer" in error for error in errors)
    assert report(*two).arms[0].errors == 2


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ConnectionError("refused"), id="what is not ours"),
        pytest.param(
            ConfigError("the index was built with another embedding: rebuild it"),
            id="an index of another set-up",
        ),
    ],
)
def test_a_reader_that_fails_otherwise_gives_error_rows_too(
    two: tuple[RunConfig, Path], failing: Callable[..., None], error: Exception
) -> None:
    failing(error, reads=["broken"])

    labels = labels_of(*two)

    assert {key for key, label in labels.items() if label == "error"} == {
        ("main", "broken_known"),
        ("main", "broken_unknown"),
    }


@pytest.mark.parametrize("error", [ReaderUnavailable("server is down"), ConnectionError("refused")], ids=repr)
def test_an_update_that_fails_is_made_up_for_by_the_read(
    two: tuple[RunConfig, Path], failing: Callable[..., None], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failing(error, updates=["broken"])

    labels = labels_of(*two)

    assert {label for (arm, _), label in labels.items() if arm == "main"} == {"correct"}
    assert str(error) in caplog.text


def test_a_memory_that_cannot_be_indexed_does_not_end_the_run(
    two: tuple[RunConfig, Path], failing: Callable[..., None]
) -> None:
    failing(ReaderUnavailable("server is down"), reads=["broken"], updates=["broken"])

    labels = labels_of(*two)

    assert labels["main", "sound_known"] == "correct"
    assert labels["main", "broken_known"] == labels["main", "broken_unknown"] == "error"


def test_a_reader_s_tokens_are_added_up(two: tuple[RunConfig, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from linmem_langgraph.records import Usage

    class Counting(Failing):
        def read(self, log: Log, query: Query) -> Reading:
            usage = Usage(prompt_tokens=100, cached_tokens=90, completion_tokens=7)
            return super().read(log, query).model_copy(update={"usage": usage})

    reader: Callable[[Any, Path], Reader] = lambda config, path: Counting(path / "c", ValueError())  # noqa: E731
    monkeypatch.setattr("evals.predict.configured_reader", reader)

    rows = predict(*two)

    assert {row.arm: (row.reader.prompt, row.reader.cached, row.reader.completion) for row in rows} == {
        "main": (100, 90, 7),
        "blind": (0, 0, 0),
        "oracle": (0, 0, 0),
    }


def test_a_controller_s_tokens_are_added_up(secrets: Path, tmp_path: Path, controlled: Callable[[Hook], None]) -> None:
    def used(message: AIMessage, prompt: int, cached: int) -> AIMessage:
        details = {"input_token_details": {"cache_read": cached}}
        usage = {"input_tokens": prompt, "output_tokens": 5, "total_tokens": prompt + 5, **details}
        return message.model_copy(update={"usage_metadata": usage})

    def act(messages: list[BaseMessage]) -> AIMessage:
        if any(message.type == "tool" for message in messages):
            return used(AIMessage("w2q"), 50, 20)
        return used(call("search_memory", query="word"), 30, 0)

    controlled(on(2, act))

    rows = predict(run_config(secrets, controls=[]), tmp_path / "out")

    (row,) = [row for row in rows if row.question_id == "2@None"]
    assert (row.controller.prompt, row.controller.cached, row.controller.completion) == (80, 20, 10)
