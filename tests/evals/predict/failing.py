"""Controllers and a reader that fail, or act as they are told, where it is about one thing."""

from collections.abc import Callable, Sequence
from pathlib import Path

from langchain_core.messages import AIMessage, BaseMessage

from linmem_langgraph.log import Change, Log
from linmem_langgraph.readers import Query
from linmem_langgraph.readers.chroma import ChromaReader
from linmem_langgraph.records import Reading
from tests.evals.support import Hook
from tests.graphs.scripted import using


def on(clip: int, act: Callable[[list[BaseMessage]], AIMessage]) -> Hook:
    """Act so when the question is about `clip`."""
    return lambda question, messages: act(messages) if f"clip {clip}?" in question else None


def raising(error: Exception) -> Callable[[list[BaseMessage]], AIMessage]:
    def act(messages: list[BaseMessage]) -> AIMessage:
        raise error

    return act


def later(error: Exception) -> Callable[[list[BaseMessage]], AIMessage]:
    """Search first."""

    def act(messages: list[BaseMessage]) -> AIMessage:
        if any(message.type == "tool" for message in messages):
            raise error
        return using(query="word")

    return act


def always(message: AIMessage) -> Callable[[list[BaseMessage]], AIMessage]:
    return lambda messages: message.model_copy(update={"id": None}, deep=True)


class Failing(ChromaReader):
    """Fails at reads, or at updates, of the memories named; `error` says with what."""

    def __init__(self, path: Path, error: Exception, *, reads: Sequence[str] = (), updates: Sequence[str] = ()) -> None:
        from linmem_langgraph.embeddings import LexicalEmbeddings

        super().__init__(path, embeddings=LexicalEmbeddings(), by="position", limit=3)
        self._error, self._failing_reads, self._failing_updates = error, reads, updates

    def read(self, log: Log, query: Query) -> Reading:
        if log.namespace[-1] in self._failing_reads:
            raise self._error
        return super().read(log, query)

    def update(self, log: Log, change: Change) -> None:
        if log.namespace[-1] in self._failing_updates:
            raise self._error
        super().update(log, change)
