"""The figures of a report."""

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from evals.statistics import Estimate, recall
from evals.summary import ArmSummary, Pair, Summary
from evals.svg import ARMS, CORRECT, INCORRECT, INK, LINE, MUTED, ON_FILL, draw_svg, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

Shown = Literal["all", "part", "none"]
SHOWN: dict[Shown, str] = {"all": "all gold shown", "part": "part shown", "none": "none shown"}


class Drawing(NamedTuple):
    """A figure: its name, unique in the page, what it says in words, and the SVG."""

    name: str
    title: str
    caption: str
    svg: str


def draw_figures(summary: Summary, pairs: Sequence[Pair], names: Mapping[str, str]) -> list[Drawing]:
    """The figures there is something to draw for.

    Args:
        pairs: all rows; from those of the main arm comes where the loss is.
        names: what an arm is called, by arm.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    drawings = [
        _accuracy(summary, names),
        _by_type(summary, names),
        *(_retrieval(arm, names[arm.arm], _colour(n)) for n, arm in enumerate(summary.arms) if arm.retrieval),
        _losses(losses(pair for pair in pairs if pair[0].arm == main_arm(summary).arm)),
    ]
    return [drawing for drawing in drawings if drawing]


def main_arm(summary: Summary) -> ArmSummary:
    """The configured reader's arm; the first one, if the run has none of that name."""
    return next((arm for arm in summary.arms if arm.arm == "main"), summary.arms[0])


def losses(pairs: Iterable[Pair]) -> Counter[tuple[Shown, bool]]:
    """Scored, answerable questions by how much of their gold evidence was shown and whether they were right."""
    asked = [(p, g) for p, g in pairs if p.answerable and p.evidence and g.label in ("correct", "incorrect")]
    return Counter((_shown(recall(p.shown, p.evidence, len(p.shown))), g.label == "correct") for p, g in asked)


def _shown(share: float) -> Shown:
    return "all" if share == 1 else "part" if share else "none"


def _accuracy(summary: Summary, names: Mapping[str, str]) -> Drawing | None:
    rows = [(names[arm.arm], arm.accuracy) for arm in summary.arms if arm.accuracy.n]
    if not rows:
        return None

    def draw(axes: "Axes") -> None:
        _percent_axis(axes, [name for name, _ in rows])
        for place, (_, estimate) in enumerate(rows):
            axes.barh(place, 100 * estimate.mean, height=0.5, color=_colour(place), alpha=0.35)
            _dot(axes, place, estimate, _colour(place))
            axes.text(1.03, place, _percent(estimate.mean), transform=axes.get_yaxis_transform(), va="center")
        axes.axvline(100 * summary.majority, color=INK, linewidth=1, linestyle=(0, (3, 3)))
        side = "left" if summary.majority < 0.5 else "right"
        words = f"commonest answer {_percent(summary.majority)}"
        axes.text(100 * summary.majority, -0.5, words, fontsize=11, color=MUTED, ha=side, va="bottom")

    caption = (
        f"Share of all scored questions; {_intervals(summary)}. Dashed: always giving the commonest answer of a "
        f"question's type, {_percent(summary.majority)}%."
    )
    return _drawing("accuracy", "Accuracy, %", caption, 64 + 44 * len(rows), draw, _words(rows))


def _by_type(summary: Summary, names: Mapping[str, str]) -> Drawing | None:
    arms = [(names[arm.arm], _colour(number), arm.by_type) for number, arm in enumerate(summary.arms) if arm.by_type]
    types = sorted({name for _, _, by_type in arms for name in by_type})
    if not types:
        return None

    def draw(axes: "Axes") -> None:
        _percent_axis(axes, types)
        handles = []
        for number, (_, colour, by_type) in enumerate(arms):
            step = 0.22 * (number - (len(arms) - 1) / 2)
            dots = [_dot(axes, types.index(name) + step, estimate, colour) for name, estimate in by_type.items()]
            handles.append(dots[0])
        _legend(axes, handles, [name for name, _, _ in arms])

    words = "; ".join(f"{name}: {_words(by_type.items())}" for name, _, by_type in arms)
    height = 80 + len(types) * (18 + 11 * len(arms)) + 15 * (len(arms) - 1)
    caption = f"A question of several types counts in each; {_intervals(summary)}."
    return _drawing("types", "Accuracy by question type, %", caption, height, draw, words)


def _retrieval(arm: ArmSummary, reader: str, colour: str) -> Drawing:
    order = ("Hit@", "Recall@", "MRR@")
    measures = [measure for start in order for measure in arm.retrieval if measure.name.startswith(start)]

    def draw(axes: "Axes") -> None:
        _percent_axis(axes, [measure.name for measure in measures])
        dots = [_dot(axes, place, measure.value, colour) for place, measure in enumerate(measures)]
        chances = [100 * measure.chance for measure in measures]
        ticks = axes.plot(chances, range(len(measures)), "|", color=INK, markersize=11, markeredgewidth=1.5)
        _legend(axes, [dots[0], *ticks], [reader, "chance"])

    caption = f"A direct read with the question, over the {measures[0].value.n:,} questions with gold positions."
    words = ", ".join(f"{m.name} {_percent(m.value.mean)} (chance {_percent(m.chance)})" for m in measures)
    return _drawing(f"retrieval-{arm.arm}", "Retrieval, %", caption, 90 + 26 * len(measures), draw, words)


def _losses(counts: Counter[tuple[Shown, bool]]) -> Drawing | None:
    total = counts.total()
    if not total:
        return None

    def draw(axes: "Axes") -> None:
        widest = max(counts[shown, True] + counts[shown, False] for shown in SHOWN)
        _percent_axis(axes, list(SHOWN.values()), limit=100 * widest / total)
        for place, shown in enumerate(SHOWN):
            right, wrong = counts[shown, True], counts[shown, False]
            _segment(axes, place, 0, right, total, CORRECT)
            _segment(axes, place, right, wrong, total, INCORRECT)
            share = (right + wrong) / total
            axes.text(1.03, place, _percent(share), transform=axes.get_yaxis_transform(), va="center")
        handles = [axes.barh(0, 0, color=colour) for colour in (CORRECT, INCORRECT)]
        _legend(axes, handles, ["correct", "wrong"])

    wrong, given = total - sum(counts[shown, True] for shown in SHOWN), counts["all", False]
    caption = (
        f"Share of the {total:,} answerable questions with gold positions, by how much of the gold the agent's "
        f"searches showed. Of {wrong:,} wrong answers, {given:,} had all of it before them: the controller's loss; "
        f"{wrong - given:,} had not: the search's."
    )
    words = ", ".join(
        f"{label}: {counts[shown, True]} correct and {counts[shown, False]} wrong" for shown, label in SHOWN.items()
    )
    return _drawing("losses", "Where the loss comes from, %", caption, 190, draw, words)


def _segment(axes: "Axes", place: int, start: int, count: int, total: int, colour: str) -> None:
    axes.barh(place, 100 * count / total, left=100 * start / total, height=0.6, color=colour)
    if count / total > 0.04:
        middle = 100 * (start + count / 2) / total
        axes.text(middle, place, str(count), ha="center", va="center", color=ON_FILL, fontsize=11)


def _percent_axis(axes: "Axes", labels: Sequence[str], limit: float = 100) -> None:
    axes.set_xlim(-0.02 * limit, 1.02 * limit)  # room for a dot at either end
    axes.set_yticks(range(len(labels)), [_two_lines(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=LINE, linewidth=1)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _two_lines(label: str) -> str:
    drawable = label.encode("utf-8", errors="replace").decode("utf-8")
    return textwrap.fill(drawable, 20, max_lines=2, placeholder="…")


def _dot(axes: "Axes", place: float, estimate: Estimate, colour: str) -> "Line2D":
    """A mean with its interval; without the interval where there is none, as with a single memory."""
    if not math.isnan(estimate.low):
        axes.plot([100 * estimate.low, 100 * estimate.high], [place, place], color=colour, linewidth=2)
    return axes.plot(100 * estimate.mean, place, "o", color=colour, markersize=7)[0]


def _legend(axes: "Axes", handles: Sequence[Any], labels: Sequence[str]) -> None:
    columns = 1 if sum(map(len, labels)) > 44 else len(labels)
    place: dict[str, Any] = {"loc": "outside upper right", "ncols": columns, "frameon": False, "handlelength": 1}
    axes.figure.legend(handles, labels, fontsize=11, labelcolor=MUTED, **place)


def _intervals(summary: Summary) -> str:
    return "lines are 95% intervals" if summary.memories > 1 else "no intervals, as there is one memory"


def _colour(number: int) -> str:
    return ARMS[number % len(ARMS)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _words(rows: Iterable[tuple[str, Estimate]]) -> str:
    return ", ".join(f"{name} {_percent(estimate.mean)}" for name, estimate in rows)


def _drawing(name: str, title: str, caption: str, height: int, draw: "Callable[[Axes], None]", words: str) -> Drawing:
    return Drawing(name, title, caption, inline(draw_svg(height, draw), f"figure-{name}", f"{title}: {words}"))
