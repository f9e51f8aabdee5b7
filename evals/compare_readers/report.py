"""What the comparison found: one table, plots of quality against cost, and what was aimed at."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evals.bench.timing import Ratio
from evals.compare_readers.asking import Work
from evals.markdown import markdown_table
from evals.statistics import Estimate, clustered
from evals.svg import ARMS, INK, LINE, MUTED, draw_svg, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 340


class Done(NamedTuple):
    """The work of one reader on memories of one kind and size.

    Args:
        task: what it worked on; `size` = records of a memory, on the average.
    """

    task: str
    place: str
    reader: str
    work: Work

    @property
    def size(self) -> float:
        """Records of a memory, on the average."""
        return statistics.mean(each.records for each in self.work.written)

    def score(self, measure: str) -> Estimate | None:
        """The mean with its interval, if there is one."""
        return clustered((a.cluster, a.scores[measure]) for a in self.work.asked if measure in a.scores)


COSTS: Mapping[str, Callable[[Work], float]] = {
    "prompt": lambda work: statistics.mean(each.prompt for each in work.asked),
    "cached": lambda work: statistics.mean(each.cached for each in work.asked),
    "p50 ms": lambda work: 1e3 * _quantile([each.seconds for each in work.asked], 50),
    "p95 ms": lambda work: 1e3 * _quantile([each.seconds for each in work.asked], 95),
    "filled, ms": lambda work: 1e3 * statistics.mean(each.filled for each in work.written),
    "acknowledged, ms": lambda work: 1e3 * _quantile([each for one in work.written for each in one.acknowledged], 50),
    "followed, ms": lambda work: 1e3 * _quantile([each for one in work.written for each in one.followed], 50),
    "state, kB": lambda work: statistics.mean(each.state for each in work.written) / 1e3,
}
"""Tokens and milliseconds of a read, milliseconds of a record written, and kilobytes of a memory."""

LEGEND = (
    "prompt, cached: tokens of a read, and how many of them the model had read before. p50, p95: of a read. filled: a "
    "record, when all are written at once, until the reader has followed; acknowledged: one record, until the log has "
    "it; followed: until the reader has, too. state: what is kept beside the log, on disk and in this process. All on "
    "the machine this was run on. Intervals: 95%, bootstrap over worlds or conversations."
)


def _quantile(values: Sequence[float], percent: int) -> float:
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def table(found: Sequence[Done]) -> str:
    """A row for each reader, task and size; a reader that failed has its error in place of figures."""
    measures = list(dict.fromkeys(name for done in found for asked in done.work.asked for name in asked.scores))
    rows = []
    for done in found:
        begin = [done.task, done.place, done.reader]
        if done.work.error:
            rows.append([*begin, f"error: {done.work.error}", *["-"] * (len(measures) + len(COSTS))])
            continue
        scores = [str(score) if (score := done.score(measure)) else "-" for measure in measures]
        costs = [_shown(cost(done.work)) for cost in COSTS.values()]
        rows.append([*begin, f"{len(done.work.asked)}", *scores, *costs])
    return markdown_table(["work", "memory", "reader", "questions", *(f"{name} %" for name in measures), *COSTS], rows)


def shown(found: Sequence[Done]) -> list[str]:
    """A line each, in short."""
    lines = []
    for done in found:
        about = f"{done.task}, {done.place}, {done.reader}"
        scores = {name: done.score(name) for name in (done.work.asked[0].scores if done.work.asked else ())}
        told = done.work.error or ", ".join(f"{name} {score}" for name, score in scores.items())
        lines.append(f"{about}: {told}")
    return lines


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def difference(one: Done, other: Done, measure: str) -> Estimate:
    """`one` less `other` on the same questions."""
    pairs = list(zip(one.work.asked, other.work.asked, strict=True))
    assert all(first.question == second.question for first, second in pairs)
    found = clustered((a.cluster, a.scores[measure] - b.scores[measure]) for a, b in pairs)
    assert found is not None
    return found


def remarks(found: Sequence[Done], measure: str) -> list[str]:
    """Whether hybrid reading is below the better of the two that it is made of."""
    told, well = [], [done for done in found if not done.work.error]
    for place in dict.fromkeys(done.place for done in well):
        here = [done for done in well if done.place == place]
        for done in here:
            name, _, model = done.reader.partition(" ")
            others = [other for other in here if other.reader in ("chroma", f"linear {model}".strip())]
            if name == "hybrid" and others:
                best = max(others, key=_mean_of(measure))
                apart = difference(done, best, measure)
                below = "below it by more than the interval" if apart.high < 0 else "not below it"
                told.append(f"{place}: {done.reader} less {best.reader}, the better: {_points(apart)}: {below}.")
    return told


def grown(reader: str, sizes: tuple[int, int], took: Ratio) -> str:
    """How many times longer a read of the larger of two memories takes, of so many clips each."""
    return (
        f"{reader}: read in turn, {clips(sizes[1])} take {took.ratio:.2f} times as long as {clips(sizes[0])} "
        f"(median of pairs; quartiles {took.low:.2f} to {took.high:.2f}; {1e3 * took.theirs:.1f} ms, then "
        f"{1e3 * took.ours:.1f})."
    )


def _mean_of(measure: str) -> Callable[[Done], float]:
    return lambda done: score.mean if (score := done.score(measure)) else -math.inf


def _points(apart: Estimate) -> str:
    return f"{100 * apart.mean:+.1f} points [{100 * apart.low:+.1f}, {100 * apart.high:+.1f}]"


def clips(count: int) -> str:
    """What a memory of so many clips is called."""
    return f"{count} clips"


def write_report(found: Sequence[Done], left_out: Sequence[str], told: Sequence[str], folder: Path) -> Path:
    """Write `report.md` and its plots: of each task the first measure against size, latency and state.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    parts = ["# Readers compared\n", table(found), f"{LEGEND}\n"]
    parts += [f"- {line}" for line in [*told, *(f"Left out: {line}" for line in left_out)]] + [""]
    for number, task in enumerate(dict.fromkeys(done.task for done in found)):
        drawn = [done for done in found if done.task == task and not done.work.error]
        if measure := next((name for done in drawn for name in done.work.asked[0].scores), None):
            parts += [f"## {task}\n", *_plots(drawn, measure, folder, f"{number}")]
    file = folder / "report.md"
    file.write_text("\n".join(parts), encoding="utf-8")
    return file


def _plots(drawn: Sequence[Done], measure: str, folder: Path, prefix: str) -> Iterator[str]:
    for number, (name, x) in enumerate(AGAINST.items()):
        file = f"plot-{prefix}-{number}.svg"
        svg = standalone(draw_svg(HEIGHT, partial(_draw, drawn=drawn, x=x, measure=measure, name=name)))
        (folder / file).write_text(svg, encoding="utf-8")
        yield f"![{measure} against {name}]({file})\n"


AGAINST: Mapping[str, Callable[[Done], float]] = {
    "records": lambda done: done.size,
    "ms of a read, median": lambda done: COSTS["p50 ms"](done.work),
    "kB of state": lambda done: COSTS["state, kB"](done.work),
}


def _draw(axes: "Axes", drawn: Sequence[Done], x: Callable[[Done], float], measure: str, name: str) -> None:
    """A line a reader, a dot for each size of memory; the larger the memory, the larger the dot."""
    for number, reader in enumerate(dict.fromkeys(done.reader for done in drawn)):
        dots = [(x(done), score, done) for done in drawn if done.reader == reader and (score := done.score(measure))]
        if not dots:
            continue
        colour, line = ARMS[number % len(ARMS)], "--" if number >= len(ARMS) else "-"
        xs, means = [dot[0] for dot in dots], [100 * dot[1].mean for dot in dots]
        axes.plot(xs, means, color=colour, linestyle=line, linewidth=1.5, label=reader)
        axes.scatter(xs, means, [12 * math.log10(10 + dot[2].size) ** 2 for dot in dots], color=colour)
        axes.vlines(
            xs, [100 * dot[1].low for dot in dots], [100 * dot[1].high for dot in dots], color=colour, alpha=0.4
        )
    axes.set_xscale("symlog", linthresh=1)  # what keeps no state is at 0
    axes.xaxis.set_major_formatter("{x:,.0f}")  # the default writes TeX
    axes.xaxis.set_minor_formatter("")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(name, color=MUTED)
    axes.set_ylabel(f"{measure}, %", color=MUTED)
    axes.figure.legend(fontsize=10, labelcolor=INK, loc="outside upper left", ncols=1, frameon=False)
    axes.tick_params(length=0)
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
