"""A memory that nobody has primed yet: the first read does it, once for all who ask at the same time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import LinearReader, Memory, MemoryRecord, ReaderUnavailable, Reading, transcript
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.primer import Primer
from linmem_langgraph.vllm import ChatVLLM
from tests.http1 import Request
from tests.model_server import CHAT, TEMPLATE, ModelServer, kind, memory_of, tokens
from tests.proxy import Fault, Proxy
from tests.readers.linear.conftest import Remember

LONG = "Anna waters the plants in the kitchen. " * 40
RECORDS = [MemoryRecord(text=f"{place} {LONG}", position=place) for place in range(4)]


@pytest.fixture
def found(server: ModelServer, remember: Remember, namespace: Namespace) -> Memory:
    """A memory that another process has written."""
    store = InMemoryStore()
    remember(store=store, prime="off").write(namespace, RECORDS)
    memory = remember(store=store)
    server.clear()
    return memory


async def until_asked(server: ModelServer, count: int = 1) -> None:
    await asyncio.to_thread(server.wait_until, lambda: len(server.asked("prime")) >= count)


async def reading(memory: Memory, namespace: Namespace, count: int) -> list[asyncio.Task[Reading]]:
    return [asyncio.create_task(memory.aread(namespace, f"Where is {place}?")) for place in range(count)]


def test_a_read_primes_exactly_what_it_reads_and_the_next_one_gains(
    server: ModelServer, found: Memory, namespace: Namespace
) -> None:
    for until in (1, 2, None):
        server.clear()
        first, second = (found.read(namespace, "?", until=until).usage for _ in range(2))
        assert [kind(request) for request in server.asked("prime", "read")] == ["prime", "read", "read"]
        shown = transcript.render(found.records(namespace, until=until))
        assert {memory_of(request) for request in server.asked("prime", "read")} == {shown}
        prime = server.asked("prime")[0].body
        primed = TEMPLATE + sum(tokens(message["content"]) for message in prime["messages"])
        assert first.prompt_tokens == primed + second.prompt_tokens
        assert second.cached_tokens > tokens(shown)


def test_a_short_memory_is_read_at_once(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    store = InMemoryStore()
    remember(store=store, prime="off").write(namespace, "x" * 990)
    remember(store=store).read(namespace, "?")
    assert not server.asked("prime")


async def test_reads_at_the_same_time_share_the_prime(server: ModelServer, found: Memory, namespace: Namespace) -> None:
    server.holds = lambda request: kind(request) == "prime"
    reads = await reading(found, namespace, 6)
    await until_asked(server)
    await asyncio.sleep(0.1)
    server.release()
    usages = [read.usage for read in await asyncio.gather(*reads)]
    assert len(server.asked("prime")) == 1
    assert len(server.asked("read")) == 6
    paid = [usage for usage in usages if usage.prompt_tokens > 10_000]
    assert len(paid) == 1


async def test_one_who_leaves_takes_the_prime_from_nobody(
    server: ModelServer, found: Memory, namespace: Namespace
) -> None:
    server.holds = lambda request: kind(request) == "prime"
    first, *others = await reading(found, namespace, 3)
    await until_asked(server)
    await asyncio.sleep(0.1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.release()
    assert [read.text for read in await asyncio.gather(*others)] == [server.says] * 2
    assert len(server.asked("prime")) == 1
    assert not server.asked("prime")[0].cancelled


async def test_the_prime_ends_with_the_last_who_waits(server: ModelServer, found: Memory, namespace: Namespace) -> None:
    server.holds = lambda request: kind(request) == "prime"
    reads = await reading(found, namespace, 3)
    await until_asked(server)
    for read in reads:
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    await asyncio.to_thread(server.wait_until, lambda: server.asked("prime")[0].cancelled)
    server.release()
    assert (await found.aread(namespace, "?")).text == server.says
    assert len(server.asked("prime")) == 2


@pytest.fixture
async def proxy(server: ModelServer) -> AsyncIterator[Proxy]:
    with Proxy(server.base_url) as proxy:
        yield proxy


async def test_all_are_told_that_it_failed_and_the_next_tries_again(
    server: ModelServer, proxy: Proxy, namespace: Namespace
) -> None:
    def is_prime(request: Request) -> bool:
        return request.path == CHAT and kind(request) == "prime"

    store = InMemoryStore()
    with Memory(LinearReader(ChatVLLM(base_url=server.base_url), prime="off"), store=store) as writer:
        writer.write(namespace, RECORDS)
    proxy.faults.append(Fault("drop", when=is_prime))
    with Memory(LinearReader(ChatVLLM(base_url=proxy.base_url, max_retries=0)), store=store) as memory:
        for failure in await asyncio.gather(*await reading(memory, namespace, 3), return_exceptions=True):
            assert isinstance(failure, ReaderUnavailable)
            assert proxy.base_url in str(failure)
        proxy.faults.clear()
        assert (await memory.aread(namespace, "?")).text == server.says
    assert len(server.asked("prime")) == 1


def test_a_mark_may_be_gone_while_it_is_looked_at(
    server: ModelServer, memory: Memory, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.write(namespace, RECORDS)
    memory.flush()
    reached = Primer._reached

    def reached_and_forgotten(primer: Primer, namespace: Namespace, *given: Any) -> int:
        """As another thread may, which forgets a record or drops the least recently used namespace."""
        try:
            return reached(primer, namespace, *given)
        finally:
            primer.forget(namespace)

    monkeypatch.setattr(Primer, "_reached", reached_and_forgotten)
    assert memory.read(namespace, "?").text == server.says
