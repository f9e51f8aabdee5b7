"""Every question of every arm is a row, which says what was asked, shown and answered."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from evals.config import load_config
from evals.predict import predict
from evals.rows import Prediction
from evals.samples import Benchmark
from tests.evals.predict.runs import ARMS, SECRETS, content, secret, written
from tests.evals.support import run_config, write_household


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
