"""compare: the same questions say which of two is better, or nothing is said."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from evals.cli import main
from evals.compare import compare, side
from evals.statistics import Estimate, clustered, detectable, mcnemar
from linmem_langgraph.errors import ConfigError
from tests.evals.support import a_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    a_run(folder, "one")
    wide = {"name": "chroma", "options": {"embeddings": "lexical", "by": "position", "limit": 5}}
    a_run(folder, "two", reader=wide)
    return folder


def test_a_run_is_as_good_as_itself(runs: Path) -> None:
    found = compare(side(runs / "one"), side(runs / "one"))
    assert (found.difference.mean, found.difference.low, found.difference.high) == (0, 0, 0)
    assert (found.only_first, found.only_second, found.p, found.detectable) == (0, 0, 1, 0)
    assert found.first == found.second


def test_the_difference_is_over_pairs_and_has_a_sign(runs: Path) -> None:
    blind, oracle = side(runs / "one", "blind"), side(runs / "two", "oracle")
    there, back = compare(oracle, blind), compare(blind, oracle)
    scores = {each.arm: {name: grade.score for name, (_, grade) in each.rows.items()} for each in (blind, oracle)}
    wins = sum(scores["oracle"][name] > scores["blind"][name] for name in scores["blind"])
    losses = sum(scores["oracle"][name] < scores["blind"][name] for name in scores["blind"])
    assert (there.only_first, there.only_second) == (wins, losses) == (back.only_second, back.only_first)
    assert there.difference.mean == pytest.approx((wins - losses) / 18) == pytest.approx(-back.difference.mean)
    assert there.difference.mean > 0
    assert there.p == back.p < 0.05
    assert {name for row, _ in oracle.rows.values() for name in row.types} == there.by_type.keys()
    assert sum(each.n for each in there.by_type.values()) == 18


@pytest.mark.filterwarnings("ignore:.* judges its own answers")
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"data": "others"}, "data"),
        ({"limit": 2}, "questions"),
        ({"protocol": "m3"}, "prompts"),
        ({"judge": {"kind": "model", "model": {"model": "offline:extractive"}}}, "judge"),
    ],
)
def test_what_was_asked_or_judged_otherwise_is_not_compared(runs: Path, changes: dict[str, object], what: str) -> None:
    other = a_run(runs, f"other_{what}", **changes)
    with pytest.raises(ConfigError, match=f"differ in their {what}"):
        compare(side(runs / "one"), side(other))


def test_a_run_that_is_not_whole_or_not_there_is_refused(tmp_path: Path) -> None:
    folder = a_run(tmp_path, "run")
    with pytest.raises(ConfigError, match="there is no run in"):
        side(tmp_path)
    with pytest.raises(ConfigError, match="has no arm 'best'; choose main, blind, oracle"):
        side(folder, "best")
    scores = (folder / "scores.jsonl").read_text()
    (folder / "scores.jsonl").write_text("")
    with pytest.raises(ConfigError, match="not all answers of 'main' are there and judged"):
        side(folder)
    (folder / "scores.jsonl").write_text(scores)
    samples = tmp_path / "households" / "samples.jsonl"
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    samples.write_text("".join(json.dumps({**row, "answer": "x"}) + "\n" for row in rows))
    with pytest.raises(ConfigError, match="has changed since it was answered"):
        side(folder)


def test_the_command_prints_both_sides(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evals", "compare", str(runs / "one"), str(runs / "two"), "--arms", "oracle", "blind"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as done:
        main()
    said = capsys.readouterr().out
    assert done.value.code in (0, None)
    for words in ("oracle", "blind", "difference, where", "McNemar p =", "4 of 5"):
        assert words in said


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 3), (5, 1), (2, 7)])
def test_mcnemar_counts_the_ways_to_be_as_uneven(first: int, second: int) -> None:
    tosses = [sum(each) for each in product((0, 1), repeat=first + second)]
    apart = abs(first - second)
    as_uneven = sum(abs(first + second - 2 * heads) >= apart for heads in tosses)
    assert mcnemar(first, second) == pytest.approx(as_uneven / len(tosses)) == mcnemar(second, first)


def test_what_is_detectable_is_detected_in_four_of_five_sets() -> None:
    rng, seen, sets = np.random.default_rng(0), 0, 150
    error = 1 / np.sqrt(400)
    for number in range(sets):
        values = rng.normal(2.8 * error, 1.0, 400)
        found = clustered(((str(n % 100), float(value)) for n, value in enumerate(values)), seed=number)
        assert isinstance(found, Estimate)
        assert detectable(found) == pytest.approx(2.8 * error, rel=0.35)
        seen += found.low > 0
    assert 0.7 < seen / sets < 0.9
