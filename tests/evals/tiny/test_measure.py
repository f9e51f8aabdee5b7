"""How an answer of linmem-tiny is graded."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage
from langgraph.store.memory import InMemoryStore

from evals.sample.generate import Draft
from evals.sample.questions import UNKNOWN, Question
from evals.sample.world import Event
from evals.tiny.chat import TinyChatModel, tiny_model
from evals.tiny.measure import Home, graded, homes, main, measure, measure_as_told
from linmem_langgraph import LinearReader, Memory, MemoryRecord, Reading
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.records import ScoredRecord

EVENT = Event(3, "enters", "Noah", "", "kitchen")
WHERE = Draft("where", "where_person", 3, Question("Where is Noah?", "kitchen", (EVENT,)))
HOUSE = Home("home", [MemoryRecord(text="x", position=position) for position in (0, 1, 1, 3)], [])
UNTOLD = Draft("unanswerable", "unknown_thing", 3, Question("Where is the red mug?", UNKNOWN))


@pytest.mark.parametrize(
    ("asked", "text", "positions", "right", "founded"),
    [
        (WHERE, "Noah enters the kitchen [3]. kitchen.", [3], True, True),
        (WHERE, "Noah enters the kitchen [3]. kitchen.", [2], True, False),
        (WHERE, "Noah enters the kitchen [3]. hall.", [3], False, True),
        (WHERE, "Noah enters the kitchen [3].", [3], False, True),
        (WHERE, NOTHING, [], False, False),
        (UNTOLD, NOTHING, [], True, True),
        (UNTOLD, "The red mug is on the shelf [1]. shelf.", [1], False, False),
    ],
)
def test_the_last_sentence_is_the_answer(
    asked: Draft, text: str, positions: list[int], right: bool, founded: bool
) -> None:
    records = tuple(ScoredRecord(record=MemoryRecord(text="x", position=position)) for position in positions)
    result = graded(HOUSE, asked, Reading(text=text, records=records, reader="linear", model="tiny"))
    assert (result.is_right, result.is_founded) == (right, founded)


@pytest.mark.timeout(600)
def test_so_many_questions_are_asked_as_are_wanted(untaught_folder: Path) -> None:
    with Memory(LinearReader(tiny_model(str(untaught_folder)), max_tokens=4), store=InMemoryStore()) as memory:
        asked = homes(4, 30)
        found = measure(memory, asked)
        assert len(found) == 30
        assert len({result.household for result in found}) == 3
        assert memory.namespaces() == {}
        again = measure(memory, homes(4, 30))
        assert [each._replace(seconds=0) for each in again] == [each._replace(seconds=0) for each in found]


@pytest.mark.timeout(600)
def test_each_form_is_counted_for_each_number_of_clips(
    untaught_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(str(untaught_folder), clips=[4, 6], questions=12)
    _, by_form = capsys.readouterr().out.split("right, by form of question")
    asked = {clips: [draft.form for home in homes(clips, 12) for draft in home.asked] for clips in (4, 6)}
    rows = {
        cells[1]: cells[2:4] for line in by_form.splitlines() if len(cells := [*map(str.strip, line.split("│"))]) == 5
    }
    assert set(rows) == {form for forms in asked.values() for form in forms}
    for form, cells in rows.items():
        assert [cell.rpartition(" ")[2] for cell in cells] == [str(asked[n].count(form) or "") for n in (4, 6)]


def test_positions_are_in_the_order_of_the_words_or_best_first() -> None:
    records = tuple(ScoredRecord(record=MemoryRecord(text="x", position=position)) for position in (3, 1))
    for model, text, named in (("tiny", "So it was [1]. And so [3]. hall.", (1, 3)), (None, "[1] x\n[3] x", (3, 1))):
        result = graded(HOUSE, WHERE, Reading(text=text, records=records, reader="any", model=model))
        assert (result.named, result.candidates) == (named, 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Noah drinks tea [3]. Noah takes the red mug [1]. drink tea, red mug.", True),
        ("[3] Noah drinks tea.\n[1] Noah takes the red mug.", True),
        ("Noah takes the red mug [1]. red mug.", False),
        ("Noah drinks teas [3]. Noah takes the red mug [1].", False),
    ],
)
def test_an_item_counts_wherever_it_stands(text: str, told: bool) -> None:
    asked = Draft("summary", "all_done", 3, Question("What did Noah do?", "drink tea, red mug", (EVENT,)))
    assert graded(HOUSE, asked, Reading(text=text, reader="any")).is_told == told


@pytest.mark.timeout(600)
def test_records_are_read_in_the_order_in_which_they_are_told(
    untaught_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = tiny_model(str(untaught_folder)), list[str]()
    tokens_of = type(model)._tokens

    def noted(self: TinyChatModel, messages: Sequence[BaseMessage]) -> list[int]:
        prompts.append(messages[-1].text)
        return tokens_of(self, messages)

    monkeypatch.setattr(type(model), "_tokens", noted)
    (home,) = asked = homes(4, 6, told=lambda events: [*reversed(events)])
    assert [result.question for result in measure_as_told(model, asked)] == [each.question.text for each in home.asked]
    lines = "".join(f"[{record.position}] {record.text}\n" for record in home.records)
    assert all(lines in prompt for prompt in prompts)
    assert len(prompts) == 7  # it is primed first


@pytest.mark.parametrize("command", ["train", "publish"])
def test_what_makes_it_names_the_extra_it_needs(command: str) -> None:
    hidden = "import runpy, sys; sys.modules['torch'] = None; "
    run = f"runpy.run_module('evals.tiny.{command}', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", hidden + run], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install -e '.[tiny]'" in done.stderr
