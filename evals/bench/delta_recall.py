"""Recall of an associative memory's rules: by number of records, by size of state, and by what the read-out does.

All conversations of a LoCoMo file are one memory, a turn a record. At n records, those are the first n, and the
questions are those whose evidence lies among them. Codes depend on keys: each figure is the mean over several draws of
keys. Only what embeds and stores is left out of what `DeltaReader` does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evals.benchmarks import locomo
from evals.statistics import Estimate, clustered, recall
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers._delta.codes import Codes, codes
from linmem_langgraph.readers._delta.keys import Array, on_grid
from linmem_langgraph.readers._delta.rules import LeastSquares, Rule
from linmem_langgraph.readers._delta.state import empty
from linmem_langgraph.readers.delta import RULES, named_rule
from linmem_langgraph.records import MemoryRecord

AT = 10


class Corpus(NamedTuple):
    """Vectors of records and of questions, and which records are each question's evidence."""

    records: Array
    questions: Array
    evidence: list[tuple[int, ...]]

    def first(self, count: int) -> "Corpus":
        """Of the first `count` records."""
        within = [number for number, gold in enumerate(self.evidence) if max(gold) < count]
        return Corpus(self.records[:count], self.questions[within], [self.evidence[number] for number in within])


class Set(NamedTuple):
    """A rule, its options, the signs of a value, and whether a read-out is decoded."""

    rule: str
    values: int = 1024
    options: tuple[tuple[str, float], ...] = ()
    decoded: bool = True

    def made(self) -> Rule:
        """The rule."""
        return named_rule(self.rule, dict(self.options))


class Recalls(NamedTuple):
    """Recall@10: of each question, the mean over draws of codes; and of each draw, the mean over questions."""

    questions: list[float]
    draws: list[float]

    @property
    def mean(self) -> float:
        """Over all."""
        return float(np.mean(self.questions))

    @property
    def spread(self) -> float:
        """The standard deviation of draws."""
        return float(np.std(self.draws, ddof=1)) if len(self.draws) > 1 else 0.0


def load(data: Path, embeddings: Any) -> Corpus:
    """The conversations of a LoCoMo file as one memory.

    Args:
        embeddings: LangChain's.

    Raises:
        ConfigError: the file cannot be read, or no question has evidence.
    """
    found, first, texts = locomo.load(data), dict[str, int](), list[str]()
    for memory, records in found.memories.items():
        first[memory] = len(texts)
        texts += [record.text for record in records]
    asked = [sample for sample in found.samples if sample.evidence]
    if not asked:
        raise ConfigError(f"{data}: no question has evidence")
    gold = [tuple(first[sample.memory] + position for position in sample.evidence) for sample in asked]
    questions = embeddings.embed_documents([sample.question for sample in asked])
    return Corpus(np.array(embeddings.embed_documents(texts)), np.array(questions), gold)


def by_cosine(corpus: Corpus) -> Recalls:
    """By exact cosine similarity."""
    return _recalls(on_grid(corpus.questions) @ on_grid(corpus.records).T, corpus)


def by_ridge(corpus: Corpus) -> Recalls:
    """By what least squares scores when codes do not disturb each other, k (G + ridge)^-1 q; it needs all vectors."""
    keys, queries = on_grid(corpus.records), on_grid(corpus.questions)
    gram = keys.T @ keys + LeastSquares().ridge * np.eye(keys.shape[1])
    return _recalls(np.asarray(np.linalg.solve(gram, queries.T).T @ keys.T), corpus)


def by_rule(corpus: Corpus, sets: Sequence[Set], draws: int) -> dict[Set, Recalls]:
    """By each rule; sets of one size share what codes cost."""
    found: dict[Set, list[list[float]]] = {each: [] for each in sets}
    for values in sorted({each.values for each in sets}):
        for draw in range(draws):
            drawn = Codes(values)
            for each in (each for each in sets if each.values == values):
                found[each].append(_recalls(_scores(corpus, each, drawn, draw), corpus).questions)
    return {each: Recalls(*(np.mean(drawn, axis=axis).tolist() for axis in (0, 1))) for each, drawn in found.items()}


def difference(some: Recalls, other: Recalls) -> Estimate:
    """How much higher `some` is, with an interval over questions."""
    pairs = zip(some.questions, other.questions, strict=True)
    found = clustered((str(number), one - two) for number, (one, two) in enumerate(pairs))
    assert found is not None
    return found


def state_bytes(rule: Rule, values: int, dimension: int) -> int:
    """What the arrays of a state take in a file."""
    shapes = rule.shapes(values, dimension)
    halves = sum(8 * dimension * (dimension + 1) // 2 for name in shapes if name in rule.symmetric)
    return halves + sum(4 * rows * columns for name, (rows, columns) in shapes.items() if name not in rule.symmetric)


def every_rule(values: int = 1024) -> list[Set]:
    """Each rule as it is by default."""
    return [Set(rule, values) for rule in RULES]


def _scores(corpus: Corpus, each: Set, drawn: Codes, draw: int) -> Array:
    keys = [f"{draw}:{number}" for number in range(len(corpus.records))]
    state = empty(each.made(), each.values, corpus.records.shape[1])
    records = [MemoryRecord.model_construct(text="", key=key) for key in keys]
    state.write(records, on_grid(corpus.records))
    memory = state.rule.memory(state.arrays)
    queries = state.query(corpus.questions).T
    if each.decoded:
        return drawn.scores(keys, drawn.decoded(keys, memory) @ queries).T
    return np.asarray((codes(keys, each.values) @ (memory @ queries)).T)


def _recalls(scores: Array, corpus: Corpus) -> Recalls:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :AT].tolist()
    questions = [recall(ranking, gold, AT) for ranking, gold in zip(best, corpus.evidence, strict=True)]
    return Recalls(questions, [float(np.mean(questions))])
