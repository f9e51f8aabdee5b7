"""The ablations: the same questions to every reader, kept, reported with what the paper found."""

from math import nan
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from evals.ablations import architectures, command, end_to_end, retrieval, summaries, transcripts
from evals.ablations.outcome import Cells, Outcome, compared
from evals.ablations.report import table
from evals.statistics import Estimate
from evals.tiny.measure import Result
from linmem_langgraph.errors import ConfigError

LENGTHS = (4, 6)


def asked(*, right: list[bool], named: tuple[int, ...] = (1,), evidence: tuple[int, ...] = (1,)) -> list[Result]:
    """A question to each of as many households."""
    return [Result(f"{home}", "?", "said", each, each, named, evidence, 10, 0.1) for home, each in enumerate(right)]


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ([True] * 20, [False] * 20, "Here too: +100.0 points [+100.0, +100.0]"),
        ([False] * 20, [True] * 20, "Here it is the other way round: -100.0 points"),
        ([True, False] * 10, [False, True] * 10, "these 20 questions cannot tell"),
        ([True], [False], "these 1 questions cannot tell"),
    ],
)
def test_a_claim_of_the_paper_is_compared(ours: list[bool], theirs: list[bool], said: str) -> None:
    found = compared("It is so", asked(right=ours), asked(right=theirs), value=attrgetter("is_right"))
    assert found.startswith("It is so. Here ")
    assert said in found


def test_chance_and_readers_stand_side_by_side() -> None:
    near, exact = asked(right=[True] * 3, named=(2, 7)), asked(right=[True] * 3, named=(5, 1))
    unanswerable = asked(right=[True], named=(), evidence=())
    both = {
        retrieval.RETRIEVAL: dict.fromkeys(retrieval.CANDIDATES, near + unanswerable),
        "tiny": dict.fromkeys(retrieval.CANDIDATES, exact + unanswerable),
    }
    cells = retrieval.outcome(both).cells
    figures: dict[str, Any] = {row: columns["10"] for row, columns in cells.items()}
    assert {figures[f"{retrieval.RETRIEVAL}: {name}"].mean for name in ("exact hit@5", "recall@5", "MRR")} == {0}
    assert figures[f"{retrieval.RETRIEVAL}: near hit@5"].mean == 1
    assert (figures["tiny: exact hit@5"].mean, figures["tiny: MRR"].mean, figures["tiny: MRR"].n) == (1, 0.5, 3)
    assert (figures["chance: exact hit@5"], figures["chance: recall@5"]) == (0.5, 0.5)
    assert "Here it is the other way round: -100.0 points" in retrieval.outcome(both).remarks[-1]


def test_a_table_says_how_many_questions_a_figure_rests_on() -> None:
    estimate = Estimate(mean=0.5, low=0.25, high=0.75, n=40)
    cells: Cells = {"one": {"8": estimate, "16": 0.125}, "other": {"16": Estimate(mean=1, low=nan, high=nan, n=1)}}
    assert table(Outcome("name", "Title", "reader", cells)).splitlines() == [
        "| reader | 8 | 16 |",
        "| --- | --- | --- |",
        "| one | 50.0 [25.0, 75.0] (n=40) | 12.5 |",
        "| other | - | 100.0 (n=1) |",
    ]


def test_models_have_names_of_their_own(untaught_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="2 models of 1 names"):
        command.models_of([str(untaught_folder), f"{untaught_folder}/"])
    monkeypatch.setattr(command, "shipped", list)
    with pytest.raises(ConfigError, match="0 models"):
        command.models_of([])


def test_a_softmax_model_alone_is_no_answer_to_what_is_asked_of_linear_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"linmem-tiny softmax: no layer is linear; .* such as hybrid"):
        command.run(command.models_of(["softmax"]), 20, tmp_path / "out", print)
    assert not (tmp_path / "out").exists()


@pytest.mark.timeout(600)
def test_the_suite_is_measured_and_goes_on_where_it_stopped(
    untaught_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "CANDIDATES", LENGTHS)
    monkeypatch.setattr("evals.ablations.cost.LENGTHS", LENGTHS)
    for module in (architectures, summaries, transcripts):
        monkeypatch.setattr(module, "LENGTHS", LENGTHS)
    monkeypatch.setattr(end_to_end, "CLIPS", 6)
    models = command.models_of([str(untaught_folder), "softmax"])
    said: list[str] = []
    command.run(models, 20, tmp_path, said.append)
    report = (tmp_path / "report.md").read_text("utf-8")
    assert len(said) == 6 * len(LENGTHS) + 1
    told = [section.partition("\n")[0] for section in report.split("\n## ") if "linmem-tiny softmax" in section]
    assert told == [
        "Right answers of the loop, %",
        "Right answers, % by number of clips",
        "Cost of a read, by number of clips",
    ]
    headings = (
        "Right answers of the loop",
        "Gold clips",
        "Lists",
        "Right answers from two",
        "Right answers, %",
        "Cost",
    )
    for heading in headings:
        assert f"## {heading}" in report
    assert f"linmem-tiny {untaught_folder.name}" in report
    assert "(n=20)" in report
    for name in ("retrieval", "summaries", "transcripts", "architectures", "cost"):
        assert (tmp_path / f"{name}.svg").read_text("utf-8").count("<svg") == 1
    (tmp_path / "report.md").unlink()
    said.clear()
    command.run(models, 20, tmp_path, said.append)
    assert len(said) == 1
    assert (tmp_path / "report.md").read_text("utf-8") == report
