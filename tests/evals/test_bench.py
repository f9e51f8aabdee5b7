"""The benchmark of performance: it runs and prints ratios; how large they are is no matter here."""

import runpy
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evals.bench import agents, chroma, conversations
from evals.bench.timing import Ratio, compare


def test_it_measures_writes_and_reads() -> None:
    found = chroma.measure(300, 3)

    assert [*found] == ["fill 300 in batches of 100", "write 1", "write 1, acknowledged", "read 10 of it"]
    for ratio in found.values():
        assert ratio.ours > 0
        assert ratio.theirs > 0
        assert 0 < ratio.low <= ratio.ratio <= ratio.high


def test_it_prints_a_row_a_measure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = Ratio(0.0012, 0.001, 1.2, 1.1, 1.3)
    monkeypatch.setattr(chroma, "measure", lambda size, repeats: {f"fill {size}": fixed, "read": fixed})

    chroma.main((1_000, 10_000), repeats=5)

    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if "1.10 to 1.30" in line]
    assert len(lines) == 4
    assert all(figure in line for line in lines for figure in ("1.20", "1.00"))
    assert "10,000" in said


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["python -m evals.bench", *arguments])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("evals.bench", run_name="__main__", alter_sys=True)
    return int(left.value.code or 0)


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []
    monkeypatch.setattr(chroma, "main", lambda repeats: asked.append(repeats))

    assert command(monkeypatch, "chroma", "--repeats", "7") == 0
    assert command(monkeypatch, "chroma") == 0
    assert command(monkeypatch, "--help") == 0

    assert asked == [7, 200]
    assert "chroma" in capsys.readouterr().out


def test_both_sides_hold_the_same() -> None:
    with chroma.both_sides(20) as sides:
        sides.write(range(10))
        sides.add(range(10))

        ours = {record.key: (record.text, record.position) for record in sides.memory.records(chroma.NAMESPACE)}
        theirs = sides._collection.get(include=["documents", "metadatas"])

        assert ours == {
            key: (text, metadata["position"])
            for key, text, metadata in zip(theirs["ids"], theirs["documents"], theirs["metadatas"], strict=True)
        }
        assert len(ours) == 10
        sides.read(3)
        sides.query(3)


def test_both_sides_find_the_same() -> None:
    with chroma.both_sides(60) as sides:
        sides.write(range(50))
        sides.add(range(50))
        vector = sides._embeddings.embed_query(chroma.text(7))

        ours = [hit.record.key for hit in sides.memory.read(chroma.NAMESPACE, chroma.text(7), limit=10).records]
        theirs = sides._collection.query(query_embeddings=[vector], n_results=10)["ids"][0]

        assert ours == theirs
        assert ours[0] == "7"


def test_vectors_are_units_and_the_same_every_time() -> None:
    vectors = np.array(chroma.TableEmbeddings(30).vectors)

    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.array_equal(vectors, np.array(chroma.TableEmbeddings(30).vectors))
    assert chroma.TableEmbeddings(30).embed_documents([chroma.text(4)]) == [vectors[4].tolist()]


def noting(calls: list[tuple[str, int]], who: str) -> Callable[[int], None]:
    return lambda run: calls.append((who, run))


def test_sides_take_turns_and_the_first_run_is_not_counted() -> None:
    calls: list[tuple[str, int]] = []

    compare(noting(calls, "ours"), noting(calls, "theirs"), 3, after=lambda: calls.append(("after", -1)))

    assert [call for call in calls if call[0] != "after"] == [
        *(("theirs", 0), ("ours", 0)),
        *(("ours", 1), ("theirs", 1)),
        *(("theirs", 2), ("ours", 2)),
        *(("ours", 3), ("theirs", 3)),
    ]
    assert calls[1::2] == [("after", -1)] * 8


def test_the_ratio_is_the_median_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("evals.bench.timing.time.perf_counter", lambda: clock[0])
    costs = {"ours": [100.0, 3.0, 8.0, 1.0], "theirs": [1.0, 1.0, 2.0, 2.0]}

    def side(name: str) -> Callable[[int], None]:
        def act(run: int) -> None:
            clock[0] += costs[name][run]

        return act

    def idle() -> None:
        clock[0] += 1000

    found = compare(side("ours"), side("theirs"), 3, after=idle)

    assert (found.ours, found.theirs) == (3, 2)
    assert (found.low, found.ratio, found.high) == tuple(statistics.quantiles([3, 4, 0.5], n=4))


def test_one_run_is_enough_for_a_ratio() -> None:
    assert compare(lambda run: None, lambda run: None, 1).ratio > 0


def test_the_loop_and_the_middleware_are_measured() -> None:
    loops, turn = agents.loops(2), agents.middleware(2)

    assert set(loops) == {"an agent of create_agent", "the turns in plain Python"}
    assert all(ratio.ours > 0 and ratio.theirs > 0 for ratio in loops.values())
    assert all(each > 0 for each in turn.values())


def test_conversations_at_once_lose_double_and_mix_up_nothing(tmp_path: Path) -> None:
    found = conversations.run(6, 3, tmp_path / "memory")
    assert (found.errors, found.lost, found.doubled, found.foreign) == ([], 0, 0, 0)
    assert found.turns == len(found.writes) == len(found.reads) == 18


def test_what_another_users_conversation_would_have_shown_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conversations, "USERS", ("users", "user-0"))
    found = conversations.run(2, 2, tmp_path / "memory")
    assert found.foreign > 0
    assert found.lost > 0
    monkeypatch.undo()
    assert command(monkeypatch, "conversations", "--conversations", "2", "--turns", "2") == 0
    said = capsys.readouterr().out
    assert all(row in said for row in ("write, ms: p50 / p95", "turns a second", "doubled", "another user's"))
