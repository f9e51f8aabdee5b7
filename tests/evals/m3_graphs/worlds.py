"""Memory graphs by hand: faces, and texts about them."""

from collections import Counter
from typing import Any

from evals.m3_graphs.convert import records
from evals.m3_graphs.graph import read_graph
from linmem_langgraph import MemoryRecord
from linmem_langgraph.embeddings import LexicalEmbeddings
from tests.evals.m3_graphs.pickles import graph, node, pickled

LEXICAL = LexicalEmbeddings()


def told(text: str) -> tuple[float, ...]:
    return tuple(LEXICAL.embed_query(text))


def world(texts: list[tuple[int, str, str, tuple[int, ...]]], people: int = 4) -> Any:
    """Faces, then texts of (clip, kind, text, whom it is about)."""
    nodes = [node(number, "img") for number in range(people)]
    nodes += [node(people + n, kind, text, clip, (told(text),)) for n, (clip, kind, text, _) in enumerate(texts)]
    return graph(nodes, [(people + n, face) for n, (*_, about) in enumerate(texts) for face in about])


def remembered(texts: list[Any]) -> list[MemoryRecord]:
    return records(read_graph(pickled(world(texts)), "graph"), Counter())
