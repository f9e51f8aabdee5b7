"""A memory graph: what it tells of each clip, with vectors, and who is in it.

Of M3-Agent's graphs only this is kept. Faces' pictures and the vectors of faces and voices serve to recognise people
while a graph is made; a question is answered from texts.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np

from evals.m3_graphs.pickled import GRAPH, NODE, Made, values
from linmem_langgraph.errors import UnsafeFile
from linmem_langgraph.records import MAX_POSITION

ENTITIES = {"img": "face", "voice": "voice"}
"""Types of nodes that are somebody, and what they are called in texts: `<face_3>`."""

TEXTS = ("episodic", "semantic")
"""Types of nodes that tell something."""


class TextNode(NamedTuple):
    """What is told of a clip.

    Args:
        kind: "episodic" (what happened) or "semantic" (what holds).
        vectors: (vectors, dimensions), mostly one.
        entities: who it is about: `face_3`, `voice_0`; its neighbours in the graph, in their order.
    """

    number: int
    kind: str
    clip: int
    text: str
    vectors: np.ndarray
    entities: tuple[str, ...]


class Graph(NamedTuple):
    """The memory of a video.

    Args:
        texts: in the order of the graph's nodes, which is that in which they were made.
        entities: all faces and voices, in the order of the graph.
        noticed: what was not as it should be, and how often; it was left out, unless it says otherwise.
    """

    texts: tuple[TextNode, ...]
    entities: tuple[str, ...]
    noticed: Mapping[str, int]


def read_graph(content: bytes, file: str) -> Graph:
    """The graph that is pickled.

    Args:
        file: what it is called in messages.

    Raises:
        UnsafeFile: it is no memory graph, or one that would not fit into memory.
    """
    return _Checked(content, file).graph()


class _Checked:
    def __init__(self, content: bytes, file: str) -> None:
        self._file, self._noticed = file, Counter[str]()
        made = values(content, file)
        self._fields = self._fields_of(made, GRAPH, "it")
        # What is written once can be meant many times; no more is taken than the file can have written.
        self._left = len(content)

    def graph(self) -> Graph:
        nodes = self._nodes()
        names = {number: f"{ENTITIES[kind]}_{number}" for number, (kind, _) in nodes.items() if kind in ENTITIES}
        near = self._neighbours(nodes)
        texts = [
            text
            for number, (kind, _) in nodes.items()
            if kind in TEXTS and (text := self._text(number, *nodes[number], near.get(number, []), names)) is not None
        ]
        sizes = Counter(text.vectors.shape[1] for text in texts)
        if len(sizes) > 1:
            usual = max(sizes, key=sizes.__getitem__)
            self._noticed[f"texts whose vector has not the {usual} dimensions of the others"] = sum(
                count for size, count in sizes.items() if size != usual
            )
            texts = [text for text in texts if text.vectors.shape[1] == usual]
        self._compare_lists(texts)
        return Graph(
            tuple(texts), tuple(names.values()), {what: count for what, count in self._noticed.items() if count}
        )

    def _nodes(self) -> dict[int, tuple[str, dict[str, Any]]]:
        """Their types and fields by number."""
        found = self._fields.get("nodes")
        if not isinstance(found, dict):
            self._refuse("it has no dict of nodes")
        nodes = {}
        for number, made in found.items():
            fields = self._fields_of(made, NODE, f"node {number!r}")
            kind = fields.get("type")
            if type(number) is not int or not 0 <= number <= MAX_POSITION or kind not in (*ENTITIES, *TEXTS):
                self._noticed["nodes without a number and a known type"] += 1
                continue
            self._noticed["nodes that call themselves by another number, which is not used"] += (
                fields.get("id") != number
            )
            nodes[number] = (kind, fields)
        return nodes

    def _neighbours(self, nodes: Mapping[int, object]) -> dict[int, list[int]]:
        """Of each node, in the order of the graph's edges."""
        found, near = self._fields.get("edges"), dict[int, list[int]]()
        if not isinstance(found, dict):
            self._refuse("it has no dict of edges")
        for edge in found:
            if not isinstance(edge, tuple) or len(edge) != 2 or not all(number in nodes for number in edge):
                self._noticed["edges to nodes that are not there"] += 1
            else:
                near.setdefault(edge[0], []).append(edge[1])
                if (edge[1], edge[0]) not in found:
                    self._noticed["edges in one direction only, taken for both"] += 1
                    near.setdefault(edge[1], []).append(edge[0])
        return near

    def _compare_lists(self, texts: list[TextNode]) -> None:
        """Say where the graph's own list of texts by clip is another."""
        lists = self._fields.get("text_nodes_by_clip")
        own: dict[int, list[int]] = {}
        for text in texts:
            own.setdefault(text.clip, []).append(text.number)
        clips = [text.clip for text in texts]
        self._noticed["clips that the graph lists with other texts, which is not used"] = (
            sum(not _is_list(lists.get(clip), numbers) for clip, numbers in own.items())
            if isinstance(lists, dict)
            else len(own)
        )
        self._noticed["texts of an earlier clip than the one before them, sorted by clip"] = sum(
            later < before for before, later in pairwise(clips)
        )

    def _text(
        self, number: int, kind: str, fields: Mapping[str, Any], near: list[int], names: Mapping[int, str]
    ) -> TextNode | None:
        metadata = fields.get("metadata")
        contents = metadata.get("contents") if isinstance(metadata, dict) else None
        clip = metadata.get("timestamp") if isinstance(metadata, dict) else None
        if type(clip) is not int or not 0 <= clip <= MAX_POSITION:
            self._noticed["texts without clip"] += 1
            return None
        self._take(len(contents) if isinstance(contents, list) else 0)
        if not isinstance(contents, list) or not contents or not all(isinstance(part, str) for part in contents):
            self._noticed["nodes without text"] += 1
            return None
        self._take(sum(map(len, contents)))
        text = "\n".join(contents).encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
        if not text.strip():
            self._noticed["nodes without text"] += 1
            return None
        vectors = self._vectors(fields.get("embeddings"))
        if vectors is None:
            self._noticed["texts without vector"] += 1
            return None
        self._take(len(near))
        entities = tuple(dict.fromkeys(names[each] for each in near if each in names))
        return TextNode(number, kind, clip, text, vectors, entities)

    def _vectors(self, found: Any) -> np.ndarray | None:
        if not isinstance(found, list):
            return None
        self._take(len(found))
        rows = [self._numbers(row) for row in found]
        good = [row for row in rows if row is not None]
        if not good or len({len(row) for row in good}) > 1 or not all(np.isfinite(row).all() for row in good):
            return None
        stacked = np.stack(good)
        with np.errstate(over="ignore"):
            narrow = stacked.astype(np.float32)
        return narrow if (narrow == stacked).all() else stacked

    def _numbers(self, row: Any) -> np.ndarray | None:
        """A vector that is an array, or a list of numbers, which may be arrays themselves where many follow."""
        if isinstance(row, Made):
            row = row.fields
        if isinstance(row, np.ndarray):
            self._take(row.size)
            return row.ravel() if row.size and row.dtype.kind == "f" else None
        if not isinstance(row, list) or not row:
            return None
        self._take(len(row))
        if not all(type(part) in (float, np.ndarray) for part in row):
            return None
        self._take(sum(part.size for part in row if isinstance(part, np.ndarray)))
        return np.concatenate([np.atleast_1d(np.asarray(part, np.float64)) for part in row])

    def _fields_of(self, made: Any, name: str, what: str) -> dict[str, Any]:
        if not isinstance(made, Made) or made.of.name != name or not isinstance(made.fields, dict):
            self._refuse(f"{what:.40} is no {name}")
        return made.fields

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            self._refuse("it means the same parts so often that it would be larger than its file")

    def _refuse(self, why: str) -> NoReturn:
        raise UnsafeFile(f"{self._file} is refused: {why}")


def _is_list(found: Any, numbers: list[int]) -> bool:
    return (
        isinstance(found, list)
        and len(found) == len(numbers)
        and all(type(one) is int and one == number for one, number in zip(found, numbers, strict=True))
    )
