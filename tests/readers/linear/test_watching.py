"""Whether priming is of use is seen from what reads cost."""

from typing import Any

import pytest

from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear import primer
from linmem_langgraph.readers._linear.primer import MISSES
from tests.model_server import ModelServer
from tests.readers.linear.conftest import Remember

LONG = "Anna waters the plants in the kitchen. " * 40


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == primer.__name__]


def write(memory: Memory, *namespaces: Namespace, text: str = LONG) -> None:
    for namespace in namespaces:
        memory.write(namespace, text)
    memory.flush()


def several(count: int) -> list[Namespace]:
    return [("several", str(place)) for place in range(count)]


def test_a_server_that_keeps_nothing_is_noticed_once(
    server: ModelServer, memory: Memory, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    server.keeps_states = False
    write(memory, namespace)
    for _ in range(MISSES):
        assert warnings(caplog) == []
        memory.read(namespace, "?")
    (warning,) = warnings(caplog)
    assert server.base_url in warning
    assert "--enable-prefix-caching" in warning
    assert "--mamba-cache-mode align" in warning
    assert "--enable-prompt-tokens-details" in warning
    assert " prompt tokens 0 came from its cache" in warning
    # From now on nothing is primed, at a write or before a read.
    server.clear()
    write(memory, namespace)
    write(memory, ("another",))
    for _ in range(2 * MISSES):
        memory.read(namespace, "?")
        memory.read(("another",), "?")
    assert not server.asked("prime")
    assert len(warnings(caplog)) == 1


def test_one_who_insists_is_obeyed_and_warned_once(
    server: ModelServer, remember: Remember, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    server.keeps_states = False
    memory = remember(prime="on")
    write(memory, namespace)
    for _ in range(3 * MISSES):
        memory.read(namespace, "?")
    assert len(server.asked("prime")) == 3 * MISSES
    assert len(warnings(caplog)) == 1


def test_priming_is_resumed_when_reads_find_a_state(
    server: ModelServer, memory: Memory, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    server.keeps_states = False
    write(memory, namespace)
    for _ in range(MISSES):
        memory.read(namespace, "?")
    server.keeps_states = server.keeps_reads = True  # it was started anew, with prefix caching
    server.clear()
    memory.read(namespace, "?")
    assert not server.asked("prime")
    memory.read(namespace, "?")
    write(memory, namespace)
    assert len(server.asked("prime")) == 1
    assert memory.read(namespace, "?").usage.cached_tokens > 2_000
    assert len(warnings(caplog)) == 1


def test_a_read_that_finds_a_state_in_between_starts_the_count_anew(
    server: ModelServer, memory: Memory, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    write(memory, namespace)
    for _ in range(3):
        for _ in range(MISSES - 1):
            server.keeps_states = False
            memory.read(namespace, "?")
        server.keeps_states = True
        server.forget()
        memory.read(namespace, "?")
        assert memory.read(namespace, "?").usage.cached_tokens > 0
    assert warnings(caplog) == []
    server.clear()
    write(memory, namespace)
    assert server.asked("prime")


def test_a_memory_that_was_lost_is_primed_by_the_second_read(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    write(memory, namespace)
    server.forget()
    server.clear()
    cached = [memory.read(namespace, "?").usage.cached_tokens > 0 for _ in range(3)]
    assert cached == [False, True, True]
    assert len(server.asked("prime")) == 1


@pytest.mark.parametrize("silent", ["short", "without usage", "off", "filter"])
def test_what_tells_nothing_is_not_counted(
    server: ModelServer, remember: Remember, namespace: Namespace, caplog: pytest.LogCaptureFixture, silent: str
) -> None:
    server.keeps_states, server.tells_usage = False, silent != "without usage"
    memory = remember(prime="off" if silent == "off" else "auto")
    write(memory, namespace, text="Anna sleeps" if silent == "short" else LONG)
    options: dict[str, Any] = {"filter": {"kind": "episodic"}} if silent == "filter" else {}
    for _ in range(2 * MISSES):
        memory.read(namespace, "?", **options)
    assert warnings(caplog) == []
    server.clear()
    write(memory, namespace)
    assert bool(server.asked("prime")) is (silent != "off")


def test_a_long_question_is_no_sign_of_a_server_that_keeps_nothing(
    server: ModelServer, remember: Remember, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    server.tokens = lambda text: len(text.split())
    memory = remember(prime="on")
    write(memory, namespace)
    for _ in range(MISSES):
        reading = memory.read(namespace, "is " * 900)
        assert reading.usage.cached_tokens > len(LONG.split())  # instructions and memory, all of it
    assert warnings(caplog) == []


def test_a_restart_does_not_end_priming(server: ModelServer, memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    namespaces = several(MISSES)
    write(memory, *namespaces)
    server.forget()
    for namespace in namespaces:
        memory.read(namespace, "?")
    assert warnings(caplog) == []
    server.clear()
    write(memory, *namespaces)
    assert len(server.asked("prime")) >= MISSES


def test_memories_out_of_mind_are_read_and_primed_anew(
    server: ModelServer, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linmem_langgraph.readers._linear.views.MOST", 3)
    namespaces = several(5)
    write(memory, *namespaces)
    assert len(memory.reader._views._views) == 3  # type: ignore[attr-defined]
    server.clear()
    for namespace in namespaces:
        assert memory.read(namespace, "?").usage.cached_tokens > 0
    for place, namespace in enumerate(namespaces):
        memory.write(namespace, MemoryRecord(text=f"again {place}"))
        memory.flush()
        assert memory.read(namespace, "?").usage.cached_tokens > 2_000
    assert len(memory.reader._views._views) == 3  # type: ignore[attr-defined]
