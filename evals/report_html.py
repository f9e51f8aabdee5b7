"""The report as one HTML file that works offline.

The page is `report_assets/report.html` with its style and script put in. Figures and tables are written here, escaped;
the rows travel as compressed JSON, and the script shows them as text. A policy in the page lets no other script run and
nothing be fetched.
"""

import base64
import gzip
import hashlib
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml

from evals.config import RunConfig
from evals.cost import cost_row
from evals.figures import Drawing, draw_figures, main_arm
from evals.labels import arm_label, controller_label, percent
from evals.rows import Grade, Prediction
from evals.statistics import Estimate
from evals.summary import ArmSummary, Pair, Summary

ASSETS = Path(__file__).parent / "report_assets"

OF_QUESTION = ("memory", "question", "gold", "types", "until", "evidence", "answerable", "candidates")
OF_GRADE = ("label", "f1", "raw", "flagged", "other")


class Html(str):
    """Text that is HTML already; any other string is escaped."""


def render_html(
    config: RunConfig,
    summary: Summary,
    quirks: dict[str, int],
    predictions: Sequence[Prediction],
    grades: Sequence[Grade],
) -> str:
    """The report of a run as a page; the same for the same rows.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    names = {arm.arm: arm_label(config, arm.arm) for arm in summary.arms}
    by_key = {grade.key: grade for grade in grades}
    pairs = [(prediction, by_key[prediction.key]) for prediction in predictions]
    script = _asset("report.js")
    page = Template(_asset("report.html")).substitute(
        title=html.escape(f"{config.name}: {config.benchmark.name}"),
        lead=_lead(config, summary, names),
        style=_asset("report.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        facts=_facts(config, summary, controller_label(config)),
        accuracy=_accuracy(summary, names),
        figures="".join(map(_figure, draw_figures(summary, pairs, names))),
        tables=_tables(config, summary, names, quirks),
        config=html.escape(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)),
        data=embed(rows_for_page(pairs, names)),
    )
    return page.encode("utf-8", errors="replace").decode("utf-8")


def embed(value: object) -> str:
    """JSON, gzip, base64: a fourth of the JSON's size, and no text in it is markup to the page.

    What arms answered to one question repeats itself, and so do the clips of one memory.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    # Level 9 saves 4% more and takes seven times as long. Without a date, the same rows give the same page.
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def rows_for_page(pairs: Iterable[Pair], names: Mapping[str, str]) -> dict[str, Any]:
    """The rows as the page wants them: a question once, with the answers of all arms."""
    questions: dict[str, dict[str, Any]] = {}
    for prediction, grade in pairs:
        asked = {
            "id": prediction.question_id,
            **prediction.model_dump(mode="json", include=set(OF_QUESTION)),
            "answers": [],
        }
        questions.setdefault(prediction.question_id, asked)["answers"].append(_answer(prediction, grade))
    order = list(names)
    for question in questions.values():
        question["answers"].sort(key=lambda answer: (order.index(answer["arm"]), answer["seed"]))
    return {
        "arms": names,
        "questions": sorted(questions.values(), key=lambda question: (question["memory"], question["id"])),
    }


def _answer(prediction: Prediction, grade: Grade) -> dict[str, Any]:
    row = prediction.model_dump(mode="json", exclude={*OF_QUESTION, "question_id", "config", "messages"})
    said = list(prediction.messages)
    if said and said[0]["role"] == "human" and said[0]["text"] == prediction.question:
        said = said[1:]
    return row | grade.model_dump(include=set(OF_GRADE)) | {"messages": [_message(message) for message in said]}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = [_call(call["name"], dict(call["args"])) for call in message.get("calls", ())]
    return {**message, "calls": calls} if calls else dict(message)


def _call(name: str, arguments: dict[str, Any]) -> dict[str, str]:
    query = arguments.pop("query", "")
    return {"name": name, "query": str(query), "more": json.dumps(arguments, ensure_ascii=False) if arguments else ""}


def _lead(config: RunConfig, summary: Summary, names: Mapping[str, str]) -> Html:
    readers = [arm for arm in summary.arms if arm is main_arm(summary) or arm.arm in config.compared]
    if not readers[0].accuracy.n:
        return Html("No question was scored")
    return Html("<br>".join(_correct(arm, names[arm.arm]) for arm in readers if arm.accuracy.n))


def _correct(arm: ArmSummary, name: str) -> str:
    right = round(arm.accuracy.mean * arm.accuracy.n)
    words = f"correct with {name}: {right:,} of {arm.accuracy.n:,} questions"
    return f"<strong>{percent(arm.accuracy)}%</strong> {_html(words)}"


def _facts(config: RunConfig, summary: Summary, controller: str) -> Html:
    embeddings = config.reader.options.get("embeddings")
    facts = {
        "Benchmark": config.benchmark.name,
        "Questions": f"{summary.questions:,}",
        "Memories": f"{summary.memories:,}",
        "Reader": ", ".join([config.reader.name, *(reader.name for reader in config.compared.values())]),
        "Embeddings": "lexical (words and letters, no model)" if embeddings == "lexical" else embeddings,
        "Controller": controller,
        "Loop": f"{config.protocol}, at most {config.max_rounds} rounds",
        "Judge": summary.judge,
    }
    return Html("".join(f"<div><dt>{_html(k)}</dt><dd>{_html(v)}</dd></div>" for k, v in facts.items() if v))


def _accuracy(summary: Summary, names: Mapping[str, str]) -> Html:
    head = ["reader", "all", "yes/no", "other answerable", "unanswerable", "token F1", "errors", "unscored"]
    rows = [
        [names[a.arm], _estimate(a.accuracy), *_parts(a), a.errors, a.unscored]
        for a in summary.arms
    ]  # fmt: skip
    return _table("Accuracy, %", head, rows)


def _parts(arm: ArmSummary) -> list[str]:
    return [percent(estimate) for estimate in (arm.yes_no, arm.open, arm.unanswerable, arm.f1)]


def _figure(drawing: Drawing) -> str:
    caption = f"<strong>{_html(drawing.title)}</strong> {_html(drawing.caption)}"
    return f"<figure>{drawing.svg}<figcaption>{caption}</figcaption></figure>"


def _tables(config: RunConfig, summary: Summary, names: Mapping[str, str], quirks: Mapping[str, int]) -> str:
    tables = [
        _types(summary, names),
        _retrieval(summary, names),
        _cost(config, summary.arms, names),
        _judge(summary.arms, names),
    ]
    if quirks:
        tables.append(_table("Quirks of the data", ["what was met", "times"], list(quirks.items())))
    return "".join(tables)


def _types(summary: Summary, names: Mapping[str, str]) -> Html:
    counts = {name: estimate.n for arm in summary.arms for name, estimate in arm.by_type.items()}
    rows = [[name, counts[name], *(_estimate(a.by_type.get(name)) for a in summary.arms)] for name in sorted(counts)]
    return _table("Accuracy by question type, %", ["type", "n", *(names[a.arm] for a in summary.arms)], rows)


def _retrieval(summary: Summary, names: Mapping[str, str]) -> Html:
    measured = {names[arm.arm]: arm.retrieval for arm in summary.arms if arm.retrieval}
    if not measured:
        return Html("<p>Retrieval was not measured: there is no gold evidence, or no ranking was asked for.</p>")
    tables = [
        _table(
            f"Retrieval by a direct read with the question: {name}, %",
            ["measure", "value", "chance", "n"],
            [[m.name, _estimate(m.value), f"{100 * m.chance:.1f}", m.value.n] for m in measures],
        )
        for name, measures in measured.items()
    ]
    return Html("".join(tables))


def _cost(config: RunConfig, arms: Iterable[ArmSummary], names: Mapping[str, str]) -> Html:
    rows = [{"reader": names[arm.arm]} | cost_row(config, arm) for arm in arms]
    return _table("Cost: means a question, tokens in all", list(rows[0]), [list(row.values()) for row in rows])


def _judge(arms: Iterable[ArmSummary], names: Mapping[str, str]) -> Html:
    rows = [[names[a.arm], a.flagged, f"{100 * a.parses_differ:.1f}"] for a in arms if a.parses_differ is not None]
    head = ["reader", "replies that could not be read", "strict and official differ %"]
    return _table("Judge", head, rows) if rows else Html()


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    """A table whose first column names the rows."""
    titles = "".join(f'<th scope="col">{_html(cell)}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{_html(first)}</th>{"".join(f"<td>{_html(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    table = f"<table><caption>{_html(caption)}</caption><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"
    return Html(f'<div class="scroll" tabindex="0" role="region" aria-label="{_html(caption)}">{table}</div>')


def _html(value: object) -> str:
    if isinstance(value, Html):
        return value
    return html.escape(f"{value:,}" if isinstance(value, int) else str(value))


def _estimate(estimate: Estimate | None) -> Html:
    """A mean with its interval, which a run over a single memory does not have."""
    if estimate is None or math.isnan(estimate.low):
        return Html(percent(estimate))
    return Html(
        f'{percent(estimate)} <span class="interval">[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]</span>'
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
