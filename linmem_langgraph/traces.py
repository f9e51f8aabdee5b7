"""What LangSmith is told of a memory: each read, write and forget as a run within the run that asked for it.

Nothing is sent unless tracing is on (`LANGSMITH_TRACING=true`, or `langsmith.tracing_context(enabled=True)`).
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import AIMessage
from langchain_core.runnables import ensure_config

from linmem_langgraph.namespaces import Namespace, check
from linmem_langgraph.readers.base import Query
from linmem_langgraph.records import ForgetReceipt, MemoryRecord, Reading, ScoredRecord

if TYPE_CHECKING:
    from langsmith import RunTree

logger = logging.getLogger(__name__)

Fields = dict[str, Any]

SHOWN = 100
"""Records of a write that its run lists; it counts all of them."""

IDS = ("thread_id", "user_id", "langgraph_auth_user_id")
"""What of a run's `configurable` says whose it is."""

_leaves_out: ContextVar[bool] = ContextVar("linmem_leaves_out_contents", default=False)


class Traces:
    """The runs of one memory.

    Args:
        reader: the reader's name.
        content: whether texts, queries, answers, filters and metadata are sent; keys, positions, scores, counts and
            namespaces are in any case.
    """

    def __init__(self, reader: str, *, content: bool) -> None:
        self._reader, self._content = reader, content

    @contextmanager
    def read(self, namespace: Namespace, query: Query) -> Iterator[Callable[[Reading], None]]:
        """Around a read; what is yielded takes what came of it."""
        left_out = set() if self._content else {"text", "filter"}
        with self._hiding():
            if not is_on():
                yield _ignored
                return
            asked = query.model_dump(mode="json", exclude=left_out, exclude_defaults=True)
            inputs = {"query" if name == "text" else name: value for name, value in asked.items()}
            about = {} if query.until is None else {"until": query.until}
            with self._run("memory.read", "retriever", namespace, inputs, about) as run:
                yield lambda reading: run.end(outputs=self._found(reading), metadata=_cost(reading))

    @contextmanager
    def write(self, namespace: Namespace, records: Sequence[MemoryRecord]) -> Iterator[Callable[[list[str]], None]]:
        """Around a write; what is yielded takes the keys."""
        if not is_on():
            yield _ignored
            return
        inputs = {"records": [self._written(record) for record in records[:SHOWN]]}
        with self._run("memory.write", "chain", namespace, inputs, {"records": len(records)}) as run:
            yield lambda keys: run.end(outputs={"keys": keys[:SHOWN]})

    @contextmanager
    def forget(self, namespace: Namespace, keys: Sequence[str] | None) -> Iterator[Callable[[ForgetReceipt], None]]:
        """Around a forget; what is yielded takes the receipt."""
        if not is_on():
            yield _ignored
            return
        inputs = {"keys": "all" if keys is None else list(keys)}
        with self._run("memory.forget", "chain", namespace, inputs, {}) as run:
            yield lambda receipt: run.end(outputs=receipt.model_dump(mode="json", exclude={"namespace", "reader"}))

    @contextmanager
    def _hiding(self) -> Iterator[None]:
        token = _leaves_out.set(not self._content)
        try:
            yield
        finally:
            _leaves_out.reset(token)

    @contextmanager
    def _run(
        self, name: str, run_type: Literal["retriever", "chain"], namespace: Namespace, inputs: Fields, about: Fields
    ) -> Iterator["RunTree"]:
        metadata = {"namespace": _named(check(namespace)), "reader": self._reader, **about, **_whose()}
        with _traced(name, run_type, inputs, metadata, content=self._content) as run:
            yield run

    def _found(self, reading: Reading) -> Fields:
        """As LangSmith shows a retriever's documents; beside them what a model wrote."""
        documents = [self._document(hit) for hit in reading.records]
        wrote = {"text": reading.text} if self._content and reading.model else {}
        return {"documents": documents, **wrote}

    def _document(self, hit: ScoredRecord) -> Fields:
        record, told = hit.record, {"key": hit.record.key, "position": hit.record.position, "score": hit.score}
        if not self._content:
            return {"page_content": "", "type": "Document", "metadata": told}
        when = {"created_at": record.created_at.isoformat()} if record.created_at else {}
        metadata = {**record.metadata, "kind": record.kind, **when, **told}
        return {"page_content": record.text, "type": "Document", "metadata": metadata}

    def _written(self, record: MemoryRecord) -> Fields:
        only = None if self._content else {"key", "position"}
        return record.model_dump(mode="json", include=only, exclude_none=True)


@contextmanager
def model_call(name: str, model: Callable[[], Mapping[str, Any]]) -> Iterator[Callable[[AIMessage], None]]:
    """Around a reader's call of its model; what is yielded takes the answer.

    LangChain traces the call. Where contents are to be left out, it does not, and a run without them is sent instead.

    Args:
        name: of that run.
        model: what LangSmith is told of the model: `ls_provider`, `ls_model_name` and the like.
    """
    if not _leaves_out.get():
        yield _ignored
        return
    from langsmith.run_helpers import tracing_context

    if not is_on():
        with tracing_context(enabled=False):  # a tracer may have been handed over by hand
            yield _ignored
        return
    with _traced(name, "llm", {}, dict(model()), content=False) as run, tracing_context(enabled=False):
        yield lambda message: run.end(metadata={**model(), "usage_metadata": message.usage_metadata})


@contextmanager
def untraced() -> Iterator[None]:
    """Around what is done in the background: it is part of no run, nor does it know whether contents may be told."""
    from langsmith.run_helpers import tracing_context

    with tracing_context(enabled=False):
        yield


def is_on() -> bool:
    """Whether LangSmith is sent anything."""
    from langsmith.utils import tracing_is_enabled

    return bool(tracing_is_enabled())


def annotate(**metadata: Any) -> None:
    """Add metadata to the run that is under way, if one is traced."""
    from langsmith.run_helpers import get_current_run_tree

    run = get_current_run_tree()
    if run is not None:
        run.add_metadata(metadata)


@contextmanager
def _traced(
    name: str, run_type: Literal["retriever", "chain", "llm"], inputs: Fields, metadata: Fields, *, content: bool
) -> Iterator["RunTree"]:
    """A run; of an error the name alone where contents are left out, as it may quote them."""
    from langsmith.run_helpers import trace

    traced = trace(name, run_type, inputs=inputs, metadata=metadata)
    run = traced.__enter__()
    try:
        yield run
    except BaseException as exc:
        if content:
            traced.__exit__(type(exc), exc, exc.__traceback__)
        else:
            run.end(error=type(exc).__name__)
            traced.__exit__()
        raise
    traced.__exit__()


def _cost(reading: Reading) -> Fields:
    told: Fields = {"found": len(reading.records)}
    if reading.model:
        told |= {"model": reading.model, "invented": reading.invented, **reading.usage.model_dump()}
    return told


def _whose() -> Fields:
    configurable = ensure_config().get("configurable") or {}
    return {name: str(configurable[name]) for name in IDS if configurable.get(name) is not None}


def _named(namespace: Namespace) -> str:
    """`users/anna`, or JSON where a label has a slash: something to filter by."""
    plain = not any("/" in label for label in namespace) and not namespace[0].startswith("[")
    return "/".join(namespace) if plain else json.dumps(namespace, ensure_ascii=False)


def _ignored(_: object) -> None:
    """Nobody is told."""
