"""Run a table's rows, and print what was published beside what was measured."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table as Shown

from evals.benchmarks import load_benchmark
from evals.cache import ContentCache
from evals.config import RunConfig, load_config
from evals.judge import grader, judge
from evals.labels import arm_label, controller_label
from evals.markdown import markdown_table
from evals.predict import predict
from evals.report import report
from evals.rows import Grade, Prediction, RowFile
from evals.sample.generate import generate, write
from evals.sample.questions import SUMMARIES
from evals.schedule import asked
from evals.statistics import (
    Estimate,
    chance_hit,
    chance_recall,
    chance_reciprocal_rank,
    clustered,
    hit,
    near_hit,
    recall,
    reciprocal_rank,
)
from evals.summary import near
from evals.tables.tables import Column, Row, Table
from linmem_langgraph.errors import ConfigError, LinmemError

CONFIGS = Path(__file__).parents[2] / "configs" / "m3_bench"

Pair = tuple[Prediction, Grade]

Values = Mapping[str, tuple[str, float]]
"""By question: its memory, and what it scores."""

RETRIEVAL: Mapping[str, Callable[[Prediction], float]] = {
    "Hit@5": lambda row: hit(row.ranking, row.evidence, 5),
    "Hit@10": lambda row: hit(row.ranking, row.evidence, 10),
    "Near hit@10": lambda row: near_hit(row.ranking, row.evidence, 10),
    "MRR": lambda row: reciprocal_rank(row.ranking, row.evidence),
    "Recall@5": lambda row: recall(row.ranking, row.evidence, 5),
    "Recall@10": lambda row: recall(row.ranking, row.evidence, 10),
}
"""Over questions that name their evidence; what failed found nothing."""


CHANCES: Mapping[str, Callable[[Prediction], float]] = {
    "Hit@5": lambda row: chance_hit(row.candidates, len(row.evidence), 5),
    "Hit@10": lambda row: chance_hit(row.candidates, len(row.evidence), 10),
    "Near hit@10": lambda row: chance_hit(row.candidates, len(near(row)), 10),
    "MRR": lambda row: chance_reciprocal_rank(row.candidates, len(row.evidence), 10),
    "Recall@5": lambda row: chance_recall(row.candidates, 5),
    "Recall@10": lambda row: chance_recall(row.candidates, 10),
}
"""What a random ranking of all positions would give."""


class Cell(NamedTuple):
    """A figure.

    Args:
        what: reader and controller, as they were run.
        measured: None where the row was not run, or failed.
        errors: questions that failed; they count as wrong.
        difference: from the table's first row on the same questions; None for that row itself.
        chance: what a random ranking would give, where there is one.
        failed: why there is no figure.
    """

    row: Row
    column: str
    measure: str
    what: str = "-"
    measured: Estimate | None = None
    errors: int = 0
    difference: Estimate | None = None
    chance: float | None = None
    failed: str = ""

    @property
    def published(self) -> str:
        """As it was published; "-" where it was not."""
        return self.row.published.get(self.column) or self.row.published.get(self.measure) or "-"


def chosen(table: Table, rows: Sequence[str], columns: Sequence[str]) -> Table:
    """Those of its rows and columns that are named; all where none is.

    Raises:
        ConfigError: there is no such row or column.
    """
    for what, names, known in (("row", rows, table.rows), ("column", columns, table.columns)):
        there = [each.name for each in known]
        if unknown := [name for name in names if name not in there]:
            raise ConfigError(f"table {table.name} has no {what} {unknown[0]!r}; choose {', '.join(there)}")
    return table._replace(
        rows=tuple(row for row in table.rows if not rows or row.name in rows),
        columns=tuple(column for column in table.columns if not columns or column.name in columns),
    )


def runs(
    table: Table, data: Path | None, out: Path, changes: Mapping[str, str], lists: Path | None = None
) -> Iterator[tuple[Row, Column, RunConfig, Path]]:
    """What is run, and in which folder.

    Args:
        lists: where lists are written for the table that makes its own data; None = in `out`.

    Raises:
        ConfigError: `data` is missing, or a change fits no config.
    """
    if table.data and data is None:
        raise ConfigError(f"table {table.name} is measured on {table.data}: name it with --data")
    if not table.data:
        data = lists or out / "lists"
        write(data, *generate(worlds=20, clips=24, questions=5, seed=4_000, prefix="list", writers=SUMMARIES))
    for row in table.rows:
        for column in table.columns if row.config else ():
            at = {**column.changes, "benchmark.data": str(data), **_about_graphs(row, data), **changes}
            config = load_config(CONFIGS / f"{row.config}.yaml", at)
            yield row, column, config, out / row.name / (column.name or "all")


def measure(
    table: Table,
    jobs: Sequence[tuple[Row, Column, RunConfig, Path]],
    progress: Callable[[str], AbstractContextManager[Callable[[int, int], None]]],
    cache: Callable[[RunConfig], ContentCache | None] = lambda config: None,
    *,
    retry_errors: bool = False,
) -> list[Cell]:
    """The cells, in order; a row that cannot be run is a cell that says why.

    Args:
        progress: for the name of a run, who is told how far it is.
        retry_errors: ask the questions again that failed.
    """
    cells, first = list[Cell](), dict[tuple[str, str], Values]()
    for row in table.rows:
        if row.config is None:
            cells += _failed(table, row, [column.name for column in table.columns], "its model is not published")
        for _, column, config, folder in (job for job in jobs if job[0] is row):
            try:
                with progress(f"{row.name} {column.name}".strip()) as advance:
                    pairs = _answered(config, folder, advance, cache(config), retry_errors)
            except LinmemError as exc:
                cells += _failed(table, row, [column.name], f"not measured: {exc}")
                continue
            what = f"{arm_label(config, 'main')}; {controller_label(config)}"
            for name in table.measures:
                values = _values(name, pairs)
                cells.append(_cell(Cell(row, column.name, name, what), pairs, values, first.get((column.name, name))))
                if row is table.rows[0]:
                    first[column.name, name] = values
    return cells


def shown(table: Table, cells: Sequence[Cell]) -> Shown:
    """For the terminal."""
    found = Shown(title=table.title)
    for name in _HEAD:
        found.add_column(name, justify="right" if name in _HEAD[2:-1] else "left")
    for cell in cells:
        found.add_row(*map(escape, _line(cell)))
    found.caption = " ".join(table.remarks)
    return found


def markdown(table: Table, cells: Sequence[Cell], changes: Mapping[str, str]) -> str:
    """The same as Markdown, with what was changed."""
    rows = markdown_table(_HEAD, [*map(_line, cells)])
    remarks = [*table.remarks, *(f"Changed from the configs: `{name}={value}`." for name, value in changes.items())]
    return f"# {table.title}\n\n{rows}\n" + "".join(f"- {remark}\n" for remark in remarks)


_HEAD = (
    *("row", "on", "published", "measured [95% CI]", "n", "errors", "chance", "difference to the first row [95% CI]"),
    "measured with",
)


def _line(cell: Cell) -> tuple[str, ...]:
    on = " ".join(filter(None, [cell.column, "" if cell.measure == "accuracy" else cell.measure]))
    if cell.measured is None:
        return cell.row.label, on, cell.published, cell.failed, "-", "-", "-", "-", cell.what
    chance = (
        "-" if cell.chance is None else f"{cell.chance:.3f}" if cell.measure == "MRR" else f"{100 * cell.chance:.1f}"
    )
    return (
        *(cell.row.label, on, cell.published, _figure(cell.measured, cell.measure), str(cell.measured.n)),
        *(str(cell.errors), chance, "-" if cell.difference is None else _figure(cell.difference, cell.measure)),
        cell.what,
    )


def _figure(found: Estimate, measure: str) -> str:
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]" if measure == "MRR" else str(found)


def _about_graphs(row: Row, data: Path | None) -> dict[str, str]:
    """Where the vectors of a row lie that searches memory graphs."""
    config = load_config(CONFIGS / f"{row.config}.yaml")
    return {"reader.options.vectors": str(data and data.resolve())} if "vectors" in config.reader.options else {}


def _answered(
    config: RunConfig, folder: Path, advance: Callable[[int, int], None], cache: ContentCache | None, retry_errors: bool
) -> list[Pair]:
    grader(config.judge, config, cache)  # one that cannot be made is found out before anything is asked
    predict(config, folder, advance, cache, retry_errors=retry_errors)
    judge(config, folder, cache=cache)
    report(config, folder)
    grades = {grade.key: grade for grade in RowFile(folder / "scores.jsonl").read(Grade)}
    rows = RowFile(folder / "predictions.jsonl").read(Prediction)
    wanted = asked(config, load_benchmark(**config.benchmark.model_dump()))
    pairs = [
        (row, grades[row.key]) for row in rows if row.arm == "main" and (row.arm, row.question_id, row.seed) in wanted
    ]
    if all(row.error for row, _ in pairs):
        why = pairs[0][0].error if pairs else "none was asked"
        raise ConfigError(f"every question failed ({why}): mend it and run again with --retry-errors")
    return pairs


def _failed(table: Table, row: Row, columns: Sequence[str], why: str) -> list[Cell]:
    return [Cell(row, column, name, failed=why) for column in columns for name in table.measures]


def _values(measure: str, pairs: Sequence[Pair]) -> Values:
    if measure == "accuracy":
        scored = [(answer, grade.score) for answer, grade in pairs if grade.label != "unscored"]
    else:
        scored = [(answer, RETRIEVAL[measure](answer)) for answer, _ in pairs if answer.evidence]
    return {answer.question_id: (answer.cluster, value) for answer, value in scored}


def _cell(cell: Cell, pairs: Sequence[Pair], values: Values, first: Values | None) -> Cell:
    shared = values.keys() & first.keys() if first else set[str]()
    chance = CHANCES.get(cell.measure)
    chances = [chance(answer) for answer, _ in pairs if answer.evidence] if chance else []
    return cell._replace(
        measured=clustered(values.values()),
        errors=sum(bool(answer.error) for answer, _ in pairs),
        difference=clustered((values[name][0], values[name][1] - first[name][1]) for name in shared) if first else None,
        chance=fmean(chances) if chances else None,
        failed="" if values else "no question can be scored",
    )
