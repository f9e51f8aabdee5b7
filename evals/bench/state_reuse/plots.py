"""What the scenarios found, drawn: an SVG file each."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evals.bench.state_reuse.results import Outcome, Series
from evals.svg import ARMS, INK, LINE, MUTED, draw_svg, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 300


def draw(outcome: Outcome, folder: Path) -> Path | None:
    """The file that shows the outcome; None if it has nothing to draw.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    draws: dict[str, Callable[[Axes, Series], None]] = {
        "latency": _latency,
        "concurrency": _concurrency,
        "m3_schedule": _cached,
    }
    if outcome.name not in draws:
        return None
    file = folder / f"state_reuse_{outcome.name}.svg"
    svg = draw_svg(HEIGHT, lambda axes: draws[outcome.name](axes, outcome.series))
    file.write_text(standalone(svg), encoding="utf-8")
    return file


def _latency(axes: "Axes", series: Series) -> None:
    _lines(axes, series, "tokens in memory", "a read takes, ms")


def _concurrency(axes: "Axes", series: Series) -> None:
    _lines(axes, series, "reads in flight", "reads a second")


def _cached(axes: "Axes", series: Series) -> None:
    shares = {name: points[0][1] for name, points in series.items()}
    for place, (name, share) in enumerate(shares.items()):
        axes.barh(place, share, height=0.5, color=_colour(name))
        axes.text(share + 1.5, place, f"{share:.1f}", va="center", color=INK)
    axes.set_yticks(range(len(shares)), [name.replace(", ", ",\n") for name in shares])
    axes.set_xlim(0, 112)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlabel("prompt tokens served from state, %")
    _quiet(axes, "x")


def _lines(axes: "Axes", series: Series, across: str, up: str) -> None:
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    for name, points in series.items():
        marker, line = ("s", "--") if name.endswith("memories") else ("o", "-")
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, label=name, color=_colour(name), marker=marker, linestyle=line, linewidth=2)
    axes.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
    ticks = sorted({x for points in series.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{x:,.0f}" for x in ticks])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    place: dict[str, Any] = {"loc": "outside upper left", "ncols": 2, "frameon": False, "handlelength": 2}
    axes.figure.legend(fontsize=11, labelcolor=MUTED, **place)
    _quiet(axes, "both")


def _colour(name: str) -> str:
    return ARMS[0] if name.startswith("state reused") else ARMS[1]


def _quiet(axes: "Axes", grid: Literal["x", "both"]) -> None:
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.grid(axis=grid, color=LINE, linewidth=1)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
