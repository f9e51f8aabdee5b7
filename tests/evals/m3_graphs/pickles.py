"""Memory graphs as M3-Agent pickles them: classes of its names, and some that mean harm."""

import pickle
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch


class VideoGraph:
    """Only its name counts."""

    class Node:
        """Only its name counts."""


VideoGraph.__module__ = VideoGraph.Node.__module__ = "mmagent.videograph"


@contextmanager
def known() -> Iterator[None]:
    """`pickle` finds the classes meanwhile."""
    package, module = ModuleType("mmagent"), ModuleType("mmagent.videograph")
    module.VideoGraph = VideoGraph  # type: ignore[attr-defined]
    with patch.dict(sys.modules, {"mmagent": package, "mmagent.videograph": module}):
        yield


def node(number: int, kind: str, text: str = "", clip: int = 0, vectors: Any = ((0.6, 0.8),)) -> Any:
    """A node as the reference makes it."""
    made: Any = VideoGraph.Node()
    made.id, made.type = number, kind
    made.embeddings = [list(vector) if isinstance(vector, tuple) else vector for vector in vectors]
    made.metadata = {"contents": [text], "timestamp": clip} if kind in ("episodic", "semantic") else {"contents": []}
    return made


def graph(nodes: Iterable[Any], edges: Iterable[tuple[int, int]] = ()) -> Any:
    """A graph of nodes, each edge in both directions."""
    made: Any = VideoGraph()
    made.nodes = {each.id: each for each in nodes}
    made.edges = {way: 1.0 for one, other in edges for way in ((one, other), (other, one))}
    texts = [each for each in made.nodes.values() if each.type in ("episodic", "semantic")]
    made.text_nodes = [each.id for each in texts]
    made.text_nodes_by_clip = {}
    for each in texts:
        made.text_nodes_by_clip.setdefault(each.metadata["timestamp"], []).append(each.id)
    return made


def house() -> Any:
    """A small graph of two people in three clips."""
    return graph(
        [
            node(0, "voice", vectors=((1.0,) * 3,)),
            node(1, "img", vectors=((1.0,) * 5,)),
            node(2, "episodic", "<face_1> sits.", 0),
            node(3, "semantic", "Equivalence: <face_1>, <voice_0>", 0),
            node(4, "episodic", "<voice_0> sings.", 1),
            node(5, "episodic", "It rains.", 2),
        ],
        [(2, 1), (3, 1), (3, 0), (4, 0)],
    )


def pickled(value: Any, protocol: int = 4) -> bytes:
    """The content of the file."""
    with known():
        return pickle.dumps(value, protocol)


class Harm:
    """Something that `pickle.loads` would call."""

    called: ClassVar[list[str]] = []

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced
