"""Recall by size of state and by number of records, drawn: an SVG file each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evals.svg import ARMS, INK, LINE, MUTED, draw_svg, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 320

Lines = Mapping[str, Sequence[tuple[float, float]]]
"""Points of (size, recall), by what they are of."""


def draw(lines: Lines, across: str, ticks: Sequence[float], file: Path) -> Path:
    """The file with the lines.

    Args:
        across: what the points' sizes are.
        ticks: the sizes to name.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    svg = draw_svg(HEIGHT, lambda axes: _draw(axes, lines, across, ticks))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(standalone(svg), encoding="utf-8")
    return file


def _draw(axes: "Axes", lines: Lines, across: str, ticks: Sequence[float]) -> None:
    exact = zip(("--", ":"), (INK, INK), ("", ""), strict=True)
    own = zip("-" * 5, (*ARMS, MUTED), "o^sDx", strict=True)
    for name, points in lines.items():
        xs, ys = zip(*points, strict=True)
        style, colour, marker = next(exact if name.startswith("exact") else own)
        axes.plot(xs, [100 * y for y in ys], label=name, color=colour, linestyle=style, marker=marker, markersize=5)
    axes.set(xscale="log", xlabel=across, ylabel="Recall@10, %")
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0)
    axes.figure.legend(fontsize=10, labelcolor=MUTED, loc="outside upper left", ncols=3, frameon=False)
    axes.tick_params(length=0)
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
