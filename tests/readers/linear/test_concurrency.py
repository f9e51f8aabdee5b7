"""How many requests a server gets at a time, and whose."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from linmem_langgraph import Memory
from linmem_langgraph.namespaces import Namespace
from tests.model_server import Kind, ModelServer, kind, memory_of
from tests.readers.linear.conftest import Remember
from tests.readers.linear.words import everything

LONG = "Anna waters the plants in the kitchen. " * 40


def read_at_once(memories: list[Memory], namespace: Namespace, count: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        reads = [pool.submit(memories[n % len(memories)].read, namespace, f"{n}?") for n in range(count)]
        for read in reads:
            read.result(60)


def test_the_bound_holds_for_all_readers_of_a_server(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    memories = [remember(concurrency=3), remember(concurrency=3)]
    for place, memory in enumerate(memories):
        memory.write(namespace, [f"{place} {LONG}"] * 3)
    server.latency = 0.02
    read_at_once(memories, namespace, 16)
    for memory in memories:
        memory.flush()
    assert server.most_at_once("prime", "read", "merge") == 3


def test_segments_are_read_side_by_side_within_the_bound(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context, server.says = 2_400, everything
    server.refuses_long_prompts = False
    memory = remember(max_tokens=40, concurrency=4, prime="off")
    memory.write(namespace, [f"{place:<300}|" for place in range(20)])
    memory.read(namespace, "?")
    server.clear()
    server.latency = 0.05
    memory.read(namespace, "?")
    assert len(server.asked("read")) == 10
    assert server.most_at_once("read") == 4
    assert server.most_at_once("read", "merge") == 4


def test_counts_are_requests_too(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context, server.latency = 2_400, 0.05
    memory = remember(max_tokens=40, concurrency=1)
    memory.write(namespace, [f"{place:<300}|" for place in range(20)])
    memory.flush()
    assert server.most_at_once("count", "prime", "read") == 1


@pytest.mark.parametrize("what", ["models", "count"])
def test_what_all_need_to_know_is_asked_for_once(
    server: ModelServer, remember: Remember, namespace: Namespace, what: Kind
) -> None:
    server.context = 2_400
    memory = remember(max_tokens=40, prime="off")
    memory.write(namespace, [f"{place:<300}|" for place in range(5)])
    if what == "count":
        memory.write(("another",), "short")
        memory.read(("another",), "?")

    def asked_twice() -> bool:
        asked = [request.content for request in server.under_way(what)]
        return len(asked) > len(set(asked))

    server.holds = lambda request: kind(request) == what
    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(memory.read, namespace, "?") for _ in range(4)]
        try:
            with pytest.raises(TimeoutError):
                server.wait_until(asked_twice, seconds=2)
        finally:
            server.release()
        for read in reads:
            assert read.result(60).text == server.says


def test_reads_go_on_while_another_namespace_is_counted(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = 2_400
    memory = remember(max_tokens=40, prime="off")
    other = (*namespace, "other")
    for each, word in [(namespace, "cold"), (other, "known")]:
        memory.write(each, [f"{word}{place:<300}|" for place in range(5)])
    memory.read(other, "?")
    server.holds = lambda request: kind(request) == "count" and b"cold" in request.content
    with ThreadPoolExecutor(2) as pool:
        cold = pool.submit(memory.read, namespace, "?")
        try:
            server.wait_until(lambda: len(server.under_way("count")) > 0)
            known = pool.submit(memory.read, other, "?")
            assert known.result(3).text == server.says
        finally:
            server.release()
        cold.result(60)


def test_reads_go_on_while_another_namespace_is_primed(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    other = (*namespace, "other")
    memory.write(other, "Anna sleeps")
    memory.flush()
    server.holds = lambda request: b"waters" in request.content
    memory.write(namespace, [f"{place} {LONG}" for place in range(20)])
    server.wait_until(lambda: len(server.under_way("prime")) == 1)
    read_at_once([memory], other, 8)
    assert len(server.under_way("prime")) == 1
    server.release()
    memory.flush()
    assert len(server.asked("prime")) > 3


def test_a_long_prime_lets_others_in_between_its_steps(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    server.latency = 0.05
    server.holds = lambda request: request in server.asked("prime")[:1]
    memory.write(namespace, [f"{place} {LONG}" for place in range(40)])
    server.wait_until(lambda: len(server.under_way("prime")) == 1)
    for place in range(3):
        memory.write((*namespace, str(place)), f"another {place}")
    server.release()
    memory.flush()
    owners = ["another" in memory_of(request) for request in server.asked("prime")]
    assert owners.count(True) == 3
    assert owners.index(True) < 5
    assert owners[-1] is False


def test_a_memory_of_many_segments_lets_others_in_between(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context = 2_400
    memory = remember(max_tokens=40, concurrency=1, prime="off")
    other = (*namespace, "other")
    memory.write(namespace, [f"{place:<300}|" for place in range(24)])
    memory.write(other, "Anna sleeps")
    memory.read(other, "?")
    server.clear()
    server.holds = lambda request: request in server.asked("read")[:1]
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(memory.read, namespace, "?")
        server.wait_until(lambda: len(server.under_way("read")) == 1)
        short = pool.submit(memory.read, other, "?")
        wait([short], 0.2)
        server.release()
        short.result(60)
        long.result(60)
    order = ["Anna sleeps" in memory_of(request) for request in server.asked("read")]
    assert order.index(True) < 6
