"""compare: two readers, of one run or of two, question by question."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from evals.benchmarks import load_benchmark
from evals.config import RunConfig, load_config
from evals.labels import arm_label, controller_label
from evals.rows import Grade, Prediction, RowFile
from evals.schedule import arms, hashes
from evals.statistics import Estimate, clustered, detectable, mcnemar
from linmem_langgraph.errors import ConfigError


class Side(NamedTuple):
    """One arm of a run: its set-up, and what was asked, answered and graded, by question."""

    folder: Path
    config: RunConfig
    arm: str
    data: str
    rows: Mapping[str, tuple[Prediction, Grade]]

    @property
    def label(self) -> str:
        """What it is called in a table."""
        return f"{self.config.name}: {arm_label(self.config, self.arm)}, {controller_label(self.config)}"


class Comparison(NamedTuple):
    """What the same questions say of two sides.

    Args:
        difference: of the accuracies, the first less the second, over questions paired and clustered by memory.
        only_first: how many questions only the first has right.
        p: McNemar's, see `statistics.mcnemar`.
        detectable: see `statistics.detectable`.
        by_type: the difference by question type.
    """

    difference: Estimate
    first: Estimate
    second: Estimate
    only_first: int
    only_second: int
    p: float
    detectable: float
    by_type: dict[str, Estimate]


def side(folder: Path, arm: str = "main") -> Side:
    """An arm of the run in a folder.

    Raises:
        ConfigError: there is no such run or arm, some of it is not answered or judged, or its data has changed since.
    """
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"there is no run in {folder}: name the folder of one (runs/NAME)")
    config = load_config(folder / "config.yaml")
    if arm not in arms(config):
        raise ConfigError(f"{folder} has no arm {arm!r}; choose {', '.join(arms(config))}")
    grades = {grade.key: grade for grade in RowFile(folder / "scores.jsonl").read(Grade)}
    rows = RowFile(folder / "predictions.jsonl").read(Prediction)
    asked = [row for row in rows if row.arm == arm and row.seed == config.seed]
    if not asked or any(row.key not in grades for row in asked):
        raise ConfigError(f"{folder}: not all answers of {arm!r} are there and judged; run predict and judge")
    data = load_benchmark(**config.benchmark.model_dump()).fingerprint
    if asked[0].config != hashes(config, data)[arm]:
        raise ConfigError(f"{folder}: its data or its model has changed since it was answered; run it again")
    return Side(folder, config, arm, data, {row.question_id: (row, grades[row.key]) for row in asked})


def compare(first: Side, second: Side) -> Comparison:
    """The difference, as far as the same questions can show it.

    Raises:
        ConfigError: the two were asked other data, in another wording, or were judged by another judge.
    """
    for what, one, other in (
        ("data", first.data, second.data),
        ("questions", first.rows.keys(), second.rows.keys()),
        ("prompts", first.config.wording(), second.config.wording()),
        ("judge", _judges(first), _judges(second)),
    ):
        if one != other:
            raise ConfigError(f"{first.folder} and {second.folder} differ in their {what}: they cannot be compared")
    pairs = [
        (row, grade.score, second.rows[name][1].score)
        for name, (row, grade) in first.rows.items()
        if grade.label != "unscored"
    ]
    difference = clustered((row.cluster, one - other) for row, one, other in pairs)
    ours, theirs = (
        clustered((row.cluster, one) for row, one, _ in pairs),
        clustered((row.cluster, two) for row, _, two in pairs),
    )
    if difference is None or ours is None or theirs is None:
        raise ConfigError(f"{first.folder} has no question that can be scored")
    only_first = sum(one > other for _, one, other in pairs)
    only_second = sum(one < other for _, one, other in pairs)
    types = sorted({name for row, _, _ in pairs for name in row.types})
    by_type = {
        name: clustered((row.cluster, one - other) for row, one, other in pairs if name in row.types) for name in types
    }
    return Comparison(
        difference=difference,
        first=ours,
        second=theirs,
        only_first=only_first,
        only_second=only_second,
        p=mcnemar(only_first, only_second),
        detectable=detectable(difference),
        by_type={name: found for name, found in by_type.items() if found},
    )


def comparison_table(first: Side, second: Side, found: Comparison) -> Table:
    """For the terminal."""
    table = Table("", "accuracy % [95% CI]", "n", title=f"{first.config.benchmark.name}, paired by question")
    table.add_row(first.label, str(found.first), str(found.first.n))
    table.add_row(second.label, str(found.second), str(found.second.n))
    table.add_row("difference", str(found.difference), str(found.difference.n), end_section=True)
    for name, estimate in found.by_type.items():
        table.add_row(f"difference, {name}", str(estimate), str(estimate.n))
    table.caption = (
        f"only the first right: {found.only_first}, only the second: {found.only_second}, McNemar p = {found.p:.3g}; "
        f"differences from {100 * found.detectable:.1f} points on would show in 4 of 5 such sets"
    )
    return table


def _judges(one: Side) -> set[str]:
    return {grade.judge for _, grade in one.rows.values()}
