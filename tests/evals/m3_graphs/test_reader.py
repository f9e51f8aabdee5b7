"""M3-Agent's search as a reader: recorded cases, and the laws behind them."""

import json
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from evals.cli import main
from evals.config import ReaderConfig, load_config
from evals.m3_graphs.convert import import_graphs
from evals.m3_graphs.parity import DEVIATIONS, check
from evals.m3_graphs.reader import Found, GraphReader, variants
from evals.m3_graphs.vectors import StoredVectors
from evals.readers import configured_reader
from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.log import Log
from linmem_langgraph.readers import Query
from linmem_langgraph.readers.chroma import ChromaReader
from tests.evals.m3_graphs.pickles import pickled
from tests.evals.m3_graphs.worlds import LEXICAL, remembered, told, world
from tests.evals.support import ROOT, shared

HOUSE = [
    (0, "episodic", "<face_0> puts the red mug on the shelf.", (0,)),
    (0, "semantic", "The kitchen is small.", ()),
    (1, "episodic", "<face_1> reads a book.", (1,)),
    (2, "semantic", "Equivalence: <face_0>, <face_2>", (0, 2)),
    (2, "episodic", "<face_2> takes the red mug.", (2,)),
    (3, "episodic", "<face_1> washes the red mug.", (1,)),
]


def search(known: list[MemoryRecord], query: Query, **options: Any) -> Found:
    log = Log(InMemoryStore(), ("graph",))
    log.write(known)
    with closing(GraphReader(ChromaReader(embeddings=LEXICAL), **{"threshold": 0.1, **options})) as reader:
        return reader.find(log, query)


def found(text: str, *, limit: int | None = None, seen: Any = (), **options: Any) -> Found:
    return search(remembered(HOUSE), Query(text=text, limit=limit, exclude=frozenset(seen)), **options)


def texts(result: Found) -> list[str]:
    return [hit.record.text for hit in result.shown]


def test_the_recorded_cases_come_out_the_same_or_deviate_for_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared("m3_parity")
    cases = {case.name: case for case in check(folder)}
    recorded = {
        each["case"]["name"]: each["exact"] for each in json.loads((folder / "cases.json").read_text())["cases"]
    }
    assert cases.keys() == recorded.keys()
    assert {case.name for case in cases.values() if case.outcome == "differs"} == set()
    deviating = {case.name for case in cases.values() if case.outcome == "deviates"}
    assert deviating <= DEVIATIONS.keys()
    assert all(not recorded[name] for name in deviating)


def test_a_case_that_differs_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared("m3_parity")
    document = json.loads((source / "cases.json").read_text())
    right, wrong = document["cases"][0], json.loads(json.dumps(document["cases"][1]))
    wrong["expected"]["memories"]["CLIP_0"].reverse()
    for name in ("kitchen_99.pkl", "hash_embedding.py"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    monkeypatch.setattr("sys.argv", ["evals", "check-parity", str(tmp_path)])
    for cases, status, said in (([right], 0, "1 cases: 1 same"), ([right, wrong], 1, "2 cases: 1 same, 1 differs")):
        (tmp_path / "cases.json").write_text(json.dumps({**document, "cases": cases}))
        with pytest.raises(SystemExit) as done:
            main()
        assert (done.value.code or 0, said in capsys.readouterr().out) == (status, True)
    (tmp_path / "cases.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no recording"):
        check(tmp_path)


def test_a_clip_is_shown_whole_and_names_characters() -> None:
    result = found("red mug shelf", limit=1)
    assert result.clips == (0,)
    assert texts(result) == ["<character_0> puts the red mug on the shelf.", "The kitchen is small."]
    assert texts(found("red mug shelf", limit=1, episodic_only=True)) == texts(result)[:1]


def test_who_is_named_is_searched_by_every_face_among_the_texts_about_them() -> None:
    assert found("<character_0> red mug", limit=5).clips == (2, 0)
    assert found("<face_1> red mug", limit=5).clips == (3, 1)
    assert found("<face_0> red mug", limit=5).clips == (0, 2)
    assert found("<face_3> red mug", limit=5).clips == ()
    assert set(found("<face_9> red mug", limit=5).clips) >= {0, 2, 3}


def test_what_was_seen_takes_its_place_among_the_best() -> None:
    first = found("red mug", limit=2)
    keys = [hit.record.key for hit in first.shown]
    assert found("red mug", limit=2, seen=keys).clips == ()
    assert found("red mug", limit=2, seen=first.clips[:1]).clips == first.clips[1:]
    assert found("red mug", limit=2, seen=keys[:1]).clips in (first.clips, first.clips[1:])


def test_neighbours_of_what_is_found_are_shown_unless_they_were_seen() -> None:
    assert found("reads a book", limit=1, neighbours=1).clips == (1, 0, 2)
    assert found("reads a book", limit=1, neighbours=1, seen=(0,)).clips == (1, 2)
    both = found("red mug", limit=2, neighbours=5)
    assert [hit.record.position for hit in both.shown] == [0, 0, 1, 2, 3]
    assert {hit.record.position for hit in both.shown if hit.score is None} == {0, 1, 2, 3} - set(both.clips[:2])
    reader = search(remembered(HOUSE), Query(text="reads a book", limit=1, until=1), neighbours=1)
    assert reader.clips == (1, 0)


def test_what_was_written_otherwise_is_found_after_nodes_that_are_as_near() -> None:
    twin = MemoryRecord(text="<face_1> reads a book.", position=0, key="written by hand")
    result = search([*remembered(HOUSE), twin], Query(text="reads a book", limit=2))
    assert result.clips == (1, 0)
    assert texts(result)[-1] == "<character_1> reads a book."
    assert texts(result).count("<character_1> reads a book.") == 2


@pytest.mark.parametrize("text", ["red mug shelf kitchen", "character id red mug shelf kitchen"])
def test_a_filter_bounds_what_is_shown(text: str) -> None:
    for kind in ("semantic", "episodic"):
        query = Query(text=text, limit=5, filter={"kind": kind})
        shown = search(remembered(HOUSE), query, neighbours=1).shown
        assert {hit.record.kind for hit in shown} == {kind}


def test_texts_are_found_one_by_one_for_a_character_id_whatever_was_seen() -> None:
    result = found("character id of the red mug", limit=2, seen=(0, 1, 2, 3))
    assert (result.clips, len(result.shown)) == ((), 2)
    assert all("red mug" in text for text in texts(result))
    assert len(found("character id", limit=20).shown) == 5
    assert "Equivalence" not in str(texts(found("character id", limit=20)))


@given(st.integers(0, 10**6), st.integers(0, 6))
@settings(max_examples=25, deadline=None)
def test_what_comes_after_until_changes_nothing(seed: int, until: int) -> None:
    rng = Random(seed)
    things = ("red mug", "book", "blue coat", "key")
    house = list[tuple[int, str, str, tuple[int, ...]]]()
    for clip in sorted(rng.randrange(8) for _ in range(12)):
        one, other = rng.sample(range(4), 2)
        if rng.random() < 0.3:
            house.append((clip, "semantic", f"Equivalence: <face_{one}>, <face_{other}>", (one, other)))
        else:
            house.append((clip, "episodic", f"<face_{one}> takes the {rng.choice(things)}.", (one,)))
    known = remembered(house)
    early = [record for record in known if (record.position or 0) <= until]
    query = Query(text=f"<character_{rng.randrange(3)}> {rng.choice(things)}", limit=rng.randint(1, 4))
    assert search(known, query.model_copy(update={"until": until})) == search(early, query)


def test_a_query_has_a_hundred_variants_at_most() -> None:
    cast = {f"character_{n}": tuple(f"face_{10 * n + k}" for k in range(5)) for n in range(4)}
    assert variants("<character_1> and <character_1>", cast) == [f"<face_{n}> and <face_{n}>" for n in range(10, 15)]
    assert len(set(variants("<character_0> <character_1> <character_2> <character_3>", cast))) == 100
    assert variants("<character_9> <face_1> character_0", cast) == ["<character_9> <face_1> character_0"]


def test_a_run_reads_imported_graphs_with_their_vectors(tmp_path: Path) -> None:
    (tmp_path / "home.pkl").write_bytes(pickled(world(HOUSE)))
    import_graphs(tmp_path / "home.pkl", tmp_path, lambda done, total: None)
    options = {"vectors": str(tmp_path), "embeddings": "lexical", "threshold": 0.1}
    lines = (tmp_path / "memories" / "home.jsonl").read_text().splitlines()
    from linmem_langgraph import MemoryRecord

    with Memory(
        configured_reader(ReaderConfig(name="m3_graph", options=options), tmp_path), store=InMemoryStore()
    ) as memory:
        memory.write(("home",), [MemoryRecord(**json.loads(line)) for line in lines])
        reading = memory.read(("home",), "Who has the red mug?", limit=1, until=1)
        assert reading.text == "[0] <character_0> puts the red mug on the shelf.\n[0] The kitchen is small."
        memory.write(("home",), "A text without vector.")
        with pytest.raises(ReaderUnavailable, match="has no vector of 'A text without vector"):
            memory.flush()
    stored = StoredVectors(tmp_path)
    for _, _, text, _ in HOUSE:
        assert np.allclose(stored(text), told(text), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "vectors is None"),
        ({"vectors": "nowhere"}, "vectors is 'nowhere'"),
        ({"vectors": ".", "clip": 3}, "unknown option 'clip'"),
        ({"vectors": ".", "embeddings": "default"}, "embeddings is 'default'"),
    ],
)
def test_a_wrong_setup_is_named(
    options: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vectors").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        configured_reader(ReaderConfig(name="m3_graph", options=options), tmp_path)


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "m3_bench").rglob("*.yaml")), ids=lambda file: file.stem)
def test_the_configs_are_understood(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(file)
    (tmp_path / "vectors").mkdir()
    here = {"vectors": str(tmp_path), "embeddings": "lexical"}
    options = {name: here.get(name, value) for name, value in config.reader.options.items()}
    configured_reader(ReaderConfig(name=config.reader.name, options=options), tmp_path).close()
