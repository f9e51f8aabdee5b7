"""The benchmark of the delta reader: it runs and reports; how large its figures are is no matter here."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from evals.bench import delta, delta_timing
from evals.bench.delta_recall import Corpus, Recalls, Set, by_cosine, by_ridge, by_rule, difference, load, state_bytes
from evals.bench.timing import Ratio
from linmem_langgraph import DeltaReader, Memory, MemoryRecord
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.readers._delta.rules import LeastSquares

WORDS = ("anna", "bert", "mug", "red", "blue", "shelf", "kitchen", "garden", "letter", "boat", "rain", "violin")


def texts(number: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [f"{' '.join(rng.choice(WORDS, 4))} thing{place}" for place in range(number)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two conversations of 15 turns, a question about each."""
    rows = []
    for name in ("one", "two"):
        turns = [{"speaker": "A", "dia_id": f"D1:{n}", "text": text} for n, text in enumerate(texts(15))]
        asked = [
            {"question": turn["text"], "answer": "x", "evidence": [turn["dia_id"]], "category": 4} for turn in turns
        ]
        sessions = {"session_1": turns, "session_1_date_time": "1:56 pm on 8 May, 2023"}
        rows.append({"sample_id": name, "conversation": sessions, "qa": asked})
    file = tmp_path / "locomo.json"
    file.write_text(json.dumps(rows))
    return file


def corpus(number: int) -> Corpus:
    """Each record is asked for by its own text."""
    vectors = np.array(LexicalEmbeddings(64).embed_documents(texts(number)))
    return Corpus(vectors, vectors, [(place,) for place in range(number)])


def test_all_conversations_are_one_memory(data: Path) -> None:
    found = load(data, LexicalEmbeddings(64))
    assert found.records.shape == (30, 64)
    assert found.evidence == [(place,) for place in range(30)]
    assert found.first(20).evidence == found.evidence[:20]
    assert found.first(20).questions.shape == found.first(20).records.shape == (20, 64)


def test_what_is_asked_for_by_its_own_text_is_recalled() -> None:
    small = corpus(30)
    assert by_cosine(small) == by_ridge(small) == Recalls([1.0] * 30, [1.0])
    assert by_rule(small, [Set("least_squares", 64)], 2) == {Set("least_squares", 64): Recalls([1.0] * 30, [1.0, 1.0])}


def test_decoding_and_draws_make_a_difference() -> None:
    plain, decoded = Set("hebbian", 16, decoded=False), Set("hebbian", 16)
    once, twice = (by_rule(corpus(60), [plain, decoded], draws) for draws in (1, 2))
    assert twice[plain].mean < twice[decoded].mean
    assert set(once[decoded].questions) <= {0.0, 1.0}
    assert 0.5 in twice[decoded].questions
    assert once[decoded].draws == twice[decoded].draws[:1]
    assert once[decoded].spread == 0 < twice[decoded].spread
    assert twice[decoded].mean == pytest.approx(sum(twice[decoded].draws) / 2)


@pytest.mark.parametrize("rule", ["least_squares", "delta"])
def test_it_scores_as_the_reader_does(rule: str, tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory", "delta", rule=rule, embeddings=LexicalEmbeddings(64), values=16) as memory:
        given = [MemoryRecord(text=text, key=f"0:{place}", position=place) for place, text in enumerate(texts(60))]
        memory.write(("bench",), given)
        ours = by_rule(corpus(60), [Set(rule, 16)], 1)[Set(rule, 16)].questions
        for record, recall in zip(given, ours, strict=True):
            read = [hit.record.key for hit in memory.read(("bench",), record.text, limit=10).records]
            assert recall == float(record.key in read)
    assert 0 < sum(ours) < 60


def test_the_bytes_are_those_of_a_file(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory", "delta", embeddings=LexicalEmbeddings(64), values=16) as memory:
        assert isinstance(memory.reader, DeltaReader)
        memory.write(("bench",), "one")
        memory.flush()
        (file,) = (tmp_path / "memory" / "delta").glob("linmem-*.delta")
        assert 0 < file.stat().st_size - state_bytes(LeastSquares(), 16, 64) - 8 * 64 < 500


def test_a_difference_has_an_interval() -> None:
    found = difference(Recalls([1.0, 0.0, 1.0, 1.0] * 10, []), Recalls([0.0] * 40, []))
    assert found.mean == 0.75
    assert 0.5 < found.low < 0.75 < found.high < 1


def test_times_are_taken_of_the_same_products() -> None:
    for rule in ("least_squares", "delta"):
        side = delta_timing.Side(rule, 5)
        side.write(0, 5)
        assert side.state.count == 5
    assert delta_timing.writes("least_squares", 70, 1).ratio > 0
    assert delta_timing.reads("delta", 30, 1).ratio > 0


def test_it_measures_writes_and_reads() -> None:
    found = delta_timing.measure(1, many=65, records=20)
    assert [(each.rule, each.what) for each in found[:5]] == [
        ("least_squares", what) for what in ("write 1", "write 64", "write 1,000", "read of 20", "write 65")
    ]
    assert len(found) == 10


def test_the_command_prints_and_keeps_tables_and_plots(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed = delta_timing.Timed("delta", "write 7", Ratio(0.0012, 0.001, 1.21, 1.1, 1.3), 9, 1.3)
    monkeypatch.setattr(delta, "VALUES", (8, 16))
    monkeypatch.setattr(delta_timing, "measure", lambda repeats: [timed])
    out = tmp_path / "out"
    arguments = ["--data", str(data), "--embeddings", "lexical", "--draws", "1", "--repeats", "9", "--out", str(out)]
    assert command(monkeypatch, *arguments) == 0

    said = capsys.readouterr().out
    assert (out / "delta.md").read_text() in said
    rows = [line.split(" | ")[0].strip("| ") for line in said.splitlines() if line.startswith("|")]
    for rule in ("hebbian", "delta", "gated_delta", "delta_momentum", "least_squares"):
        assert rows.count(rule) == 3 + (rule == "delta")
    assert "| delta | write 7 | 1.20 | 1.00 | 1.21 | 1.10 to 1.30 | ≤ 1.3 | 9 |" in said
    for plot in ("delta_records.svg", "delta_bytes.svg"):
        drawn = (out / plot).read_text()
        assert all(name in drawn for name in ("exact cosine", "least_squares", "hebbian"))


def test_without_data_only_times_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delta_timing, "measure", lambda repeats: [])
    assert command(monkeypatch, "--out", str(tmp_path)) == 0
    assert "Recall" not in capsys.readouterr().out
    absent = "--data", str(tmp_path / "absent.json"), "--embeddings", "lexical"  # minilm is an extra
    assert command(monkeypatch, *absent, "--out", str(tmp_path)) == 2
    assert "absent.json" in capsys.readouterr().out


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["python -m evals.bench", "delta", *arguments])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("evals.bench", run_name="__main__", alter_sys=True)
    return int(left.value.code or 0)
