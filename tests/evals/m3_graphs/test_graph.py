"""What a memory graph tells, and what is noticed where it is not as it should be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evals.m3_graphs.graph import read_graph
from linmem_langgraph.errors import UnsafeFile
from tests.evals.m3_graphs.pickles import graph, house, node, pickled


def test_texts_have_clip_vector_and_whom_they_are_about() -> None:
    found = read_graph(pickled(house()), "house")
    assert [(text.number, text.kind, text.clip, text.text, text.entities) for text in found.texts] == [
        (2, "episodic", 0, "<face_1> sits.", ("face_1",)),
        (3, "semantic", 0, "Equivalence: <face_1>, <voice_0>", ("face_1", "voice_0")),
        (4, "episodic", 1, "<voice_0> sings.", ("voice_0",)),
        (5, "episodic", 2, "It rains.", ()),
    ]
    assert found.entities == ("voice_0", "face_1")
    assert all(np.array_equal(text.vectors, [[0.6, 0.8]]) for text in found.texts)
    assert not found.noticed


@pytest.mark.parametrize("vector", [np.array([0.5, 0.25], "f4"), np.array([0.5, 0.25]), (0.5, 0.25)])
def test_a_vector_is_as_exact_as_it_was(vector: Any) -> None:
    made = graph([node(0, "episodic", "x", vectors=(vector,)), node(1, "episodic", "y", vectors=((0.1, 0.2),))])
    halves, tenths = (text.vectors for text in read_graph(pickled(made), "x").texts)
    assert (halves.tolist(), halves.dtype.name) == ([[0.5, 0.25]], "float32")
    assert (tenths.tolist(), tenths.dtype.name) == ([[0.1, 0.2]], "float64")


def changed(change: Callable[[Any], object]) -> Any:
    made = house()
    change(made)
    return made


@pytest.mark.parametrize(
    ("change", "noticed", "left"),
    [
        (lambda g: g.edges.update({(2, 99): 1.0}), "edges to nodes that are not there", 4),
        (lambda g: g.edges.update({"x": 1.0}), "edges to nodes that are not there", 4),
        (lambda g: g.edges.pop((0, 4)), "edges in one direction only, taken for both", 4),
        (lambda g: setattr(g.nodes[5], "type", "dream"), "nodes without a number and a known type", 3),
        (lambda g: g.nodes.update({"x": g.nodes[5]}), "nodes without a number and a known type", 4),
        (lambda g: setattr(g.nodes[5], "id", 7), "nodes that call themselves by another number, which is not used", 4),
        (lambda g: g.nodes[5].metadata.pop("timestamp"), "texts without clip", 3),
        (lambda g: g.nodes[5].metadata.update(timestamp=-1), "texts without clip", 3),
        (lambda g: g.nodes[5].metadata.update(timestamp=True), "texts without clip", 3),
        (lambda g: setattr(g.nodes[5], "metadata", []), "texts without clip", 3),
        (lambda g: g.nodes[5].metadata.update(contents=[]), "nodes without text", 3),
        (lambda g: g.nodes[5].metadata.update(contents=[" "]), "nodes without text", 3),
        (lambda g: g.nodes[5].metadata.update(contents=["x", 1]), "nodes without text", 3),
        (lambda g: setattr(g.nodes[5], "embeddings", []), "texts without vector", 3),
        (lambda g: setattr(g.nodes[5], "embeddings", None), "texts without vector", 3),
        (lambda g: setattr(g.nodes[5], "embeddings", [[float("nan"), 0.5]]), "texts without vector", 3),
        (lambda g: setattr(g.nodes[5], "embeddings", [[0.5], [0.5, 0.5]]), "texts without vector", 3),
        (
            lambda g: setattr(g.nodes[5], "embeddings", [[0.5]]),
            "texts whose vector has not the 2 dimensions of the others",
            3,
        ),
        (
            lambda g: g.text_nodes_by_clip.update({2: [4, 5]}),
            "clips that the graph lists with other texts, which is not used",
            4,
        ),
        (
            lambda g: g.nodes[2].metadata.update(timestamp=3),
            "texts of an earlier clip than the one before them, sorted by clip",
            4,
        ),
    ],
)
def test_what_is_odd_is_counted_and_the_rest_is_read(change: Callable[[Any], object], noticed: str, left: int) -> None:
    found = read_graph(pickled(changed(change)), "house")
    assert found.noticed[noticed] == 1
    assert len(found.texts) == left


@pytest.mark.parametrize(
    "change",
    [
        lambda g: delattr(g, "nodes"),
        lambda g: delattr(g, "edges"),
        lambda g: setattr(g, "edges", [(1, 2)]),
        lambda g: g.nodes.update({7: "node"}),
        lambda g: g.nodes.update({7: g}),
    ],
)
def test_what_is_no_graph_is_refused(change: Callable[[Any], object]) -> None:
    with pytest.raises(UnsafeFile, match="house is refused"):
        read_graph(pickled(changed(change)), "house")
    with pytest.raises(UnsafeFile, match="house is refused"):
        read_graph(pickled(house().nodes), "house")


def test_a_text_in_parts_is_read_as_lines_and_mended() -> None:
    made = changed(lambda g: g.nodes[5].metadata.update(contents=["It\x00rains.", "\ud800"]))
    assert read_graph(pickled(made), "house").texts[-1].text == "It\ufffdrains.\n?"
