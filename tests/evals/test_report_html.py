"""The HTML report: one file, nothing fetched, nothing lost, and no stored text ever becomes markup."""

import base64
import gzip
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.config import ReaderConfig, RunConfig
from evals.figures import losses
from evals.report_html import embed, render_html
from evals.rows import Grade, Prediction, Tokens
from evals.summary import Pair, summarize_run
from evals.svg import inline
from linmem_langgraph.errors import ConfigError

CONFIG = RunConfig(name="test", reader=ReaderConfig(options={"embeddings": "lexical"}), controls=("blind", "oracle"))

HOSTILE = "</script><script>alert(1)</script><img onerror=alert(2)><!--<script>\u2028\x00$title &lt; \"'`\ud800 中"


def unpacked(embedded: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(embedded, validate=True)))
    return found


class Page(HTMLParser):
    """What a browser would make of the file: its tags, and the content of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> dict[str, Any]:
        return unpacked(self.scripts[0])

    def all(self, attribute: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(attribute)) is not None]


def pair(number: int, arm: str = "main", memory: str | None = None, **changes: Any) -> Pair:
    """A row and its grade; `label` is the grade's, the rest the prediction's."""
    label = changes.pop("label", "correct" if number % 2 else "incorrect")
    raw = changes.pop("raw", "")
    question = f"Where is the mug {number}?"
    fields: dict[str, Any] = {
        "arm": arm,
        "config": f"hash-{arm}",
        "question_id": f"q{number:03}",
        "seed": 0,
        "memory": memory or f"home_{number % 3}",
        "question": question,
        "gold": "shelf",
        "types": ("where",),
        "until": 9,
        "evidence": (2, 5),
        "answerable": True,
        "answer": f"answer {number} of {arm}",
        "rounds": 2,
        "searches": 1,
        "seconds": 0.5,
        "controller": Tokens(prompt=10, cached=5, completion=2),
        "shown": (5, 1),
        "ranking": (5, 1, 0),
        "candidates": 10,
        "messages": (
            {"role": "human", "text": question},
            {"role": "ai", "text": "", "calls": [{"name": "search_memory", "args": {"query": "mug", "limit": 3}}]},
            {"role": "tool", "text": "[1] A cup.\n[5] A mug.", "positions": [1, 5]},
            {"role": "ai", "text": f"answer {number} of {arm}"},
        ),
    }
    prediction = Prediction(**fields | changes)
    keys = prediction.model_dump(include={"arm", "config", "question_id", "seed"})
    return prediction, Grade(**keys, label=label, f1=0.5, judge="lexical", raw=raw)


def render(pairs: Sequence[Pair], config: RunConfig = CONFIG, quirks: dict[str, int] | None = None) -> Page:
    predictions, grades = [p for p, _ in pairs], [g for _, g in pairs]
    return Page(render_html(config, summarize_run(predictions, grades), quirks or {}, predictions, grades))


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    rankings: dict[str, dict[str, Any]] = {"main": {}, "blind": {"ranking": ()}, "oracle": {"ranking": ()}}
    return [pair(number, arm, **ranking) for arm, ranking in rankings.items() for number in range(12)]


@pytest.fixture(scope="module")
def page(pairs: list[Pair]) -> Page:
    return render(pairs, quirks={"answers that are numbers": 3})


def test_nothing_is_fetched(page: Page) -> None:
    links = [*page.all("src"), *page.all("href"), *page.all("xlink:href"), *page.all("srcset"), *page.all("action")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"@import|url\((?!#)|https?://", page.text)
    assert "link" not in {tag for tag, attrs in page.tags if attrs.get("href") != "data:,"}


def test_the_policy_admits_this_script_and_nothing_else(page: Page) -> None:
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy is not None
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:" in policy


def test_every_row_is_there(page: Page, pairs: list[Pair]) -> None:
    found = {
        (question["id"], answer["arm"]): answer["answer"]
        for question in page.data["questions"]
        for answer in question["answers"]
    }
    assert found == {(p.question_id, p.arm): p.answer for p, _ in pairs}
    assert list(page.data["arms"]) == ["main", "blind", "oracle"]


def test_a_row_keeps_its_transcript_and_its_grade() -> None:
    question = render([pair(1, raw="Yes.", error="it broke", label="error"), pair(2)]).data["questions"][0]
    assert [question[key] for key in ("gold", "evidence", "until", "types")] == ["shelf", [2, 5], 9, ["where"]]
    answer = question["answers"][0]
    assert (answer["label"], answer["raw"], answer["error"]) == ("error", "Yes.", "it broke")
    assert answer["messages"] == [
        {"role": "ai", "text": "", "calls": [{"name": "search_memory", "query": "mug", "more": '{"limit": 3}'}]},
        {"role": "tool", "text": "[1] A cup.\n[5] A mug.", "positions": [1, 5]},
        {"role": "ai", "text": "answer 1 of main"},
    ]
    assert (answer["shown"], answer["controller"]["cached"]) == ([5, 1], 5)


def test_hostile_texts_stay_texts() -> None:
    calls = [{"name": HOSTILE, "args": {"query": HOSTILE, "limit": float("nan")}}]
    said = ({"role": "ai", "text": HOSTILE, "calls": calls}, {"role": "tool", "text": HOSTILE, "positions": []})
    changes: dict[str, Any] = {
        "question_id": HOSTILE,
        "memory": HOSTILE,
        "question": HOSTILE,
        "gold": HOSTILE,
        "types": (HOSTILE,),
    }
    row = pair(1, **changes, answer=HOSTILE, error=HOSTILE, messages=said, raw=HOSTILE)
    page = render([row, pair(2)], CONFIG.model_copy(update={"name": HOSTILE}), quirks={HOSTILE: 1})
    tags = Counter(tag for tag, _ in page.tags)
    assert (tags["script"], tags["img"], tags["style"], len(page.all("onerror"))) == (2, 0, 1, 0)
    question = next(question for question in page.data["questions"] if question["id"] == HOSTILE)
    answer = question["answers"][0]
    assert {question["question"], question["gold"], answer["answer"], answer["messages"][0]["text"]} == {HOSTILE}
    page.text.encode()  # can be written


@given(st.text(alphabet=st.characters(codec=None)))
def test_embedded_data_comes_back_as_it_was(text: str) -> None:
    embedded = embed({text: [text]})
    assert unpacked(embedded) == {text: [text]}


def test_the_script_never_writes_markup(page: Page) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", page.scripts[1])


def labels(page: Page) -> list[str]:
    return [attrs["aria-label"] or "" for tag, attrs in page.tags if tag == "svg"]


def test_the_figures_say_what_they_show(page: Page) -> None:
    accuracy, types, retrieval, loss = labels(page)
    assert accuracy.startswith("Accuracy, %: chroma (lexical) 50.0, blind: no memory 50.0")
    assert "where 50.0" in types
    assert "Hit@1 100.0 (chance 20.0)" in retrieval
    assert "part shown: 6 correct and 6 wrong" in loss


def test_ids_are_unique_and_references_lead_somewhere(page: Page) -> None:
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    used = [link[1:] for link in page.all("href") if link.startswith("#")]
    used += [name for attrs in page.all("clip-path") for name in re.findall(r"url\(#([^)]*)\)", attrs)]
    used += page.all("aria-labelledby")
    assert set(used) <= set(ids)


def test_figures_take_the_colours_of_the_page(page: Page) -> None:
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", page.text))
    defined = set(re.findall(r"(--[a-z0-9-]+):", page.text))
    assert {"--arm-1", "--ink", "--correct"} <= used <= defined
    assert "#0000" not in page.text


def test_one_arm_one_memory_and_no_retrieval() -> None:
    rows = [pair(number, memory="m", evidence=(), ranking=()) for number in range(4)]
    page = render(rows, CONFIG.model_copy(update={"controls": ()}))
    assert len(labels(page)) == 2
    assert "Retrieval was not measured" in page.text
    assert not re.search(r"\bnan\b", page.text)


def test_readers_that_are_compared_stand_at_the_top_beside_the_first() -> None:
    tiny = ReaderConfig(name="linear", options={"model": "tiny:hybrid"})
    rows = [pair(number, arm) for arm in ("main", "linear", "blind") for number in range(4)]
    text = render(rows, CONFIG.model_copy(update={"compared": {"linear": tiny}, "controls": ("blind",)})).text
    lead = re.findall(r"correct with ([^:]+(?::[a-z]+\))?):", text)
    assert lead == ["chroma (lexical)", "linear (tiny:hybrid)"]
    assert "<dd>chroma, linear</dd>" in text


def test_questions_without_types_or_gold() -> None:
    page = render([pair(number, types=(), gold=None, label="unscored") for number in range(3)])
    assert len(labels(page)) == 1  # retrieval: nothing was scored
    assert {answer["label"] for question in page.data["questions"] for answer in question["answers"]} == {"unscored"}


def test_two_seeds_are_two_answers() -> None:
    first, second = render([pair(1, seed=1), pair(2), pair(1, seed=0)]).data["questions"]
    assert [answer["seed"] for answer in first["answers"]] == [0, 1]
    assert [answer["seed"] for answer in second["answers"]] == [0]


def test_same_rows_same_bytes(page: Page, pairs: list[Pair]) -> None:
    assert render(pairs, quirks={"answers that are numbers": 3}).text == page.text


def test_drawing_leaves_matplotlib_as_it_was(pairs: list[Pair]) -> None:
    before = dict(matplotlib.rcParams)
    render(pairs)
    assert dict(matplotlib.rcParams) == before


def test_labels_in_the_page_are_honest(page: Page) -> None:
    assert "extractive baseline (no model)" in page.text
    assert "lexical (words and letters, no model)" in page.text
    assert "answers that are numbers" in page.text


def test_losses_are_counted_by_what_was_shown() -> None:
    rows = [
        pair(1, shown=(5, 2)),
        pair(3, shown=(2, 5), label="incorrect"),
        pair(5, shown=(5,), label="error"),
        pair(7, shown=()),
        pair(9, answerable=False),
        pair(11, evidence=()),
        pair(13, label="unscored"),
    ]
    assert losses(rows) == {("all", True): 1, ("all", False): 1, ("none", True): 1}


def test_inlining_changes_markup_but_no_text() -> None:
    text = ' id="x" url(#a) xlink:href="#b" #000001'
    svg = f'<?xml version="1.0"?><svg viewBox="0 0 1 1"><g id="a" style="fill: #000001"><text>{text}</text></g></svg>'
    assert inline(svg, "p", 'a "label"') == (
        '<svg viewBox="0 0 1 1" role="img" aria-label="a &quot;label&quot;">'
        f'<g id="p-a" style="fill: var(--ink)"><text>{text}</text></g></svg>'
    )


def test_without_matplotlib_the_extra_is_named(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"linmem-langgraph\[evals\]"):
        render(pairs)
