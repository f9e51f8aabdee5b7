"""The delta reader: what its rules recall, of how much state, and how near they come to bare matrix products."""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from evals.bench import delta_timing
from evals.bench.delta_plots import draw
from evals.bench.delta_recall import (
    AT,
    Corpus,
    Recalls,
    Set,
    by_cosine,
    by_ridge,
    by_rule,
    difference,
    every_rule,
    load,
    state_bytes,
)
from evals.markdown import markdown_table
from linmem_langgraph import by_name
from linmem_langgraph.readers.delta import RULES

SIZES = (200, 600)
VALUES = (128, 256, 512, 1024, 2048)
EXACT, RIDGE = "exact cosine", "exact least squares"
"""What reads the vectors themselves: by cosine, and by what least squares comes to when no code is heard in another."""

CHOICES = (
    ("least_squares, ridge 0.5", Set("least_squares", options=(("ridge", 0.5),))),
    ("least_squares, ridge 5", Set("least_squares", options=(("ridge", 5.0),))),
    ("delta, every step 1", Set("delta", options=(("rate", 1e9),))),
    ("delta, rate 1", Set("delta", options=(("rate", 1.0),))),
    ("delta, rate 10", Set("delta", options=(("rate", 10.0),))),
    ("gated_delta, half-lives from 500", Set("gated_delta", options=(("half_life", 500.0),))),
    ("delta_momentum, 0.5", Set("delta_momentum", options=(("momentum", 0.5),))),
)


def main(
    data: Path | None,
    *,
    embeddings: str = "minilm",
    values: int = 1024,
    draws: int = 8,
    repeats: int = 100,
    out: Path = Path("runs/bench"),
    say: Callable[[str], None] = print,
) -> None:
    """Print the tables, and keep them and the plots in `out`.

    Args:
        data: a LoCoMo file; None = only the times.
        values: the signs of a value where their number is not what is varied.
        draws: of codes, for each figure.
        repeats: of what is timed.

    Raises:
        ConfigError: the file or the embeddings cannot be loaded.
    """
    tables = []
    if data is not None:
        corpus = load(data, by_name.embeddings(embeddings))
        tables += recall_tables(corpus, values, draws, out)
    tables.append(time_table(delta_timing.measure(repeats)))
    out.mkdir(parents=True, exist_ok=True)
    (out / "delta.md").write_text("\n".join(tables), encoding="utf-8")
    say("\n".join(tables))
    say(f"Tables and plots are in {out}")


def recall_tables(corpus: Corpus, values: int, draws: int, out: Path) -> list[str]:
    """Recall by number of records, against exact cosine, by size of state, and by what was chosen."""
    sizes = [*(size for size in SIZES if size < len(corpus.records)), len(corpus.records)]
    parts = {size: part for size in sizes if (part := corpus.first(size)).evidence}
    exact = {
        EXACT: {size: by_cosine(part) for size, part in parts.items()},
        RIDGE: {size: by_ridge(part) for size, part in parts.items()},
    }
    found = {size: by_rule(part, every_rule(values), draws) for size, part in parts.items()}
    of_size = by_rule(corpus, [each for number in VALUES for each in every_rule(number)], draws)
    _draw_records(parts, exact, found, values, out / "delta_records.svg")
    _draw_bytes(corpus, exact, of_size, out / "delta_bytes.svg")
    return [
        _by_records(parts, exact, found, values),
        _by_values(corpus, of_size),
        _choices(corpus, values, draws),
    ]


def time_table(timed: Sequence[delta_timing.Timed]) -> str:
    """Ours and theirs, in milliseconds."""
    rows = []
    for rule, what, ratio, repeats, most in timed:
        times = (f"{1e3 * ratio.ours:,.2f}", f"{1e3 * ratio.theirs:,.2f}", f"{ratio.ratio:.2f}")
        rows.append((rule, what, *times, f"{ratio.low:.2f} to {ratio.high:.2f}", f"≤ {most}", str(repeats)))
    head = ("rule", "what", "ours ms", "products ms", "ratio", "quartiles", "aim", "repeats")
    shape = f"{delta_timing.VALUES:,} x {delta_timing.DIMENSION}"
    return f"Times against numpy's bare matrix products, S of {shape}\n\n" + markdown_table(head, rows)


def _by_records(
    parts: dict[int, Corpus],
    exact: dict[str, dict[int, Recalls]],
    found: dict[int, dict[Set, Recalls]],
    values: int,
) -> str:
    whole = max(parts)
    dimension = parts[whole].records.shape[1]
    bytes_of = dict.fromkeys(exact, 4 * whole * dimension)
    own = dict(exact)
    for each in every_rule(values)[::-1]:
        own[each.rule] = {size: found[size][each] for size in parts}
        bytes_of[each.rule] = state_bytes(each.made(), values, dimension)
    rows = []
    for name, recalls in own.items():
        cells = [_percent(recalls[size].mean) for size in parts]
        if name != EXACT:
            pairs = zip(cells, parts, strict=True)
            cells = [f"{cell} ({difference(recalls[size], exact[EXACT][size])})" for cell, size in pairs]
        share = recalls[whole].mean / exact[EXACT][whole].mean
        rows.append([name, *cells, f"{share:.0%}", f"{bytes_of[name]:,}"])
    head = ["reads by", *(f"{size:,} records ({len(part.evidence)} questions)" for size, part in parts.items())]
    head += [f"of cosine at {whole:,}", f"bytes at {whole:,}"]
    title = f"Recall@{AT}, %, values of {values:,} signs; in brackets less cosine's, with a 95% interval over questions"
    return f"{title}\n\n" + markdown_table(head, rows)


def _draw_records(
    parts: dict[int, Corpus],
    exact: dict[str, dict[int, Recalls]],
    found: dict[int, dict[Set, Recalls]],
    values: int,
    file: Path,
) -> None:
    lines = {name: [(size, own[size].mean) for size in parts] for name, own in exact.items()}
    lines |= {name: [(size, found[size][Set(name, values)].mean) for size in parts] for name in _named()}
    draw(lines, f"records, values of {values:,} signs", [*parts], file)


def _draw_bytes(corpus: Corpus, exact: dict[str, dict[int, Recalls]], found: dict[Set, Recalls], file: Path) -> None:
    count, dimension = corpus.records.shape
    lines = {name: list[tuple[float, float]]() for name in _named()}
    for name, number in product(lines, VALUES):
        each = Set(name, number)
        lines[name].append((state_bytes(each.made(), number, dimension) / 1e6, found[each].mean))
    sizes = sorted(size for points in lines.values() for size, _ in points)
    ends = sizes[0], sizes[-1]
    across = {name: [(end, own[count].mean) for end in ends] for name, own in exact.items()}
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 4, 8) if ends[0] <= tick <= ends[1]]
    vectors = 4 * count * dimension / 1e6
    draw(across | lines, f"MB of state; the {count:,} vectors take {vectors:.1f}", ticks, file)


def _by_values(corpus: Corpus, found: dict[Set, Recalls]) -> str:
    head = [f"{len(corpus.records):,} records", *(f"{number:,}" for number in VALUES)]
    rows = [[name, *(_percent(found[Set(name, number)].mean) for number in VALUES)] for name in _named()]
    dimension = corpus.records.shape[1]
    for name in ("delta", "least_squares"):
        sizes = (state_bytes(Set(name).made(), number, dimension) for number in VALUES)
        rows.append([f"bytes, {name}", *(f"{size:,}" for size in sizes)])
    return f"Recall@{AT}, %, by the signs of a value\n\n" + markdown_table(head, rows)


def _choices(corpus: Corpus, values: int, draws: int) -> str:
    sets = {name: Set(name, values) for name in _named()}
    sets |= {name: each._replace(values=values) for name, each in CHOICES}
    plain = {name: each._replace(decoded=False) for name, each in sets.items()}
    found = by_rule(corpus, [*sets.values(), *plain.values()], draws)
    columns = [[found[each[name]] for name in sets] for each in (plain, sets)]
    cells = [[f"{_percent(each.mean)} ± {_percent(each.spread)}" for each in column] for column in columns]
    rows = list(zip(sets, *cells, strict=True))
    title = f"Recall@{AT}, %, {len(corpus.records):,} records, {values:,} signs; ± the standard deviation over codes"
    return f"{title}\n\n" + markdown_table(["rule", "products with codes", "decoded"], rows)


def _named() -> list[str]:
    """The rules, the best first."""
    return list(RULES)[::-1]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
