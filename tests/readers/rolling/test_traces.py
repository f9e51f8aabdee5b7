"""What LangSmith is told of notes that nobody waits for."""

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import Memory
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.testing import LangSmithServer, langsmith_server
from tests.model_server import ModelServer
from tests.readers.rolling.conftest import Remember, clips, reader
from tests.readers.rolling.words import calls, everything

__all__ = ["langsmith_server"]


@pytest.mark.parametrize("trace_content", [True, False])
def test_a_note_in_the_background_is_no_run(
    langsmith_server: LangSmithServer, server: ModelServer, namespace: Namespace, trace_content: bool
) -> None:
    server.says = everything
    rolling = reader(server, standing=True)
    with Memory(rolling, store=InMemoryStore(), trace_content=trace_content) as memory:
        memory.write(namespace, clips(9))
        memory.flush()
        memory.rebuild(namespace)
    assert len(calls(server)) == 4
    assert [run.name for run in langsmith_server.runs()] == ["memory.write"]
    assert (b"clip1 " in b"".join(langsmith_server.received)) == trace_content


def test_a_note_that_a_read_makes_is_a_run_within_it(
    langsmith_server: LangSmithServer, server: ModelServer, standing: Memory, remember: Remember, namespace: Namespace
) -> None:
    remember(store=standing.store).write(namespace, clips(9))
    standing.read(namespace, "Where?")
    (run,) = langsmith_server.runs("memory.read")
    assert len(run.within("linear_read")) == 3
