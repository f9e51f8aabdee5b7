"""Compare with what M3-Agent was recorded to do: `python -m evals check-parity DIR`.

DIR has pickled graphs, `cases.json`, and `hash_embedding.py`, the embedding they were recorded with, which is run: name
only a folder whose code you trust. The graphs are read as any others are.
"""

import runpy
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

from langchain_core.embeddings import Embeddings
from langgraph.store.memory import InMemoryStore

from evals.benchmarks.checked import read_bytes, read_json
from evals.m3_graphs.convert import records
from evals.m3_graphs.entities import characters
from evals.m3_graphs.graph import read_graph
from evals.m3_graphs.reader import NODE_WISE, Found, GraphReader, variants
from evals.m3_graphs.vectors import StoredEmbeddings
from graphs.protocol import parse_turn, render_knowledge
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.log import Log
from linmem_langgraph.readers import Query
from linmem_langgraph.readers.chroma import ChromaReader

NEAR = 1e-4
"""How far scores may be apart: `ChromaReader` rounds them."""

DEVIATIONS = {
    "clip_x_in_query_is_dead_code": "a clip's number in a query is a word of it, as in the reference",
    "before_clip_on_textless_clip_no_truncation": "until bounds who is who too, where the reference cuts nothing",
    "prefix_collision_translate": "tags are replaced as a whole",
    "ooo_truncate_dangling": "until goes by clips, where the reference cuts by numbers of nodes",
    "ooo_truncate_loses_earlier_clips": "until goes by clips, where the reference cuts by numbers of nodes",
    "unparsable": "an unreadable turn costs a round, and is counted as unreadable",
    "empty_content": "a turn without content cannot be read",
    "lowercase_answer_is_search": "what clearly is an answer is one",
    "no_brackets": "what clearly is an answer is one",
    "markdown_bold_unparsable": "what clearly is an answer is one",
    "greedy_two_blocks": "of several blocks the last one counts",
    "greedy_bracket_in_content": "markers within the content are content",
    "think_unclosed_is_parsed": "a thought that never ends decides nothing",
    "two_think_closers": "everything up to the last closer is thought",
    "finished_is_noop": "a loop that has answered takes no further turn, so none is read",
}
"""Why a case that is not `exact` may come out in another way."""

Outcome = Literal["same", "deviates", "differs"]


class Case(NamedTuple):
    """One recorded case.

    Args:
        outcome: "deviates" where the reference errs and this does not; "differs" is a fault.
        why: what is different.
    """

    name: str
    outcome: Outcome
    why: str = ""


class _Hashed(Embeddings):
    def __init__(self, embed: Callable[[str], list[float]]) -> None:
        self._embed = embed

    def embed_query(self, text: str) -> list[float]:
        return self._embed(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return list(map(self._embed, texts))


def check(folder: Path) -> list[Case]:
    """Every recorded case.

    Raises:
        ConfigError: the folder is not laid out as a recording.
        UnsafeFile: a graph is refused.
    """
    document = read_json(folder / "cases.json")
    try:
        queries = _Hashed(runpy.run_path(str(folder / document["embedding"]["module"]))["embed"])
        cases, settings = document["cases"], document["config"]
        with ExitStack() as stack:
            graphs = {
                name: (log, stack.enter_context(closing(reader)))
                for name in dict.fromkeys(case["case"]["graph"] for case in cases)
                for log, reader in [_log(folder, name, queries)]
            }
            return [_checked(case, *graphs[case["case"]["graph"]], settings) for case in cases]
    except (KeyError, TypeError, OSError, SyntaxError) as exc:
        raise ConfigError(f"{folder} is no recording of M3-Agent ({type(exc).__name__}: {exc})") from exc


def _log(folder: Path, name: str, queries: Embeddings) -> tuple[Log, ChromaReader]:
    file = folder / f"{name}.pkl"
    graph = read_graph(read_bytes(file), file.name)
    log = Log(InMemoryStore(), ("parity", name))
    log.write(records(graph, Counter()))
    return log, ChromaReader(
        embeddings=StoredEmbeddings({text.text: text.vectors[0] for text in graph.texts}.__getitem__, queries)
    )


def _checked(recorded: Mapping[str, Any], log: Log, inner: ChromaReader, settings: Mapping[str, Any]) -> Case:
    case = recorded["case"]
    ours = (_search if case["kind"] == "search" else _turn)(case, log, inner, settings)
    wanted = [recorded["expected"], *recorded.get("variants", ())]
    wrong = [_difference(ours, each) for each in wanted]
    if None in wrong:
        return Case(case["name"], "same")
    if recorded["exact"]:
        return Case(case["name"], "differs", f"{wrong[0]}")
    return Case(case["name"], "deviates", DEVIATIONS.get(case["name"], f"the reference errs; {wrong[0]}"))


def _search(case: Mapping[str, Any], log: Log, inner: ChromaReader, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a search gives, named as in the recording."""
    node_wise, seen = bool(case.get("mem_wise")), list(case.get("current_clips", []))
    reader = GraphReader(inner, threshold=case.get("threshold", 0), episodic_only=bool(case.get("episodic_only")))
    query = Query(text=case["query"], limit=case["topk"], until=case.get("before_clip"), exclude=frozenset(seen))
    found = reader.find(log, query, node_wise=node_wise)
    cast = characters(log.records(until=query.until))
    return {
        "memories": _by_clip(found),
        "current_clips": seen + [clip for clip in found.clips if clip not in seen],
        "clip_scores": {} if node_wise else {str(hit.record.position): hit.score for hit in found.shown},
        "back_translated": sorted(variants(case["query"], cast)),
        "character_mappings": {name: sorted(members) for name, members in cast.items()},
    }


def _turn(case: Mapping[str, Any], log: Log, inner: ChromaReader, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a turn of the controller leads to, named as in the recording."""
    turn = parse_turn(case["response"])
    seen = list(case.get("currenr_clips", []))
    if turn is not None and turn.action == "answer":
        return {"finish": True, "response": turn.content, "currenr_clips": seen, "appended": []}
    found = Found((), ())
    if turn is not None:
        reader = GraphReader(inner, clips=settings["topk"])
        exclude = frozenset() if NODE_WISE in turn.content else frozenset(seen)
        found = reader.find(log, Query(text=turn.content, until=case.get("before_clip"), exclude=exclude))
    shown = [{"position": hit.record.position, "text": hit.record.text} for hit in found.shown]
    return {
        "finish": False,
        "response": None,
        "currenr_clips": seen + [clip for clip in found.clips if clip not in seen],
        "appended": [{"role": "user", "content": render_knowledge(shown, found.clips)}],
    }


def _by_clip(found: Found) -> dict[str, list[str]]:
    clips = sorted({*found.clips, *(hit.record.position or 0 for hit in found.shown)})
    return {f"CLIP_{clip}": [hit.record.text for hit in found.shown if hit.record.position == clip] for clip in clips}


def _difference(ours: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    for field, found in ours.items():
        expected = wanted[field]
        if field == "clip_scores":
            if any(abs(expected[clip] - score) > NEAR for clip, score in found.items()):
                return f"{field}: {found} instead of {expected}"
            continue
        if field == "back_translated":
            expected = sorted(expected)
        if field == "character_mappings":
            expected = {name: sorted(members) for name, members in expected.items()}
        if found != expected or (field == "memories" and list(found) != list(expected)):
            return f"{field}: {found!r:.200} instead of {expected!r:.200}"
    return None
