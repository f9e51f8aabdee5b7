"""Who may read: threads, tasks of any event loop, and whoever stops waiting."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import AsyncSqliteStore

from linmem_langgraph import LinearReader, Memory, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer, kind
from tests.readers.linear.conftest import Remember
from tests.readers.linear.words import everything

LONG = "Anna waters the plants in the kitchen. " * 40


@pytest.fixture
def full(server: ModelServer, memory: Memory, namespace: Namespace) -> Memory:
    """A memory of one short record, primed."""
    memory.write(namespace, "Anna sleeps")
    memory.flush()
    server.says = everything
    server.clear()
    return memory


def hold_reads(server: ModelServer) -> None:
    server.holds = lambda request: kind(request) in ("read", "merge")


async def asked(server: ModelServer, count: int) -> None:
    await asyncio.to_thread(server.wait_until, lambda: len(server.under_way("read")) == count)


async def test_an_async_read_does_not_block_the_loop(server: ModelServer, full: Memory, namespace: Namespace) -> None:
    hold_reads(server)
    reads = [asyncio.create_task(full.aread(namespace, f"{n}?")) for n in range(5)]
    await asked(server, 5)
    server.release()
    assert [reading.text for reading in await asyncio.gather(*reads)] == ["Anna sleeps [0]"] * 5
    assert all(task.result().seconds > 0 for task in reads)


async def test_cancelling_a_read_closes_its_request(server: ModelServer, full: Memory, namespace: Namespace) -> None:
    hold_reads(server)
    leaving, staying = (asyncio.create_task(full.aread(namespace, f"{n}?")) for n in range(2))
    await asked(server, 2)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await asyncio.to_thread(server.wait_until, lambda: len(server.under_way("read")) == 1)
    server.release()
    assert (await staying).text == "Anna sleeps [0]"
    assert sorted(request.cancelled for request in server.asked("read")) == [False, True]


async def test_a_read_that_takes_too_long_is_cancelled_with_all_its_segments(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = 2_400
    memory = remember(max_tokens=40, prime="off", concurrency=3)
    await memory.awrite(namespace, [f"{place:<300}|" for place in range(20)])
    await memory.aread(namespace, "?")
    server.clear()
    hold_reads(server)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(memory.aread(namespace, "?"), 0.3)
    await asyncio.to_thread(server.wait_until, lambda: not server.under_way("read"))
    assert 0 < len(server.asked("read")) <= 3
    assert all(request.cancelled for request in server.asked("read"))
    server.release()
    assert (await memory.aread(namespace, "?")).text == server.says


async def test_one_segment_that_fails_cancels_the_others(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = 2_400
    memory = remember(max_tokens=40, prime="off")
    await memory.awrite(namespace, [f"{place:<300}|" for place in range(8)])
    await memory.aread(namespace, "?")
    server.clear()
    server.says = lambda message: " " if "\n[2] " in message else "[0]"
    server.holds = lambda request: kind(request) == "read" and b"[2] " not in request.content
    with pytest.raises(ReaderUnavailable, match="wrote nothing"):
        await memory.aread(namespace, "?")
    await asyncio.to_thread(server.wait_until, lambda: not server.under_way("read"))
    assert [request.cancelled for request in server.asked("read")].count(True) == 3


def test_an_interrupted_read_closes_its_request(server: ModelServer, full: Memory, namespace: Namespace) -> None:
    hold_reads(server)

    def interrupt() -> None:
        server.wait_until(lambda: len(server.under_way("read")) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        full.read(namespace, "?")
    thread.join()
    server.wait_until(lambda: server.asked("read")[0].cancelled)
    server.release()
    assert full.read(namespace, "?").text == "Anna sleeps [0]"


async def test_a_sync_read_on_the_thread_of_a_running_loop(full: Memory, namespace: Namespace) -> None:
    for _ in range(2):
        assert full.read(namespace, "?").text == "Anna sleeps [0]"
        assert (await full.aread(namespace, "?")).text == "Anna sleeps [0]"


def test_threads_and_loops_read_one_memory_at_once(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.says = everything
    memory = remember()
    namespaces = [(*namespace, str(place)) for place in range(3)]
    for place, each in enumerate(namespaces):
        memory.write(each, f"secret{place}")

    def in_a_thread(place: int) -> list[str]:
        return [memory.read(namespaces[(place + turn) % 3], "?").text for turn in range(6)]

    def in_a_loop(place: int) -> list[str]:
        async def read() -> list[str]:
            tasks = [memory.aread(namespaces[(place + turn) % 3], "?") for turn in range(6)]
            return [reading.text for reading in await asyncio.gather(*tasks)]

        return asyncio.run(read())

    work: list[Callable[[int], list[str]]] = [in_a_thread, in_a_loop] * 3
    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(each, place) for place, each in enumerate(work)]
        for place, future in enumerate(done):
            assert future.result(60) == [f"secret{(place + turn) % 3} [0]" for turn in range(6)]


async def test_over_an_async_store(server: ModelServer, namespace: Namespace) -> None:
    server.says = everything
    async with AsyncSqliteStore.from_conn_string(":memory:") as store:
        await store.setup()
        memory = Memory(LinearReader(ChatVLLM(base_url=server.base_url)), store=store)
        await memory.awrite(namespace, ["Anna sleeps", LONG])
        await memory.aflush()
        assert len(server.asked("prime")) == 1
        assert (await memory.aread(namespace, "?", until=0)).text == "Anna sleeps [0]"
        await memory.aforget(namespace)
        assert (await memory.aread(namespace, "?")).records == ()
        await memory.aclose()


def test_a_write_is_seen_by_the_next_read_at_once(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.says = everything
    store = InMemoryStore()
    one, other = remember(store=store), remember(store=store)
    for place in range(10):
        (one if place % 2 else other).write(namespace, f"word{place}")
        for memory in (one, other):
            assert f"word{place} [{place}]" in memory.read(namespace, "?").text


def test_a_process_ends_without_a_word(server: ModelServer) -> None:
    """The thread of the readers' own loop is in nobody's way, and leaves nothing that warns."""
    code = f"""
from langgraph.store.memory import InMemoryStore
from linmem_langgraph import LinearReader, Memory, ReaderUnavailable
from linmem_langgraph.vllm import ChatVLLM
memory = Memory(LinearReader(ChatVLLM(base_url={server.base_url!r})), store=InMemoryStore())
memory.write(("a",), ["Anna sleeps", {LONG!r}])
print(memory.read(("a",), "?").text)
"""
    # Who does not close a memory leaves its connections open.
    for ending, flags in [("", []), ("memory.close()", ["-X", "dev", "-W", "error"])]:
        command = [sys.executable, *flags, "-c", code + ending]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, f"{server.says}\n")
        complaints = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
        assert complaints == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_reads(server: ModelServer) -> None:
    code = f"""
import os
from langgraph.store.memory import InMemoryStore
from linmem_langgraph import LinearReader, Memory
from linmem_langgraph.vllm import ChatVLLM
store = InMemoryStore()
def make():
    return Memory(LinearReader(ChatVLLM(base_url={server.base_url!r}, max_retries=0), prime="off"), store=store)
first = make()
first.write(("a",), "Anna sleeps")
first.read(("a",), "?")
child = os.fork()
if child == 0:
    print(make().read(("a",), "?").text, flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), first.read(("a",), "?").text, flush=True)
first.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [server.says, f"0 {server.says}"], done.stderr
