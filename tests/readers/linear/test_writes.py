"""A write: refused if the model could never read the record, and otherwise never kept waiting by the server."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ContextOverflow, Memory, MemoryRecord
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer, kind
from tests.readers.linear.conftest import Remember
from tests.servers import free_port

CONTEXT, ANSWER, ROOM = 2_400, 40, 646
LONG = "x" * 1_001
"""So long that the server is asked whether it fits."""


def knowing(memory: Memory) -> Memory:
    """The memory, once its reader knows the server's context."""
    memory.write(("another",), "x")
    memory.flush()
    memory.read(("another",), "?")
    return memory


def test_a_record_larger_than_the_context_is_refused_with_the_numbers(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = CONTEXT
    memory = knowing(remember(max_tokens=ANSWER))
    server.clear()
    large = MemoryRecord(text="y" * 700, key="large", position=12_345)
    with pytest.raises(
        ContextOverflow, match=r"record 'y+'\.\.\. \(key 'large', position 12345\) has 709 tokens, .*646"
    ):
        memory.write(namespace, ["Anna sleeps", large])
    assert memory.records(namespace) == []
    memory.flush()
    assert not server.asked("prime", "read")


@pytest.mark.parametrize(("size", "fits"), [(ROOM - 9, True), (ROOM - 8, False)])
def test_the_largest_record_that_is_taken_can_be_read(
    server: ModelServer, remember: Remember, namespace: Namespace, size: int, fits: bool
) -> None:
    server.context = CONTEXT
    memory = knowing(remember(max_tokens=ANSWER))
    record = MemoryRecord(text="z" * size, position=12_345)
    if not fits:
        with pytest.raises(ContextOverflow):
            memory.write(namespace, record)
        return
    memory.write(namespace, record)
    memory.write(namespace, record.model_copy(update={"text": "another"}))
    memory.flush()
    assert memory.read(namespace, "q" * 300, limit=5, exclude=[1]).text == server.says


def test_a_record_that_is_one_digit_too_long_is_refused(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = CONTEXT
    memory = knowing(remember(max_tokens=ANSWER, prime="off"))
    memory.write(namespace, MemoryRecord(text="first", position=10**15 - 1))
    with pytest.raises(ContextOverflow):
        memory.write(namespace, "z" * (ROOM - len("[None] \n")))
    assert memory.read(namespace, "?").text == server.says


def test_a_short_record_asks_nobody(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    memory = remember(prime="off")
    memory.write(namespace, ["Anna sleeps", "x" * 1_000])
    assert server.requests == []
    memory.write(namespace, LONG)
    memory.write(namespace, [LONG, LONG])
    assert [kind(request) for request in server.requests] == ["models", "count"]


def test_a_model_of_unknown_context_takes_any_record(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = None
    memory = remember(prime="off")
    memory.write(namespace, "x" * 100_000)
    assert memory.read(namespace, "?").text == server.says


@pytest.mark.parametrize("down", ["stopped", "failing", "too small"])
def test_a_write_needs_no_server(
    server: ModelServer, remember: Remember, namespace: Namespace, caplog: pytest.LogCaptureFixture, down: str
) -> None:
    if down == "stopped":
        server.stop()
    server.tokenizes = server.context = False if down == "failing" else None  # type: ignore[assignment]
    if down == "too small":
        server.context = 100
    memory = remember(prime="off", context_tokens=CONTEXT, max_tokens=ANSWER)
    keys = memory.write(namespace, LONG)
    keys += memory.write(namespace, "y" * 3_000)
    assert [record.key for record in memory.records(namespace)] == keys
    told = [record.getMessage() for record in caplog.records if "without being compared" in record.getMessage()]
    # It is left alone for a while, and so is the log of warnings.
    assert len(told) == (down != "failing")


def hanging_write(server: ModelServer, memory: Memory, namespace: Namespace, record: Any) -> None:
    """Write while the server holds whatever it is asked."""
    server.holds = lambda request: True
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(memory.write, namespace, record)
        try:
            writing.result(30)
        finally:
            server.release()


def test_the_first_write_does_not_wait_for_a_server_that_hangs(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    memory = remember(prime="off")
    hanging_write(server, memory, namespace, LONG)
    assert len(memory.records(namespace)) == 1


def test_a_server_that_hung_once_is_left_alone_by_writes(
    server: ModelServer, remember: Remember, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    memory = remember(prime="off")
    hanging_write(server, memory, namespace, LONG)
    server.clear()
    for _ in range(3):
        hanging_write(server, memory, namespace, LONG)
    assert server.requests == []
    assert len([record for record in caplog.records if "without being compared" in record.getMessage()]) == 1


def test_later_writes_do_not_wait_for_a_server_that_hangs(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    memory = remember()
    memory.write(namespace, LONG)
    memory.flush()
    hanging_write(server, memory, namespace, [LONG, LONG])
    assert len(memory.records(namespace)) == 3


def test_a_record_that_slipped_in_is_an_error_of_the_read_with_the_numbers(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    store = InMemoryStore()
    port = free_port()
    absent = remember(store=store, prime="off", model=ChatVLLM(base_url=f"http://127.0.0.1:{port}/v1", max_retries=0))
    key = absent.write(namespace, ["y" * 700, "Anna sleeps"])[0]
    server.context = CONTEXT
    memory = remember(store=store, max_tokens=ANSWER)
    with pytest.raises(ContextOverflow, match=rf"key '{key}', position 0\) has 705 tokens, .* leaves 646"):
        memory.read(namespace, "?")
    memory.forget(namespace, [key])
    assert memory.read(namespace, "?").text == server.says
