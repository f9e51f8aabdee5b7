"""Memories of merged worlds: the same questions at every size, each about one world."""

import re

import pytest

from evals.compare_readers.worlds import CLIPS, EACH, merged
from evals.sample.world import PEOPLE
from evals.tiny.chat import shipped, tiny_model
from evals.tiny.language import POSITIONS, TAUGHT_PEOPLE
from linmem_langgraph import transcript
from linmem_langgraph.errors import ConfigError

LARGEST = 16 * CLIPS


@pytest.mark.parametrize("clips", [2 * CLIPS, 4 * CLIPS, 8 * CLIPS, LARGEST])
def test_every_size_is_asked_the_same(clips: int) -> None:
    smallest = [asked for memory in merged(CLIPS, 60, LARGEST) for asked in memory.asked]
    assert [asked for memory in merged(clips, 60, LARGEST) for asked in memory.asked] == smallest
    assert 60 <= len(smallest) < 60 + 4 * EACH


@pytest.mark.parametrize("clips", [CLIPS, 4 * CLIPS, LARGEST])
def test_a_question_names_people_of_one_world_and_its_evidence_is_told_once(clips: int) -> None:
    for memory in merged(clips, 20, LARGEST):
        texts = [record.text for record in memory.records]
        for world, draft in memory.asked:
            named = {name for name in PEOPLE if re.search(rf"\b{name}\b", draft.question.text)}
            assert named
            assert not named & {
                name
                for other, each in memory.asked
                if other != world
                for name in PEOPLE
                if re.search(rf"\b{name}\b", each.question.text)
            }
            assert all(event.caption in texts for event in draft.question.evidence)


def test_who_has_a_thing_is_not_asked_where_another_world_tells_of_such_a_thing_later() -> None:
    asked = [(memory, draft) for memory in merged(4 * CLIPS, 200, 4 * CLIPS) for _, draft in memory.asked]
    having = [(memory, draft) for memory, draft in asked if draft.form == "does_have"]
    assert len(having) > 5
    for memory, draft in having:
        thing = draft.question.text.removesuffix("?").split(" the ")[1]
        last = [record.text for record in memory.records if f"the {thing}" in record.text.lower()][-1]
        assert last == draft.question.evidence[0].caption


def test_what_makes_a_memory_larger_is_of_other_people() -> None:
    (memory,) = merged(LARGEST, 1, LARGEST)
    told = " ".join(record.text for record in memory.records)
    present = {name for name in TAUGHT_PEOPLE if re.search(rf"\b{name}\b", told)}
    assert len(present) > 40
    assert not any(re.search(rf"\b{name}\b", draft.question.text) for name in present for _, draft in memory.asked)


@pytest.mark.parametrize("clips", [CLIPS, 8 * CLIPS, LARGEST])
def test_positions_are_those_that_the_model_knows_and_follow_the_log(clips: int) -> None:
    model = tiny_model(shipped()[0])
    for memory in merged(clips, 1, LARGEST):
        positions = [record.position or 0 for record in memory.records]
        assert positions == sorted(positions)
        assert positions[-1] == min(clips, POSITIONS) - 1
        assert len({record.key for record in memory.records}) == len(memory.records)
        encoded = model._runtime.tokenizer.encode(transcript.render(memory.records))
        assert "<unk>" not in encoded.tokens


@pytest.mark.parametrize("clips", [0, CLIPS + 1, 2 * LARGEST])
def test_sizes_are_multiples_of_a_world(clips: int) -> None:
    with pytest.raises(ConfigError, match="choose multiples"):
        merged(clips, 10, LARGEST)


def test_names_run_out() -> None:
    with pytest.raises(ConfigError, match="not enough names"):
        merged(CLIPS, 10, 200 * CLIPS)
