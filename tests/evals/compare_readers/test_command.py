"""`python -m evals compare-readers`, small: what is measured, kept, left out and refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from typer.testing import CliRunner

from evals.benchmarks.locomo import load
from evals.cli import app
from evals.compare_readers import household
from evals.compare_readers import locomo as locomo_work
from evals.compare_readers.asking import Work
from evals.compare_readers.candidates import Candidate, candidates, tiny_models
from evals.compare_readers.command import Wanted, run
from evals.compare_readers.growth import Growth, ends
from evals.compare_readers.locomo import Talk, talks, told
from evals.compare_readers.worlds import clip_name, merged
from evals.sample.questions import Question
from evals.sample.world import Event
from linmem_langgraph import ChromaReader, MemoryRecord, Reading, readers
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.log import Log
from linmem_langgraph.readers import Query
from linmem_langgraph.records import ScoredRecord

SMALL = Wanted(sizes=(16, 32), questions=5, models=("hybrid",), readers=("chroma", "linear", "hybrid"))

TALK: dict[str, Any] = {
    "session_1_date_time": "1:56 pm on 8 May, 2023",
    "session_1": [
        {"speaker": "Anna", "dia_id": f"D1:{n}", "text": text}
        for n, text in enumerate(["I bought a canoe.", "It rains.", "The soup is cold.", "Bob paints.", "Good night."])
    ],
}
QUESTION = {"question": "Who bought a canoe?", "answer": "Anna", "evidence": ["D1:0"], "category": 4}


class FailingReader(ChromaReader):
    def read(self, log: Log, query: Query) -> Reading:
        raise ZeroDivisionError("this one cannot")


@pytest.fixture
def locomo(tmp_path: Path) -> Path:
    file = tmp_path / "locomo.json"
    talks = [{"sample_id": name, "conversation": TALK, "qa": [QUESTION]} for name in ("one", "two")]
    file.write_text(json.dumps(talks), "utf-8")
    return file


def test_all_readers_are_measured_and_a_second_run_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    found = run(SMALL, tmp_path, said.append)
    assert [(done.place, done.reader.split()[0]) for done in found] == [
        (f"{clips} clips", reader) for clips in (16, 32) for reader in SMALL.readers
    ]
    for done in found:
        assert not done.work.error
        assert (score := done.score("right")) is not None
        assert score.n >= 5
        assert all(each.state > 0 for each in done.work.written)
    linear = [done for done in found if done.reader.startswith("linear")]
    assert all(each.cached > 0.9 * each.prompt - 20 for done in linear for each in done.work.asked)
    assert all(done.work.asked[0].prompt == 0 for done in found if done.reader == "chroma")
    assert "full context: no model of softmax attention alone is given" in (tmp_path / "report.md").read_text("utf-8")
    report = (tmp_path / "report.md").read_text("utf-8")
    assert report.count(": read in turn, 32 clips take ") == len(SMALL.readers)
    for measures in ("household.work", "command.growth"):
        monkeypatch.setattr(f"evals.compare_readers.{measures}", lambda *told: pytest.fail("measured again"))
    assert run(SMALL, tmp_path, said.append) == found
    assert (tmp_path / "report.md").read_text("utf-8") == report


def test_reads_in_turn_that_fail_are_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*told: object) -> Growth:
        raise ZeroDivisionError("not in turn")

    monkeypatch.setattr("evals.compare_readers.command.growth", fails)
    *_, last = run(SMALL._replace(readers=("chroma",)), tmp_path, print)
    assert (last.place, last.work.error) == ("16 clips and 32 clips in turn", "ZeroDivisionError: not in turn")


def test_what_was_measured_before_a_failure_is_not_measured_again(
    tmp_path: Path, locomo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = SMALL._replace(sizes=(16,), questions=1, readers=("chroma",), locomo=locomo)
    asked = list[str]()
    work = locomo_work.work

    def failing(reader: Candidate, talks: Sequence[Talk], answers: BaseChatModel | None) -> Work:
        asked.extend(talk.name for talk in talks)
        if talks[0].name == "two" and asked.count("two") == 1:
            raise ZeroDivisionError("in the middle")
        return work(reader, talks, answers)

    monkeypatch.setattr(locomo_work, "work", failing)
    assert run(wanted, tmp_path / "out", print)[1].work.error == "ZeroDivisionError: in the middle"
    alone = run(wanted, tmp_path / "out", print)[1]
    assert asked == ["one", "two", "together", "two"]
    assert len(alone.work.asked) == len(alone.work.written) == 2


def test_reads_grow_from_the_size_aimed_at_to_the_largest() -> None:
    assert ends([16, 64, 256, 1_024]) == (64, 1_024)
    assert ends([256, 16]) == (16, 256)
    assert ends([64]) is None


def test_a_reader_that_fails_is_a_row_and_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readers.READERS, "failing", f"{__name__}:FailingReader")
    wanted = SMALL._replace(sizes=(16,), readers=("failing", "chroma"))
    first, second = run(wanted, tmp_path, print)
    assert first.work.error == "ZeroDivisionError: this one cannot"
    assert not second.work.error
    assert "| failing | error: ZeroDivisionError: this one cannot |" in (tmp_path / "report.md").read_text("utf-8")
    monkeypatch.setattr(FailingReader, "read", ChromaReader.read)
    assert not run(wanted, tmp_path, print)[0].work.error


def test_the_state_of_a_reader_does_not_depend_on_who_was_measured_before(tmp_path: Path) -> None:
    wanted = SMALL._replace(sizes=(16,), questions=1, readers=("linear", "hybrid"))
    _, after = run(wanted, tmp_path / "both", print)
    (alone,) = run(wanted._replace(readers=("hybrid",)), tmp_path / "one", print)
    states = [[each.state for each in done.work.written] for done in (after, alone)]
    assert states[0] == pytest.approx(states[1], rel=0.05)


def test_readers_that_are_not_registered_are_left_out_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(readers.READERS, "hybrid")
    said: list[str] = []
    found = candidates(tiny_models([]), household.GIVEN, household.TUNED, said.append, ["chroma", "hybrid"])
    assert [each.label for each in found] == ["chroma"]
    assert said[0] == "hybrid: not registered, left out"


def test_a_model_of_softmax_alone_is_the_full_context(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [model._replace(is_softmax=True) for model in tiny_models([])]
    said: list[str] = []
    found = candidates(models, household.GIVEN, household.TUNED, said.append, ["linear", "hybrid"])
    assert [each.label for each in found] == [f"full context ({model.name})" for model in models]
    assert said == []


def test_a_controller_says_what_a_model_concluded_or_the_line_that_matches() -> None:
    by_a_model = Reading(text="Anna enters the kitchen [3]. kitchen.", reader="linear", model="tiny")
    assert household.said("Where is Anna?", by_a_model) == "kitchen."
    shown = Reading(text="[3] Anna enters the kitchen.\n[4] Bob eats soup.", reader="chroma")
    assert household.said("Where is Anna?", shown) == "Anna enters the kitchen."


def test_evidence_is_what_the_records_of_a_reading_tell() -> None:
    told = [
        MemoryRecord(text=text, key=f"{clip_name('0:3', 0)}/{at}")
        for at, text in enumerate(["Anna drinks tea.", "Bob eats soup."])
    ]
    events = [Event(0, "does", name, "", act) for name, act in (("Anna", "drink tea"), ("Zoe", "eat soup"))]
    question = Question("How often?", "two", tuple(events))
    shown = Reading(text="", records=tuple(ScoredRecord(record=record) for record in told), reader="chroma")
    assert household.evidence("0:3", question, shown) == {"evidence": 0.5}
    again = question._replace(evidence=(events[0], events[0]._replace(clip=4)))
    assert household.evidence("0:3", again, shown) == {"evidence": 0.5}
    assert household.evidence("0:3", question._replace(evidence=()), shown) == {}


@pytest.mark.parametrize("clips", [16, 64])
def test_all_evidence_is_found_where_all_is_read(clips: int) -> None:
    for memory in merged(clips, 30, 64):
        shown = Reading(text="", records=tuple(ScoredRecord(record=each) for each in memory.records), reader="all")
        for world, draft in memory.asked:
            assert household.evidence(world, draft.question, shown) in ({}, {"evidence": 1.0})


def test_locomo_s_evidence_is_found_alone_and_together(tmp_path: Path, locomo: Path) -> None:
    wanted = SMALL._replace(sizes=(16,), readers=("chroma",), locomo=locomo)
    _, alone, together = run(wanted, tmp_path / "out", print)
    assert (alone.place, together.place) == ("5 records", "10 records")
    for measure in ("recall@10", "hit@5", "MRR"):
        assert (score := alone.score(measure)) is not None
        assert (score.mean, score.n) == (1.0, 2)
    assert (both := together.score("MRR")) is not None
    assert both.mean == 0.75  # the same turn is in both: one of them comes first
    assert alone.score("F1") is None
    assert "LoCoMo has no F1" in (tmp_path / "out" / "report.md").read_text("utf-8")


def test_a_model_that_answers_is_scored(tmp_path: Path, locomo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = FakeListChatModel(responses=["Anna did"])
    monkeypatch.setattr("linmem_langgraph.by_name.chat_model", lambda name: answers)
    wanted = SMALL._replace(sizes=(16,), readers=("chroma",), locomo=locomo, answers="some:model")
    _, alone, _ = run(wanted, tmp_path / "out", print)
    assert (score := alone.score("F1")) is not None
    assert score.mean == pytest.approx(2 / 3)


def test_what_a_model_names_is_no_ranking(tmp_path: Path, locomo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = FakeListChatModel(responses=["Nothing in memory matches."])
    monkeypatch.setattr("linmem_langgraph.by_name.chat_model", lambda name: answers)
    wanted = SMALL._replace(sizes=(16,), readers=("linear",), locomo=locomo, answers="some:model")
    _, alone, together = run(wanted, tmp_path / "out", print)
    for done in (alone, together):
        assert not done.work.error
        assert done.score("MRR") is None
        assert done.score("F1") is not None


def test_another_date_is_another_memory(locomo: Path) -> None:
    before, *_ = talks(load(locomo)).values()
    locomo.write_text(locomo.read_text("utf-8").replace("2023", "2024"), "utf-8")
    after, *_ = talks(load(locomo)).values()
    assert json.dumps(told(before)) != json.dumps(told(after))
    assert told(before) == told(before)


def test_the_command_ends_with_1_if_a_reader_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readers.READERS, "failing", f"{__name__}:FailingReader")
    arguments = ["compare-readers", "--clips", "16", "--questions", "1", "-o", str(tmp_path)]
    assert CliRunner().invoke(app, [*arguments, "--reader", "chroma"]).exit_code == 0
    failed = CliRunner().invoke(app, [*arguments, "--reader", "failing"])
    assert failed.exit_code == 1
    assert "household, 16 clips, failing: ZeroDivisionError: this one cannot" in failed.stdout


def test_an_unknown_reader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown reader 'chrom'"):
        run(SMALL._replace(readers=("chrom",)), tmp_path, print)
