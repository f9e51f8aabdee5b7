"""matplotlib figures as SVG elements of a page: their colours are the page's variables, their text is text."""

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from linmem_langgraph.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 440
"""Of every figure, in units of its view box; small enough to be read on a phone."""

# matplotlib needs colours; in the SVG, each of these becomes the page's own variable, for light and for dark.
INK, MUTED, LINE, CORRECT, INCORRECT, ON_FILL = (f"#0000{number:02x}" for number in range(1, 7))
ARMS = ("#000011", "#000012", "#000013", "#000014")
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    CORRECT: "--correct",
    INCORRECT: "--incorrect",
    ON_FILL: "--on-fill",
    **{colour: f"--arm-{number}" for number, colour in enumerate(ARMS, start=1)},
}

# What `evals/report_assets/report.css` gives these names on a light page; a file has to bring its own.
COLOURS = {
    "--ink": "#1d2023",
    "--muted": "#666b72",
    "--line": "#e2e2df",
    "--arm-1": "#2b67c9",
    "--arm-2": "#c2740c",
    "--arm-3": "#85898f",
    "--arm-4": "#8a4bb0",
}
PAGE = "#ffffff"

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "linmem",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": INK,
}


def draw_svg(height: int, draw: "Callable[[Axes], None]") -> str:
    """An SVG file of what `draw` puts on the axes; `height` in units of the view box.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ConfigError("the report's figures need matplotlib: pip install 'linmem-langgraph[evals]'") from exc
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # The page's reader has fonts that matplotlib, which only measures, may not have.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    return file.getvalue()


def standalone(svg: str) -> str:
    """A figure in its own colours, on a light ground."""
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, COLOURS.get(variable, COLOURS["--ink"]))
    head = svg.index(">", svg.index("<svg")) + 1
    return f'{svg[:head]}\n <rect width="100%" height="100%" fill="{PAGE}"/>{svg[head:]}'


def inline(svg: str, prefix: str, label: str) -> str:
    """An SVG file of matplotlib's as an element of an HTML page that may hold others.

    Args:
        prefix: for every id, so that none is there twice.
        label: what is to be seen, for those who do not see it.
    """
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<defs>\s*<style.*?</defs>", "", body, count=1, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    head = f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(label)}">'
    # Texts hold no "<": what is changed here is markup only.
    return head + re.sub(r"<[^>]*>", lambda tag: _scoped(tag[0], prefix), body)


def _scoped(tag: str, prefix: str) -> str:
    tag = tag.replace(' id="', f' id="{prefix}-').replace("url(#", f"url(#{prefix}-")
    tag = tag.replace('xlink:href="#', f'href="#{prefix}-')
    return re.sub(r"#0000[0-9a-f]{2}\b", lambda found: f"var({VARIABLES[found[0]]})", tag)
