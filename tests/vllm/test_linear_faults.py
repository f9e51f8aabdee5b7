"""`LinearReader` when something goes wrong between it and a real server, or with the server itself."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.memory import InMemoryStore

from evals.vllm_cpu.server import VllmServer
from graphs.extractive import ExtractiveChatModel
from graphs.m3_agent import create_m3_agent
from linmem_langgraph import Memory, ReaderUnavailable, create_search_memory_tool
from linmem_langgraph.namespaces import Namespace
from tests.http1 import Request
from tests.model_server import kind
from tests.proxy import HTML, NOT_JSON, OTHER_JSON, Fault, Proxy
from tests.vllm.reading import SMALL, Servers, asked, in_front_of, remembering

PADDING = "Anna waters the plants in the kitchen. " * 30
TOLD = ["Anna puts the red mug on the shelf.", "Bert sleeps."]
LONG = 8_000  # tokens of an answer, which take a minute or more: the tiny model never ends by itself


def a(wanted: str) -> Callable[[Request], bool]:
    """Whether a request is of that kind; for `Fault(when=...)`."""
    return lambda request: kind(request) == wanted


@pytest.fixture
def hasty(proxy: Proxy) -> Iterator[Memory]:
    """Asks once."""
    with remembering(proxy.base_url, model={"max_retries": 0}) as memory:
        yield memory


# Faults that pass

PASSING: dict[str, dict[str, Any]] = {
    "slow": {"kind": "delay", "seconds": 0.3},
    "slow answer": {"kind": "delay_answer", "seconds": 0.3},
    "dropped": {"kind": "drop"},
    "dropped answer": {"kind": "drop_answer"},
    "too many requests": {"kind": "status", "status": 429, "retry_after": 0.02},
    "server error": {"kind": "status", "status": 500, "retry_after": 0.02},
    "gateway error": {"kind": "status", "status": 503, "retry_after": 0.02, "body": HTML},
    "cut body": {"kind": "cut", "after": 40},
}


@pytest.mark.parametrize("asks", ["models", "count", "read"])
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_waited_for(proxy: Proxy, memory: Memory, namespace: Namespace, fault: str, asks: str) -> None:
    failing = Fault(**PASSING[fault], times=1, when=a(asks))
    proxy.faults.insert(0, failing)
    memory.write(namespace, TOLD)
    reading = memory.read(namespace, "Where is the red mug?")
    assert [hit.record.text for hit in reading.records] == TOLD[:1]
    assert failing.hits == 1


def test_what_happens_twice_is_waited_for(proxy: Proxy, memory: Memory, namespace: Namespace) -> None:
    memory.write(namespace, TOLD)
    for place in (0, 1):
        proxy.faults.insert(place, Fault("status", status=500, retry_after=0.02, times=1, when=a("read")))
    assert memory.read(namespace, "Where is the red mug?").records
    assert [request.status for request in asked(proxy, "read")] == [500, 500, 200]


# Faults that stay

STAYING: dict[str, dict[str, Any]] = {
    **{name: fault for name, fault in PASSING.items() if "slow" not in name},
    "web page": {"kind": "garbage", "body": HTML},
    "half of an answer": {"kind": "garbage", "body": NOT_JSON},
    "another answer": {"kind": "garbage", "body": OTHER_JSON},
    "empty answer": {"kind": "garbage", "body": b""},
    "null": {"kind": "garbage", "body": b"null"},
    "no choices": {"kind": "garbage", "body": b'{"choices": []}'},
    "unauthorized": {"kind": "status", "status": 401},
    "not found": {"kind": "status", "status": 404},
}
ANYWHERE = ["dropped", "cut body", "server error", "web page", "half of an answer", "empty answer"]


@pytest.mark.parametrize(
    ("asks", "fault"),
    [*(("read", fault) for fault in STAYING), *((asks, fault) for asks in ("models", "count") for fault in ANYWHERE)],
)
async def test_what_stays_is_said(proxy: Proxy, hasty: Memory, namespace: Namespace, fault: str, asks: str) -> None:
    proxy.faults.insert(0, Fault(**STAYING[fault], when=a(asks)))
    hasty.write(namespace, TOLD)
    fix = "Check the model's URL, name and key$" if fault in ("unauthorized", "not found") else "vllm serve "
    with pytest.raises(ReaderUnavailable, match=unavailable(proxy, fix)):
        hasty.read(namespace, "Where is the red mug?")
    with pytest.raises(ReaderUnavailable, match=unavailable(proxy, fix)):
        await hasty.aread(namespace, "Where is the red mug?")
    del proxy.faults[0]
    assert hasty.read(namespace, "Where is the red mug?").records


def unavailable(proxy: Proxy, fix: str = "vllm serve ") -> str:
    return rf"^{re.escape(proxy.base_url)} does not answer .*{fix}"


@pytest.mark.parametrize("fault", ANYWHERE)
def test_a_prime_that_fails_is_told_by_flush_and_mended_by_the_next_read(
    proxy: Proxy, hasty: Memory, namespace: Namespace, fault: str
) -> None:
    proxy.faults.insert(0, Fault(**STAYING[fault], times=1, when=a("prime")))
    hasty.write(namespace, [*TOLD, PADDING])
    with pytest.raises(ReaderUnavailable, match=unavailable(proxy)):
        hasty.flush()
    hasty.flush()  # told once
    assert hasty.read(namespace, "Where is the red mug?").records
    assert hasty.read(namespace, "Where is Bert?").usage.cached_tokens > len(PADDING)


def test_a_read_needs_no_prime(proxy: Proxy, hasty: Memory, namespace: Namespace) -> None:
    proxy.faults.insert(0, Fault("status", status=500, when=a("prime")))
    hasty.write(namespace, [*TOLD, PADDING])
    assert hasty.read(namespace, "Where is the red mug?").records


def test_a_server_that_cannot_leave_a_message_open_is_not_primed(
    proxy: Proxy, memory: Memory, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.faults.insert(0, Fault("status", status=400, when=a("prime")))
    for _ in range(2):
        memory.write(namespace, [*TOLD, PADDING])
        memory.flush()
        assert memory.read(namespace, "Where is the red mug?").records
    assert len(asked(proxy, "prime")) == 1
    assert len([record for record in caplog.records if "not primed any more" in record.getMessage()]) == 1


@pytest.mark.parametrize("asks", ["models", "count", "read", "prime"])
async def test_nothing_is_waited_for_longer_than_the_timeout(proxy: Proxy, namespace: Namespace, asks: str) -> None:
    proxy.faults.insert(0, Fault("delay", seconds=3_600, when=a(asks)))
    with remembering(proxy.base_url, model={"max_retries": 1}, timeout=0.5) as memory:
        memory.write(namespace, [*TOLD, PADDING])
        with pytest.raises(ReaderUnavailable, match=unavailable(proxy)):
            await memory.aread(namespace, "Where is the red mug?") if asks == "read" else await memory.aflush()
    proxy.wait_until(lambda: all(request.cancelled for request in asked(proxy, asks)))
    assert len(asked(proxy, asks)) >= 2


def test_flush_waits_for_the_prime_of_what_was_written_before(
    proxy: Proxy, memory: Memory, namespace: Namespace
) -> None:
    proxy.faults.insert(0, Fault("delay", seconds=0.5, when=a("prime")))
    memory.write(namespace, [PADDING] * 12)
    proxy.wait_until(lambda: bool(asked(proxy, "prime")))
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(memory.flush)
        time.sleep(0.1)  # so that it waits before the next write
        memory.write(namespace, "Bert sleeps.")
        flushing.result()
    answered = [request.content.decode() for request in asked(proxy, "prime") if request.status == 200]
    assert max(content.count(PADDING.strip()) for content in answered) == 12


# Who does not wait any longer


async def running(server: VllmServer, wanted: int, *, seconds: float = 60.0) -> None:
    """Return when the server works at so many requests, by its own count."""
    give_up = time.monotonic() + seconds
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            text = (await client.get(f"{server.base_url.removesuffix('/v1')}/metrics")).raise_for_status().text
            now = sum(
                map(float, re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", text, re.MULTILINE))
            )
            if now == wanted:
                return
            assert time.monotonic() < give_up, f"{now} requests, not {wanted}"
            await asyncio.sleep(0.05)


@pytest.fixture
def slow(proxy: Proxy) -> Iterator[Memory]:
    """Its answers take very long."""
    with remembering(proxy.base_url, max_tokens=LONG) as memory:
        yield memory


async def assert_cancelled(task: "asyncio.Task[Any]", proxy: Proxy, server: VllmServer) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(proxy.wait_until, lambda: all(request.cancelled for request in asked(proxy, "read")))
    await running(server, 0)


async def test_a_cancelled_read_is_no_longer_answered(
    proxy: Proxy, slow: Memory, vllm_server: VllmServer, namespace: Namespace
) -> None:
    await running(vllm_server, 0)
    slow.write(namespace, TOLD)
    await slow.aflush()
    reads = [asyncio.create_task(slow.aread(namespace, "Where is the red mug?")) for _ in range(2)]
    await running(vllm_server, 2)
    reads[0].cancel()
    await running(vllm_server, 1)
    assert not reads[1].done()
    await assert_cancelled(reads[1], proxy, vllm_server)


async def test_a_cancelled_read_of_segments_cancels_all_of_them(vllm_servers: Servers, namespace: Namespace) -> None:
    server = vllm_servers(max_model_len=SMALL)
    with in_front_of(server) as proxy, remembering(proxy.base_url, max_tokens=SMALL) as memory:
        memory.write(namespace, [PADDING] * 3)
        await memory.aflush()
        read = asyncio.create_task(memory.aread(namespace, "Where is the red mug?"))
        await running(server, 3)
        await assert_cancelled(read, proxy, server)


@pytest.mark.parametrize("protocol", ["m3", "tool_calls"])
async def test_a_cancelled_agent_asks_no_longer(
    proxy: Proxy, slow: Memory, vllm_server: VllmServer, namespace: Namespace, protocol: Any
) -> None:
    await running(vllm_server, 0)
    slow.write(namespace, TOLD)
    await slow.aflush()
    search = create_search_memory_tool(slow, namespace=namespace)
    graph = create_m3_agent([search], ExtractiveChatModel(), protocol=protocol).compile()
    run = asyncio.create_task(graph.ainvoke({"messages": [HumanMessage("Where is the red mug?")]}))
    await running(vllm_server, 1)
    await assert_cancelled(run, proxy, vllm_server)


async def test_a_prime_is_cancelled_with_the_last_read_that_waits_for_it(
    vllm_server: VllmServer, namespace: Namespace
) -> None:
    store = InMemoryStore()
    with Proxy(vllm_server.base_url) as proxy, remembering(proxy.base_url, store=store) as memory:
        with remembering(proxy.base_url, store=store, prime="off") as other:
            other.write(namespace, [*TOLD, PADDING])
        proxy.faults.append(Fault("delay", seconds=3_600, when=a("prime")))
        reads = [asyncio.create_task(memory.aread(namespace, "Where is the red mug?")) for _ in range(2)]
        await asyncio.to_thread(proxy.wait_until, lambda: bool(asked(proxy, "prime")))
        await asyncio.sleep(0.1)  # so that the other read has found it
        for read, gone in zip(reads, (False, True), strict=True):
            read.cancel()
            with pytest.raises(asyncio.CancelledError):
                await read
            if gone:
                await asyncio.to_thread(proxy.wait_until, lambda: asked(proxy, "prime")[0].cancelled)
            assert [request.cancelled for request in asked(proxy, "prime")] == [gone]
        assert not asked(proxy, "read")


# A server that goes and comes


def test_a_server_may_be_started_anew(vllm_servers: Servers, namespace: Namespace) -> None:
    """On its own port, in the middle of a run: writes go on, reads fail and then go on."""
    server, other = vllm_servers(max_model_len=SMALL), (*namespace, "other")
    with in_front_of(server) as proxy, remembering(proxy.base_url, model={"max_retries": 1}) as memory:
        memory.write(namespace, [*TOLD, PADDING])
        memory.flush()
        before = memory.read(namespace, "Where is the red mug?")
        server.stop()
        try:
            for where in (namespace, other):
                memory.write(where, "Bert takes the red mug.")
                memory.write(where, PADDING)
                with pytest.raises(ReaderUnavailable, match=unavailable(proxy)):
                    memory.read(where, "Where is the red mug?")
            with pytest.raises(ReaderUnavailable, match=unavailable(proxy)):
                memory.flush()
        finally:
            server.start()
        after = memory.read(namespace, "Where is the red mug?", until=2)
        assert (after.text, after.records) == (before.text, before.records)
        for where in (namespace, other):
            assert "takes the red mug" in memory.read(where, "Who takes the red mug?").text
            memory.write(where, TOLD)
        memory.flush()
        for where in (namespace, other):
            assert memory.read(where, "Where is Bert?").usage.cached_tokens > len(PADDING)


def test_a_read_is_not_ended_by_a_server_that_ends(vllm_server: VllmServer, namespace: Namespace) -> None:
    """While it reads, the server goes; the one that comes in its place answers."""
    with in_front_of(vllm_server) as proxy, remembering(proxy.base_url) as memory:
        memory.write(namespace, TOLD)
        memory.flush()
        proxy.faults.insert(0, Fault("drop_answer", times=1, when=a("read")))
        proxy.faults.insert(1, Fault("drop", times=1, when=a("read")))
        assert memory.read(namespace, "Where is the red mug?").records
        assert [request.status for request in asked(proxy, "read")] == [None, None, 200]
