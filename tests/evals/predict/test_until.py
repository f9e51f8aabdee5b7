"""Questions come in order of time, and nothing beyond their `until` is shown."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from evals.predict import predict
from evals.samples import Benchmark, Sample
from tests.evals.predict.runs import SECRETS, secret
from tests.evals.support import Hook, run_config, write_household


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
