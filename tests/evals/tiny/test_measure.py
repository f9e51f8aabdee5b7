"""How an answer of linmem-tiny is graded."""

from pathlib import Path

import pytest
from langgraph.store.memory import InMemoryStore

from evals.sample.generate import Draft
from evals.sample.questions import UNKNOWN, Question
from evals.sample.world import Event
from evals.tiny.chat import tiny_model
from evals.tiny.measure import graded, measure
from linmem_langgraph import LinearReader, Memory, MemoryRecord, Reading
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.records import ScoredRecord

EVENT = Event(3, "enters", "Noah", "", "kitchen")
WHERE = Draft("where", "where_person", 3, Question("Where is Noah?", "kitchen", (EVENT,)))
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
    result = graded("home", asked, Reading(text=text, records=records, reader="linear"), candidates=9)
    assert (result.is_right, result.is_founded) == (right, founded)


@pytest.mark.timeout(600)
def test_so_many_questions_are_asked_as_are_wanted(untaught_folder: Path) -> None:
    with Memory(LinearReader(tiny_model(str(untaught_folder)), max_tokens=4), store=InMemoryStore()) as memory:
        found = measure(memory, 4, 30)
        assert len(found) == 30
        assert len({result.household for result in found}) == 3
        assert memory.namespaces() == {}
        again = measure(memory, 4, 30)
        assert [each._replace(seconds=0) for each in again] == [each._replace(seconds=0) for each in found]
