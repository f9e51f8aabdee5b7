"""Graphs become memories and vectors; one that is refused leaves nothing and stops nothing."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from evals.benchmarks import load_benchmark
from evals.cli import main
from evals.m3_graphs import convert
from evals.m3_graphs.convert import import_graphs
from evals.m3_graphs.graph import read_graph
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MAX_TEXT
from tests.evals.m3_graphs.pickles import Harm, graph, house, node, pickled
from tests.evals.support import shared


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def archive(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return file


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def test_a_graph_becomes_records_and_vectors(tmp_path: Path) -> None:
    (tmp_path / "home.pkl").write_bytes(pickled(house()))
    (found,) = import_graphs(tmp_path / "home.pkl", tmp_path / "out", quiet)
    assert (found.video, found.texts, found.clips, found.dimensions, found.refused) == ("home", 4, 3, 2, None)
    both = ["face_1", "voice_0"]
    assert rows(tmp_path / "out" / "memories" / "home.jsonl") == [
        {
            "text": "<face_1> sits.",
            "position": 0,
            "key": "node_2",
            "metadata": {"entities": ["face_1"], "appears": ["voice_0", "face_1"]},
        },
        {
            "text": "Equivalence: <face_1>, <voice_0>",
            "position": 0,
            "key": "node_3",
            "kind": "equivalence",
            "metadata": {"entities": both},
        },
        {"text": "<voice_0> sings.", "position": 1, "key": "node_4", "metadata": {"entities": ["voice_0"]}},
        {"text": "It rains.", "position": 2, "key": "node_5"},
    ]
    with np.load(tmp_path / "out" / "vectors" / "home.npz") as stored:
        assert stored["nodes"].tolist() == [2, 3, 4, 5]
        assert stored["vectors"].tolist() == [[0.6, 0.8]] * 4


def test_somebody_appears_where_a_text_is_first_about_them_or_the_next_text_belongs(tmp_path: Path) -> None:
    made = graph(
        [
            *(node(number, "img") for number in (0, 1, 2)),
            node(3, "episodic", "Late.", 4),
            node(4, "voice"),
            node(5, "episodic", "Early.", 1),
            node(6, "img"),
        ],
        [(3, 0), (5, 0), (3, 1)],
    )
    (tmp_path / "home.pkl").write_bytes(pickled(made))
    import_graphs(tmp_path, tmp_path, quiet)
    early, late = rows(tmp_path / "memories" / "home.jsonl")
    assert early["metadata"] == {"entities": ["face_0"], "appears": ["face_0", "voice_4"]}
    assert late["metadata"] == {"entities": ["face_0", "face_1"], "appears": ["face_1", "face_2", "face_6"]}


def test_folders_and_archives_are_read_and_what_is_refused_stops_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "graphs", tmp_path / "out"
    (source / "web").mkdir(parents=True)
    (source / "web" / "-abc.pkl").write_bytes(pickled(house()))
    (source / "notes.txt").write_text("no graph")
    bad = {"bad": pickled(Harm(os.system, "true")), "empty": pickled(graph([])), "cut": pickled(house())[:-9]}
    archive(
        source / "robot.tar.gz",
        {"robot/good.pkl": pickled(house()), "../../evil.pkl": pickled(house()), "robot/readme.md": b"no graph"}
        | {f"robot/{name}.pkl": content for name, content in bad.items()},
    )
    found = {graph.video: graph for graph in import_graphs(source, out, quiet)}
    assert {name for name, graph in found.items() if graph.refused is None} == {"-abc", "good", "evil"}
    assert all(f"{name}" in str(found[name].refused) for name in bad)
    assert {file.relative_to(tmp_path).as_posix() for file in out.rglob("*.*")} == {
        f"out/{place}"
        for name in ("-abc", "good", "evil")
        for place in (f"memories/{name}.jsonl", f"vectors/{name}.npz")
    }


def test_one_name_for_two_graphs_or_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has neither \.pkl nor"):
        import_graphs(tmp_path, tmp_path, quiet)
    with pytest.raises(ConfigError, match="cannot read"):
        import_graphs(tmp_path / "gone.pkl", tmp_path, quiet)
    for subset in ("robot", "web"):
        (tmp_path / subset).mkdir()
        (tmp_path / subset / "home.pkl").write_bytes(pickled(house()))
    with pytest.raises(ConfigError, match="another graph of the video 'home'"):
        import_graphs(tmp_path, tmp_path / "out", quiet)
    content = archive(tmp_path / "cut.tar.gz", {"home.pkl": os.urandom(10**5)}).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match="cannot read"):
        import_graphs(tmp_path / "cut.tar.gz", tmp_path / "out", quiet)


def test_what_is_too_large_is_refused_or_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home.pkl").write_bytes(pickled(graph([node(0, "episodic", "x" * (MAX_TEXT + 5))])))
    (found,) = import_graphs(tmp_path / "home.pkl", tmp_path, quiet)
    assert found.noticed == {"texts cut to 100,000 characters": 1}
    crowd = [*(node(number, "img") for number in range(20_000)), node(20_000, "episodic", "A crowd.")]
    (tmp_path / "home.pkl").write_bytes(pickled(graph(crowd)))
    (found,) = import_graphs(tmp_path / "home.pkl", tmp_path, quiet)
    assert "node 20000 is refused" in str(found.refused)
    monkeypatch.setattr(convert, "MAX_BYTES", 100)
    (found,) = import_graphs(tmp_path / "home.pkl", tmp_path, quiet)
    assert "graphs of at most 100 are read" in str(found.refused)


def test_the_recorded_graphs_are_imported_whole() -> None:
    source = shared("m3_parity")
    for file, texts in (("kitchen_99", 22), ("outoforder_99", 6)):
        graph = read_graph((source / f"{file}.pkl").read_bytes(), file)
        assert (len(graph.texts), {text.vectors.shape for text in graph.texts}) == (texts, {(1, 256)})


def test_the_command_imports_for_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {"question": "Who sits?", "answer": "Anna", "question_id": "q1", "type": [], "before_clip": 1}
    (tmp_path / "robot.json").write_text(json.dumps({"home": {"qa_list": [question]}}))
    (tmp_path / "home.pkl").write_bytes(pickled(house()))
    monkeypatch.setattr("sys.argv", ["evals", "import-graphs", str(tmp_path), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code in (0, None)
    assert "1 graphs, 4 texts" in capsys.readouterr().out
    assert len(load_benchmark("m3_bench", tmp_path).memories["home"]) == 4
    (tmp_path / "bad.pkl").write_bytes(b"no pickle")
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert "1 of 2 graphs were refused. bad.pkl: bad is refused" in capsys.readouterr().err
