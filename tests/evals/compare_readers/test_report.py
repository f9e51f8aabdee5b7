"""The table, the plots and what was aimed at."""

from pathlib import Path

import pytest

from evals.bench.timing import Ratio
from evals.compare_readers.asking import Asked, Work, Written
from evals.compare_readers.report import Done, difference, grown, remarks, table, write_report

WRITTEN = Written(records=20, filled=0.002, acknowledged=[0.001, 0.003], followed=[0.01, 0.03], state=12_000)


def done(reader: str, right: list[bool], *, clips: int = 64, seconds: float = 0.1, error: str = "") -> Done:
    asked = [
        Asked(
            cluster=f"{n % 7}", question=f"q{n}", scores={"right": float(each)}, seconds=seconds, prompt=100, cached=90
        )
        for n, each in enumerate(right)
    ]
    work = Work(error=error) if error else Work(asked=asked, written=[WRITTEN])
    return Done("household", f"{clips} clips", reader, work)


def test_an_error_is_a_row_and_never_a_zero() -> None:
    rows = table([done("chroma", [True, False] * 7), done("rolling", [], error="ConfigError: no")]).splitlines()
    assert len(rows) == 4
    assert rows[2].startswith("| household | 64 clips | chroma | 14 | 50.0 [")
    assert rows[2].endswith("| 100 | 90 | 100 | 100 | 2.0 | 2.0 | 20 | 12 |")
    assert rows[3].startswith("| household | 64 clips | rolling | error: ConfigError: no | - |")
    assert "0" not in rows[3].partition("error")[2]


def test_hybrid_is_compared_with_the_better_of_the_two() -> None:
    good, bad = [True] * 28, [False] * 28
    (said,) = remarks([done("chroma", bad), done("linear", good), done("hybrid", bad)], "right")[:1]
    assert "hybrid less linear, the better: -100.0 points [-100.0, -100.0]: below it" in said
    (said,) = remarks([done("chroma", good), done("linear", bad), done("hybrid", good)], "right")[:1]
    assert "hybrid less chroma, the better: +0.0 points [+0.0, +0.0]: not below it." in said


def test_hybrid_is_compared_with_what_its_own_model_reads_whole() -> None:
    good, bad = [True] * 28, [False] * 28
    found = [
        done("linear (one)", bad),
        done("linear (two)", good),
        done("hybrid (one)", bad),
        done("hybrid (two)", bad),
    ]
    one, two = remarks(found, "right")
    assert "hybrid (one) less linear (one), the better: +0.0" in one
    assert "hybrid (two) less linear (two), the better: -100.0" in two


def test_what_is_within_the_interval_is_not_below() -> None:
    wrong = {"linear": {2}, "hybrid": {0, 1}}
    found = [done(reader, [n not in places for n in range(28)]) for reader, places in wrong.items()]
    apart = difference(found[1], found[0], "right")
    assert apart.mean < 0 < apart.high
    assert remarks(found, "right")[0].endswith(": not below it.")


def test_how_a_read_grows_is_told_with_its_spread() -> None:
    took = Ratio(ours=0.3, theirs=0.2, ratio=1.5, low=1.4, high=1.7)
    assert grown("hybrid", (64, 1_024), took) == (
        "hybrid: read in turn, 1024 clips take 1.50 times as long as 64 clips "
        "(median of pairs; quartiles 1.40 to 1.70; 200.0 ms, then 300.0)."
    )


def test_only_the_same_questions_are_compared() -> None:
    with pytest.raises(ValueError, match="longer"):
        difference(done("one", [True] * 2), done("other", [True] * 3), "right")


def test_the_report_has_a_plot_of_quality_against_each_cost(tmp_path: Path) -> None:
    found = [done("chroma", [True, False], clips=clips) for clips in (16, 64)] + [done("linear", [], error="no")]
    text = write_report(found, ["delta: not registered"], ["told"], tmp_path).read_text("utf-8")
    assert "- told\n- Left out: delta: not registered\n" in text
    plots = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert [plot for plot in plots if f"({plot})" in text] == plots
    assert len(plots) == 3
    for plot in plots:
        drawn = (tmp_path / plot).read_text("utf-8")
        assert "chroma" in drawn
        assert "mathdefault" not in drawn
