"""report.html as a person sees and uses it, in headless Chromium."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from playwright.sync_api import Browser, Locator, Page, expect

from evals.judge import judge
from evals.predict import predict
from evals.report import report
from evals.rows import Grade, Prediction, RowFile
from evals.sample.generate import generate, write
from evals.samples import Sample
from evals.summary import Pair, summarize_run
from linmem_langgraph.records import MemoryRecord
from tests.evals.support import HookedController, run_config

ARMS = ("main", "linear", "blind", "oracle")
AT_FIRST = 50
"""How many rows a page shows before it is asked for more."""

HOSTILE = "<img src=x onerror='ran = 1'><script>ran = 2</script> <b>bold</b> </script>&amp; <a href='//x.example'>x</a>"


class Run(NamedTuple):
    """A reported run: its page, and its rows."""

    page: Path
    rows: list[Pair]

    def matching(self, text: str = "", outcome: str = "", arm: str = "main") -> list[str]:
        """The questions, in the page's order, to which `arm` ("" = any) gave an answer that is looked for."""
        found = {
            (row.memory, row.question_id)
            for row, grade in self.rows
            if arm in ("", row.arm) and outcome in ("", grade.label) and all(map(_text(row).count, text.split()))
        }
        return [question_id for _, question_id in sorted(found)]

    def answer(self, question_id: str, arm: str) -> Prediction:
        return next(row for row, _ in self.rows if (row.question_id, row.arm) == (question_id, arm))


def _text(row: Prediction) -> str:
    return "\n".join((row.question_id, row.question, row.gold or "", row.answer)).lower()


def run_in(out: Path) -> Run:
    grades = {grade.key: grade for grade in RowFile(out / "scores.jsonl").read(Grade)}
    rows = [(row, grades[row.key]) for row in RowFile(out / "predictions.jsonl").read(Prediction)]
    return Run(out / "report.html", rows)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two households, and a memory of markup; one question fails, and one has no gold answer."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("run")
    memories, samples = generate(worlds=2, clips=10, questions=7, seed=3)
    memories["markup"] = (MemoryRecord(text=f"{HOSTILE} is on the shelf.", position=0, key="markup"),)
    odd: dict[str, Any] = {"memory": "markup", "types": ("<u>odd</u>",)}
    asked = [
        Sample(id="markup", question=f"{HOSTILE} Where is it?", answer=HOSTILE, evidence=(0,), **odd),
        Sample(id="fails", question="Does this fail?", answer="yes", **odd),
        Sample(id="unscored", question="What is a good answer?", answer=None, **odd),
    ]
    write(data, memories, [*samples, *asked])
    linear = {"name": "linear", "options": {"model": "tiny:hybrid"}}
    config = run_config(data, name=HOSTILE, compared={"linear": linear})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evals.models.chat_model", lambda name, **options: HookedController(misbehave))
        predict(config, out)
    judge(config, out)
    report(config, out)
    return run_in(out)


def misbehave(question: str, messages: Sequence[BaseMessage]) -> AIMessage | None:
    if "fail" in question:
        raise ValueError(HOSTILE)
    found = any(isinstance(message, ToolMessage) for message in messages)
    return AIMessage(f"It is {HOSTILE}.") if found and HOSTILE in question else None


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a run's page in a window as told; it asks for no other file and has no complaint, whatever is done there."""
    contexts, said, asked, wanted = [], list[str](), set[str](), set[str]()

    def load(run: Run, fragment: str = "", width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 844}, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.add(request.url.split("#")[0]))
        wanted.add(run.page.as_uri())
        page.goto(run.page.as_uri() + fragment)
        page.wait_for_selector("details.question")
        return page

    yield load
    for context in contexts:
        context.close()
    assert asked - wanted == set()
    assert said == []


@pytest.fixture
def page(open_page: Open, run: Run) -> Page:
    return open_page(run)


def shown(page: Page) -> list[str]:
    """The ids of the rows that can be seen."""
    return [name for name in page.locator("details.question .id").all_inner_texts() if name]


def row(page: Page, question_id: str) -> Locator:
    return page.locator("details.question", has=page.locator(".id", has_text=question_id))


def find(page: Page, text: str = "", outcome: str = "", arm: str = "main") -> None:
    page.get_by_label("Search").fill(text)
    page.get_by_label("Outcome").select_option(outcome)
    page.get_by_label("Reader").select_option(arm)


def test_every_question_is_there(page: Page, run: Run) -> None:
    assert shown(page) == run.matching()
    expect(page.locator("#count")).to_have_text("17 questions")


@pytest.mark.parametrize("text", ["kitchen", "BALL takes", "HOME_01_Q03", "not in memory", "<b>bold</b>"])
def test_searching_leaves_the_questions_with_all_words(page: Page, run: Run, text: str) -> None:
    find(page, text)

    expected = run.matching(text.lower())
    assert 0 < len(expected) < len(run.matching())
    assert shown(page) == expected
    expect(page.locator("#count")).to_have_text(f"{len(expected)} of 17 questions")


@pytest.mark.parametrize("arm", ["main", "linear", ""])
@pytest.mark.parametrize("outcome", ["correct", "incorrect", "error", "unscored"])
def test_an_outcome_leaves_the_questions_a_reader_had_it_on(page: Page, run: Run, outcome: str, arm: str) -> None:
    find(page, outcome=outcome, arm=arm)

    expected = run.matching(outcome=outcome, arm=arm)
    assert 0 < len(expected) < len(run.matching())
    assert shown(page) == expected


@pytest.mark.parametrize(("text", "outcome"), [("who", "correct"), ("who", "incorrect"), ("who", "unscored")])
def test_search_and_outcome_hold_together(page: Page, run: Run, text: str, outcome: str) -> None:
    find(page, text, outcome)

    assert shown(page) == run.matching(text, outcome)
    assert len(shown(page)) < min(len(run.matching(text)), len(run.matching(outcome=outcome)))


def test_clearing_brings_all_questions_back(page: Page, run: Run) -> None:
    find(page, "no such word", "error", "")
    assert shown(page) == []
    expect(page.locator("#count")).to_have_text("0 of 17 questions")

    page.get_by_role("button", name="Clear").click()

    assert shown(page) == run.matching()


def test_a_row_opens_and_closes(page: Page, run: Run) -> None:
    asked, prediction = row(page, "home_00_q02"), run.answer("home_00_q02", "main")

    asked.locator("summary").click()

    dialogue = asked.locator(".rounds")
    expect(dialogue.get_by_role("heading")).to_have_text(["Round 1", "Round 2: answer"])
    expect(dialogue.locator(".call")).to_contain_text(f"search_memory “{prediction.question}”")
    found = prediction.messages[2]["text"]
    assert dialogue.locator(".lines > div").all_inner_texts() == found.split("\n")
    expect(dialogue.locator(".lines > .gold")).to_have_text(
        [line for line in found.split("\n") if line.startswith("[7]")]
    )
    expect(dialogue.locator("li").last).to_contain_text(prediction.answer)

    asked.locator("summary").click()

    expect(dialogue).to_be_hidden()
    expect(asked.locator("summary")).to_be_visible()


def test_another_readers_transcript_shows_what_it_wrote(page: Page, run: Run) -> None:
    asked, wrote = row(page, "home_00_q00"), run.answer("home_00_q00", "linear").messages[2]
    asked.locator("summary").click()

    asked.get_by_role("article").filter(has_text="linear (tiny:hybrid)").get_by_role("button").click()

    dialogue = asked.locator(".rounds")
    expect(dialogue.locator(".found > .note")).to_contain_text(f"written by {wrote['written']['model']} in")
    expect(dialogue.locator(".lines")).to_have_text(wrote["text"])


def test_a_failure_is_told_in_its_row(page: Page) -> None:
    asked = row(page, "fails")
    expect(asked.locator(".brief")).to_contain_text("error: ValueError")

    asked.locator("summary").click()

    expect(asked.locator(".failed")).to_have_text(f"ValueError: {HOSTILE}")


def test_the_dialogues_of_a_closed_page_are_reached_by_a_link(open_page: Open, run: Run) -> None:
    page = open_page(run, "#home_01_q03")

    expect(row(page, "home_01_q03").locator(".rounds")).to_be_in_viewport()
    assert page.locator("details[open]").count() == 1


MARKS = """(svg, variable) => {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = `var(${variable})`;
    const colour = getComputedStyle(probe).color, frame = svg.getBoundingClientRect();
    probe.remove();
    return [...svg.querySelectorAll("use, path")].filter((mark) => {
        const { fill, stroke } = getComputedStyle(mark), box = mark.getBoundingClientRect();
        const across = box.left >= frame.left && box.right <= frame.right && box.width + box.height > 2;
        const down = box.top >= frame.top && box.bottom <= frame.bottom;
        return (fill === colour || (fill === "none" && stroke === colour)) && across && down;
    }).length;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn(open_page: Open, run: Run, scheme: str) -> None:
    predictions, grades = zip(*run.rows, strict=True)
    summary = summarize_run(predictions, grades, ARMS)
    figures = open_page(run, color_scheme=scheme).locator("figure svg")
    assert figures.count() == 4
    accuracy, types, retrieval, losses = figures.all()
    for figure in figures.all():
        box = figure.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 100

    for number, arm in enumerate(summary.arms, start=1):
        colour = f"--arm-{number}"
        dots = [one.low < one.high for one in arm.by_type.values()]
        assert marks(accuracy, colour) == 3  # bar, interval, mean
        assert marks(types, colour) == len(dots) + sum(dots) + 1  # means, intervals, the legend
    measures = [measure.value for measure in summary.arms[0].retrieval if not measure.name.startswith("Near")]
    assert marks(retrieval, "--arm-1") == len(measures) + sum(one.low < one.high for one in measures) + 1
    assert marks(losses, "--correct") >= 2
    assert marks(losses, "--incorrect") >= 2


def marks(figure: Locator, colour: str) -> int:
    """How many marks of a colour can be seen within a figure."""
    count: int = figure.evaluate(MARKS, colour)
    return count


def test_markup_in_what_was_stored_is_text(page: Page, run: Run) -> None:
    asked = row(page, "markup")
    expect(asked.locator(".asked")).to_contain_text(f"{HOSTILE} Where is it?")

    asked.locator("summary").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(f"{HOSTILE}: household")
    expect(asked.locator(".facts")).to_contain_text(HOSTILE)
    expect(asked.locator(".facts")).to_contain_text("<u>odd</u>")
    expect(asked.locator(".lines")).to_have_text(run.answer("markup", "main").messages[2]["text"])
    expect(asked.locator(".rounds .said").last).to_have_text(f"It is {HOSTILE}.")
    assert page.evaluate("typeof ran") == "undefined"
    assert page.locator("img, b, u, main script, a[href*=example]").count() == 0


def test_the_keyboard_is_enough(page: Page, run: Run) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the questions")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("coffee felix often")
    assert shown(page) == ["home_01_q04"]

    asked = row(page, "home_01_q04")
    for _ in ("reader", "outcome", "type", "memory", "clear", "the row"):
        page.keyboard.press("Tab")
    expect(asked.locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(asked.locator(".rounds")).to_be_visible()
    page.keyboard.press("Enter")
    expect(asked.locator(".rounds")).to_be_hidden()


@pytest.mark.parametrize(("media", "width"), [("screen", 390), ("screen", 1280), ("print", 718)])
def test_nothing_is_wider_than_the_page(open_page: Open, run: Run, media: Any, width: int) -> None:
    page = open_page(run, width=width)
    for question_id in ("markup", "fails", "home_00_q05"):
        row(page, question_id).locator("summary").click()
    page.emulate_media(media=media)

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(BEYOND, width) == []


# What can be scrolled sideways on a screen is cut off on paper.
BEYOND = """(width) => [...document.body.querySelectorAll("*")].filter((element) => {
    const box = element.getBoundingClientRect();
    const scrolls = !matchMedia("print").matches && element.closest(".scroll, pre");
    return box.right > width && box.width && !scrolls;
}).map((element) => element.outerHTML.slice(0, 80))"""


def test_a_browser_too_old_to_unpack_the_rows_says_so(browser: Browser, run: Run) -> None:
    page = browser.new_page()
    page.add_init_script("delete globalThis.DecompressionStream")

    page.goto(run.page.as_uri())

    expect(page.locator("#count")).to_contain_text("newer; the rows are also in predictions.jsonl")
    page.close()


def test_a_large_run_can_be_searched_and_paged(open_page: Open, big_run: Path) -> None:
    run = run_in(big_run)
    page = open_page(run)
    assert len(shown(page)) == AT_FIRST
    expect(page.locator("#count")).to_have_text("1,276 questions")

    page.get_by_role("button", name="Show 50 more of 1,226").click()

    assert shown(page) == run.matching()[: 2 * AT_FIRST]
    word = run.rows[0][0].question.split()[-1].strip(".").lower()
    find(page, word, "incorrect")
    assert shown(page) == run.matching(word, "incorrect")[:AT_FIRST]
    page.locator("details.question summary").last.click()
    expect(page.locator(".rounds > li")).to_have_count(5)
    asked = run.answer(shown(page)[-1], "main")
    missed = [f"✗ {position}" for position in asked.evidence if position not in asked.shown]
    assert page.locator(".found .position.miss").all_inner_texts() == missed  # once, below the last search
    expect(page.locator("figcaption").nth(2)).to_contain_text("over the 1,276 questions")
