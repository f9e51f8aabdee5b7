"""A local LangSmith: what an agent's traces hold, asserted without a network or an account.

from linmem_langgraph.testing import langsmith_server  # in conftest.py, or in the test's module

def test_the_agent_reads_once(langsmith_server):
    agent.invoke(...)
    assert len(langsmith_server.runs("memory.read")) == 1
    print(langsmith_server.text())
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Thread
from types import TracebackType
from typing import Any, Self

import pytest

from linmem_langgraph.testing._langsmith_api import Api, Fields, Listener

KEY = "a-key-for-tests"


@dataclass(frozen=True)
class TracedRun:
    """A run as the server has received it.

    Args:
        run_type: "chain", "llm", "tool", "retriever", ...
        outputs: None until they are there.
        error: what went wrong, None if nothing did.
        metadata: the run's, with what the client adds of the environment.
        project: the name of the project it belongs to.
        example: the id of the dataset's example it answers, None if it is no part of an experiment.
        children: the runs within it, in order of their start.
        fields: all that was sent.
    """

    id: str
    name: str
    run_type: str
    inputs: Fields
    outputs: Fields | None
    error: str | None
    metadata: Fields
    project: str
    example: str | None
    fields: Fields = field(repr=False)
    children: tuple["TracedRun", ...] = field(default=(), repr=False)

    def within(self, name: str) -> list["TracedRun"]:
        """The runs of that name below this one, at any depth."""
        below = [found for child in self.children for found in child.within(name)]
        return [child for child in self.children if child.name == name] + below

    def text(self, show: Sequence[str] = ()) -> str:
        """Names and types, a run a line, indented by depth.

        Args:
            show: metadata to be told as well, where a run has it.
        """
        told = "".join(f" {name}={self.metadata[name]}" for name in show if name in self.metadata)
        line = f"{self.name} ({self.run_type}){told}{' error' if self.error else ''}\n"
        below = "".join(child.text(show) for child in self.children)
        return line + "".join(f"  {each}\n" for each in below.splitlines())


class LangSmithServer:
    """Takes what the langsmith client sends, at `url`, while its context lasts.

    Args:
        key: the API key that clients must send.

    Attributes:
        received: the bodies of all requests, decompressed.
        projects, datasets, examples, feedback: by id, as they were sent.
    """

    def __init__(self, key: str = KEY) -> None:
        self._api = Api(key)
        self._listener: Listener | None = None
        self.received = self._api.received
        self.projects, self.datasets = self._api.projects, self._api.datasets
        self.examples, self.feedback = self._api.examples, self._api.feedback

    @property
    def url(self) -> str:
        """Where it listens; the environment's `LANGSMITH_ENDPOINT`."""
        assert self._listener is not None, "the server is not started: use it as a context manager"
        return f"http://127.0.0.1:{self._listener.server_port}"

    @property
    def key(self) -> str:
        """The environment's `LANGSMITH_API_KEY`."""
        return self._api.key

    def roots(self) -> list[TracedRun]:
        """The traces, in order of their start, once the tracers of this process have sent what they have."""
        from langsmith import run_trees

        if run_trees._CLIENT is not None:
            run_trees._CLIENT.flush()
        with self._api.lock:
            sent = sorted(self._api.runs.values(), key=lambda run: str(run.get("dotted_order", "")))
        known = {run["id"] for run in sent}
        below: dict[str | None, list[Fields]] = {}
        for run in sent:
            parent = run.get("parent_run_id")
            below.setdefault(parent if parent in known else None, []).append(run)
        return [self._traced(run, below) for run in below.get(None, [])]

    def runs(self, name: str | None = None) -> list[TracedRun]:
        """All runs, or those of that name, each after the one around it."""
        found: list[TracedRun] = []
        left = self.roots()[::-1]
        while left:
            found.append(left.pop())
            left.extend(found[-1].children[::-1])
        return [run for run in found if name is None or run.name == name]

    def text(self, show: Sequence[str] = ()) -> str:
        """The traces as text: `TracedRun.text` of each."""
        return "".join(root.text(show) for root in self.roots())

    def clear(self) -> None:
        """Forget everything, once it is there."""
        self.roots()
        with self._api.lock:
            self.received.clear()
            for kept in (self._api.runs, self.projects, self.datasets, self.examples, self.feedback):
                kept.clear()

    def __enter__(self) -> Self:
        self._listener = Listener(self._api)
        self._thread = Thread(target=self._listener.serve_forever, args=(0.05,), name="langsmith-server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    def _traced(self, run: Fields, below: dict[str | None, list[Fields]]) -> TracedRun:
        extra: Any = run.get("extra") or {}
        return TracedRun(
            id=run["id"],
            name=run.get("name", ""),
            run_type=run.get("run_type", ""),
            inputs=run.get("inputs") or {},
            outputs=run.get("outputs"),
            error=run.get("error"),
            metadata=extra.get("metadata") or {},
            project=self.projects.get(run.get("session_id", ""), {}).get("name", ""),
            example=run.get("reference_example_id"),
            fields=run,
            children=tuple(self._traced(child, below) for child in below.get(run["id"], [])),
        )


@pytest.fixture
def langsmith_server() -> Iterator[LangSmithServer]:
    """A local LangSmith that gets the traces of the test: the environment names it, and no other setting is left."""
    from langsmith import run_trees

    with LangSmithServer() as server, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("LANGSMITH_", "LANGCHAIN_"))]:
            patch.delenv(name)
        patch.setenv("LANGSMITH_TRACING", "true")
        patch.setenv("LANGSMITH_ENDPOINT", server.url)
        patch.setenv("LANGSMITH_API_KEY", server.key)
        patch.setattr(run_trees, "_CLIENT", None)
        _forget_environment()
        try:
            yield server
        finally:
            client = run_trees._CLIENT
            if client is not None:
                client.close()
            patch.undo()
            _forget_environment()


def _forget_environment() -> None:
    """The client looks each variable up once."""
    from langsmith import utils

    lookups: list[Any] = [utils.get_env_var, utils.get_tracer_project]
    for lookup in lookups:
        lookup.cache_clear()
