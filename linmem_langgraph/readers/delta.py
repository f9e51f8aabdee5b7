"""An associative memory: a matrix that every record is written into, and that a query is multiplied with."""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from linmem_langgraph import transcript
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._delta.delta_rules import Delta, DeltaMomentum, GatedDelta
from linmem_langgraph.readers._delta.files import Files
from linmem_langgraph.readers._delta.index import DeltaIndex, Scores, closed
from linmem_langgraph.readers._delta.keys import Vectors
from linmem_langgraph.readers._delta.rules import Hebbian, LeastSquares, Rule
from linmem_langgraph.readers._embedder import Embedder
from linmem_langgraph.readers.base import NOTHING, Query, Reader
from linmem_langgraph.records import Reading, ScoredRecord

RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (Hebbian, Delta, GatedDelta, DeltaMomentum, LeastSquares)}

_IN_MEMORY = 16
"""Namespaces whose states stay in memory; another one's is loaded from its file."""


class DeltaReader(Reader):
    """Answers with the records that an associative memory of constant size recalls best. No language model is called.

    The memory is a matrix S of `values` rows and as many columns as an embedding has dimensions. A record is written
    under a key k, its text's embedding (of unit length; for all rules but least squares less the mean of those before
    it), and its value v is a code of +1 and -1 drawn by a hash of the record's own key, so that neither vectors nor
    codes are stored. By name of the rule, for a step b:

    - "hebbian": S <- S + v k^T (Hebb 1949; linear attention, Katharopoulos et al. 2020).
    - "delta": S <- S + b (v - S k) k^T (Widrow and Hoff 1960; Schlag et al. 2021; DeltaNet, Yang et al. 2024).
    - "gated_delta": S <- S diag(a) before the delta rule (Gated DeltaNet, Yang et al. 2025; a decay per channel as in
      Kimi Delta Attention, Kimi Linear 2025).
    - "delta_momentum": M <- m M + b (v - S k) k^T, S <- S + M (Titans, Behrouz et al. 2025).
    - "least_squares": the S that minimises sum |v - S k|^2 + ridge |S|^2, which recursive least squares arrives at
      (MesaNet, von Oswald et al. 2025; Atlas, Behrouz et al. 2025).

    A query q is read as S q and compared with the codes of all records that may take part, after what the codes have in
    common was taken out (`_delta/codes.py`). Scores rank; they are not similarities.

    The state follows the log's order. A write behind the last record is added to it. After a change before the end, an
    update or a `forget`, the next read goes on from the last checkpoint before it and embeds what lies behind once
    more; so does a read with `until`. The latest 4,096 vectors are kept in memory for that. The state in use has 64-bit
    numbers, its files 32-bit ones. The sums of least squares are exact in both: its state is the same to the bit
    whatever the portions it was written in.

    For embeddings of d dimensions a file takes 4 x `values` x d bytes, whatever the number of records; twice that with
    momentum, and 4 d (d + 1) more for least squares. In memory a namespace in use takes up to 80 x `values`^2 besides.

    Args:
        path: the folder of the states; None = a temporary one.
        embeddings: a LangChain `Embeddings` or a Chroma embedding function; None = Chroma's default, MiniLM.
        rule: one of the above.
        values: the rows of S: a multiple of 8. More recall more records; up to about as many as there are rows are told
            apart without loss.
        limit: how many records a read returns when it does not say.
        checkpoints: how many older states are kept beside the last, evenly spaced; each takes as much room.
        options: the rule's parameters by name: `ridge` of least squares; `rate`, `half_life`, `momentum` of the delta
            rules, see `_delta/delta_rules.py`.

    Raises:
        ConfigError: an argument is invalid.
    """

    name: ClassVar[str] = "delta"

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        embeddings: Any = None,
        rule: str = "least_squares",
        values: int = 1024,
        limit: int = 5,
        checkpoints: int = 4,
        options: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(values, bool) or not isinstance(values, int) or values < 8 or values % 8:
            raise ConfigError(f"values is {values!r}: give a multiple of 8, such as 1024")
        if not isinstance(limit, int) or not isinstance(checkpoints, int) or limit < 1 or checkpoints < 0:
            raise ConfigError(f"limit is {limit!r} and checkpoints {checkpoints!r}: give integers from 1 and from 0")
        self.rule = named_rule(rule, options or {})
        self._embedder = Embedder(embeddings)
        self._values, self._limit, self._checkpoints = values, limit, checkpoints
        self._temporary = TemporaryDirectory(prefix="linmem-") if path is None else None
        self._folder = Path(self._temporary.name if self._temporary else str(path)).expanduser().resolve()
        self._indexes: OrderedDict[Namespace, DeltaIndex] = OrderedDict()
        self._lock = Lock()
        self._closed = False

    def read(self, log: Log, query: Query) -> Reading:
        """The records recalled best, in log order; the best first in `records`."""
        if not log.head().version:
            with self._lock:
                self._indexes.pop(log.namespace, None)
            return Reading(text=NOTHING, reader=self.name)
        found = self._index(log).scores(log, query.until, self._embedder.query(query.text))
        kept = self._best(log, query, found)
        in_order = (kept[place].record for place in sorted(kept))
        text = transcript.render(in_order).rstrip("\n")
        return Reading(text=text or NOTHING, records=tuple(kept.values()), reader=self.name)

    def update(self, log: Log, change: Change) -> None:
        """Write what was written to the log into the state."""
        self._index(log).update(log, change)

    def forget(self, log: Log, keys: Collection[str] | None, change: Change) -> int:
        """Drop the states that hold what was forgotten."""
        return self._index(log).forget(log, keys, change)

    def rebuild(self, log: Log) -> None:
        """Embed and write everything anew."""
        self._index(log).rebuild(log)

    def close(self) -> None:
        """Finish what is under way and let the states in memory go; those in files stay."""
        with self._lock:
            self._closed = True
            indexes = [*self._indexes.values()]
            self._indexes.clear()
        for index in indexes:
            index.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _best(self, log: Log, query: Query, found: Scores) -> dict[int, ScoredRecord]:
        """The best that the query admits, first to last, by place in the log; of equal ones the earlier first."""
        limit, kept = query.limit or self._limit, dict[int, ScoredRecord]()
        for places in _ranked(found.scores, limit):
            records = {record.key: record for record in log.get([found.keys[place] for place in places])}
            for place in places:
                record = records.get(found.keys[place])
                if record is not None and query.admits(record):
                    # The log's records are valid; validating them again costs more than finding them.
                    kept[place] = ScoredRecord.model_construct(record=record, score=float(found.scores[place]))
                if len(kept) == limit:
                    return kept
        return kept

    def _index(self, log: Log) -> DeltaIndex:
        with self._lock:
            if self._closed:
                raise closed()
            index = self._indexes.pop(log.namespace, None) or self._new(log.namespace)
            self._indexes[log.namespace] = index
            if len(self._indexes) > _IN_MEMORY:
                self._indexes.popitem(last=False)
            return index

    def _new(self, namespace: Namespace) -> DeltaIndex:
        set_up = {"embedding": self._embedder.name, "rule": self.rule.name, "values": self._values}
        files = Files(self._folder, namespace, self.rule, self._values, set_up | {"options": self.rule.options()})
        return DeltaIndex(files, Vectors(self._embedder), self.rule, self._values, self._checkpoints)


def named_rule(name: str, options: dict[str, Any]) -> Rule:
    """The rule of that name.

    Raises:
        ConfigError: the name or an option is unknown, or an option's value is invalid.
    """
    if not isinstance(name, str) or name not in RULES:
        raise ConfigError(f"rule is {name!r}: choose {', '.join(map(repr, RULES))}")
    known = sorted(signature(RULES[name]).parameters)
    if not isinstance(options, dict) or (unknown := sorted(set(options) - set(known))):
        given = repr(unknown[0]) if isinstance(options, dict) else repr(options)
        choices = f"choose {', '.join(known)}" if known else "it has none"
        raise ConfigError(f"unknown option {given} of the rule {name!r}: {choices}")
    return RULES[name](**options)


def _ranked(scores: np.ndarray, limit: int) -> Iterator[list[int]]:
    """The places of the scores from the highest down: so many, then ever more."""
    order, start, size = np.argsort(-scores, kind="stable"), 0, limit
    while start < len(order):
        yield order[start : start + size].tolist()
        start, size = start + size, 4 * size
