"""The tables: their rows, what each column changes, and what differs from the published set-up."""

from collections.abc import Mapping
from typing import NamedTuple

from evals.tables import published


class Row(NamedTuple):
    """A row.

    Args:
        name: by which it is chosen.
        label: what it is called.
        config: in `configs/m3_bench/`; None = its model was not published, so only its figures can be shown.
        published: figures by column, or by measure.
    """

    name: str
    label: str
    config: str | None
    published: Mapping[str, str]


class Column(NamedTuple):
    """What a row is run on: its name, and what it changes of the row's config, by dotted name, in YAML."""

    name: str
    changes: Mapping[str, str]


class Table(NamedTuple):
    """A table.

    Args:
        measures: "accuracy", or measures of retrieval; see `measuring.RETRIEVAL`.
        data: what `--data` is; "" where the table makes its own.
        remarks: how this differs from what was published.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    measures: tuple[str, ...]
    data: str
    remarks: tuple[str, ...]


def _figures(found: Mapping[str, float]) -> dict[str, str]:
    return {column: f"{value:.3f}" if value < 1 else f"{value:.1f}" for column, value in found.items()}


def _both(robot: Mapping[str, float], web: Mapping[str, float]) -> dict[str, str]:
    return {column: f"{robot[column]:.1f} / {web[column]:.1f}" for column in robot}


_NAMES = {
    "embedding": "embedding: M3-Agent's search",
    "neighbours": "the same with neighbours (AGPR)",
    "softmax": "Qwen3-30B-A3B reads all",
    "kimi": "Kimi-Linear-48B-A3B reads all",
    "rwkv": "RWKV 1.6B reads all",
    "falcon-mamba": "Falcon3-Mamba 7B reads all",
    "structured": "Kimi-Linear reads structured memory",
}


def _rows(found: Mapping[str, Mapping[str, float]]) -> tuple[Row, ...]:
    return tuple(Row(name, _NAMES[name], name, _figures(figures)) for name, figures in found.items())


M3_BENCH = tuple(Column(subset, {"benchmark.name": f"m3_bench_{subset}"}) for subset in ("robot", "web"))

_DIRECT = {"max_rounds": "1", "controller": "{model: offline:extractive}", "judge": "{kind: lexical}", "ranking": "10"}
"""The reader is asked the question itself, and no agent in between."""

_OUR_CONTROLLER = (
    "The wording of the prompts is ours; M3-Agent's own can be named with --set prompts=FILE. The judge is that of the "
    "configs unless changed; LinMem does not name its judge's model.",
    "Raw captions are not published: the graphs' episodic records stand for them.",
)

_GOLD = (
    "M3-Bench names no clip that tells the answer, so neither LinMem's questions nor its gold clips can be had: here "
    "questions are LoCoMo's, clips are its turns, and the gold ones are those it names.",
    "A reader is asked with the question itself; a model names the positions its words rest on, in their order, and "
    "ranks nothing.",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "main",
            "LinMem: end to end, right answers in %",
            _rows(published.MAIN),
            M3_BENCH,
            ("accuracy",),
            "M3-Bench's folder",
            (
                *_OUR_CONTROLLER,
                "AGPR tunes its retrieval for each question; `neighbours` shows the clips around each that is found.",
            ),
        ),
        Table(
            "control",
            "M3-Agent: which controller, right answers in %",
            tuple(
                Row(
                    name,
                    name,
                    None if name in ("32b-grpo", "14b-rl", "8b-rl") else f"control/{name}",
                    _figures(figures),
                )
                for name, figures in published.CONTROL.items()
            ),
            M3_BENCH,
            ("accuracy",),
            "M3-Bench's folder",
            (
                _OUR_CONTROLLER[0],
                "Of the trained controllers only 32b-rl is published. The memory graphs are the published ones.",
                "Without the instruction a prompted controller learns how to search from its prompt alone: look at how "
                "many of its turns were unparsable, in the runs' reports.",
            ),
        ),
        Table(
            "format",
            "LinMem: raw captions or structured memory, right answers in %",
            tuple(
                Row(name, label, name, dict.fromkeys(("robot", "web"), _figures(published.FORMAT[name])[""]))
                for name, label in (("kimi", "Kimi-Linear reads raw captions"), ("structured", _NAMES["structured"]))
            ),
            M3_BENCH,
            ("accuracy",),
            "M3-Bench's folder",
            (
                *_OUR_CONTROLLER,
                "LinMem gives one pair of figures (31.4, 27.1) and does not say of which questions: it stands beside "
                "both.",
            ),
        ),
        Table(
            "retrieval",
            "LinMem: exact hit@5 in %, by the number of candidates",
            (
                Row(
                    "embedding",
                    "text-embedding-3-large",
                    "text-embedding",
                    _both(published.RETRIEVAL["embedding, robot"], published.RETRIEVAL["embedding, web"]),
                ),
                Row(
                    "kimi",
                    _NAMES["kimi"],
                    "kimi",
                    _both(published.RETRIEVAL["kimi, robot"], published.RETRIEVAL["kimi, web"]),
                ),
            ),
            tuple(
                Column(count, {**_DIRECT, "benchmark.name": "locomo", "benchmark.candidates": count})
                for count in published.RETRIEVAL["kimi, web"]
            ),
            ("Hit@5",),
            "LoCoMo's file",
            (*_GOLD, "Published: robot / web."),
        ),
        Table(
            "models",
            "LinMem: which linear model, in %, MRR as a fraction",
            _rows(published.MODELS),
            (Column("locomo", {**_DIRECT, "benchmark.name": "locomo"}),),
            tuple(published.MODELS["kimi"]),
            "LoCoMo's file",
            (
                *_GOLD,
                "LinMem's exact and near hit name no depth; they stand beside those at 10, as its exact hit is its "
                "recall@10.",
                "vLLM does not serve RWKV: another server of OpenAI's API has to.",
            ),
        ),
        Table(
            "summary",
            "LinMem: lists of which all items are told, in %",
            tuple(Row(name, _NAMES[name], name, _figures(found)) for name, found in published.SUMMARY.items()),
            (Column("", {"benchmark.name": "household", "judge": "{kind: keywords}"}),),
            ("accuracy",),
            "",
            (
                "LinMem's 20 queries are not published: here 99 lists of household memories (What did Noah take?), "
                "and the agent's answer is checked for each item; what it says besides does not count against it.",
            ),
        ),
    )
}
