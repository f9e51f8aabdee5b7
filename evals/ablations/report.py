"""What the ablations found as `report.md`, with a figure beside each table that is drawn."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evals.ablations.outcome import Outcome
from evals.markdown import markdown_table
from evals.statistics import Estimate
from evals.svg import ARMS, INK, LINE, MUTED, draw_svg, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 320


def write_report(outcomes: Sequence[Outcome], folder: Path) -> Path:
    """Write the report and its figures.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    parts = ["# Ablations: linmem-tiny on households\n", "Intervals: 95%, bootstrap over households.\n"]
    for outcome in outcomes:
        parts += [f"## {outcome.title}\n", table(outcome)]
        if outcome.drawn:
            svg = standalone(draw_svg(HEIGHT, partial(_lines, outcome)))
            (folder / f"{outcome.name}.svg").write_text(svg, encoding="utf-8")
            parts.append(f"![{outcome.title}]({outcome.name}.svg)\n")
        parts += [f"{remark}\n" for remark in outcome.remarks]
    file = folder / "report.md"
    file.write_text("\n".join(parts), encoding="utf-8")
    return file


def table(outcome: Outcome) -> str:
    """The figures in Markdown."""
    head = [outcome.rows, *outcome.columns]
    lines = [
        [name, *(_shown(row[column], outcome) if column in row else "-" for column in outcome.columns)]
        for name, row in outcome.cells.items()
    ]
    return markdown_table(head, lines)


def _shown(value: Estimate | float, outcome: Outcome) -> str:
    if isinstance(value, Estimate):
        return f"{value} (n={value.n})"
    return f"{100 * value:.1f}" if outcome.percent else f"{value:,.1f}"


def _lines(outcome: Outcome, axes: "Axes") -> None:
    scale = 100 if outcome.percent else 1
    for number, name in enumerate(outcome.drawn):
        row = outcome.cells[name]
        xs = [int(column) for column in row]
        means = [scale * (cell.mean if isinstance(cell, Estimate) else cell) for cell in row.values()]
        colour = ARMS[number % len(ARMS)]
        line = "--" if number >= len(ARMS) or name.startswith("chance") else "-"
        axes.plot(xs, means, label=name, color=colour, marker="o", linewidth=2, linestyle=line)
        if bands := [cell for cell in row.values() if isinstance(cell, Estimate)]:
            lows, highs = ([scale * getattr(cell, end) for cell in bands] for end in ("low", "high"))
            axes.fill_between(xs, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(xs, [str(x) for x in xs])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("clips", color=MUTED)
    axes.figure.legend(fontsize=10, labelcolor=INK, loc="outside upper left", ncols=1, frameon=False)
    axes.tick_params(length=0)
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
