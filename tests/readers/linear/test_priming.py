"""Priming after a write: in order, in steps, once, and never in anybody's way."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from itertools import pairwise
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, LinearReader, Memory, MemoryRecord, ReaderUnavailable, transcript
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.traffic import FIRST_STEP, SMALLEST
from linmem_langgraph.vllm import ChatVLLM
from tests.http1 import Request
from tests.model_server import CHAT, ModelServer, kind, memory_of, said, tokens
from tests.proxy import Fault, Proxy
from tests.readers.linear.conftest import Remember
from tests.readers.linear.words import positions

LONG = "Anna waters the plants in the kitchen. " * 40


def holding_first(server: ModelServer, count: int = 1) -> Callable[[Request], bool]:
    """Hold the first primes."""
    return lambda request: request in server.asked("prime")[:count]


def primed(server: ModelServer) -> list[str]:
    """The transcripts that have been primed, in that order."""
    return [memory_of(request) for request in server.asked("prime")]


def rendered(memory: Memory, namespace: Namespace) -> str:
    return transcript.render(memory.records(namespace))


def test_a_burst_of_writes_costs_one_prime_more(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    server.holds = holding_first(server)
    memory.write(namespace, "the first")
    server.wait_until(lambda: len(server.under_way("prime")) == 1)
    for place in range(20):
        memory.write(namespace, f"number {place}")
    server.release()
    memory.flush()
    assert primed(server) == ["[0] the first\n", rendered(memory, namespace)]


def test_writes_are_primed_in_order(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    for place in range(6):
        memory.write(namespace, f"number {place}")
        memory.flush()
    sent = primed(server)
    assert sent == ["".join(f"[{n}] number {n}\n" for n in range(place + 1)) for place in range(6)]


def test_what_is_primed_already_is_not_primed_again(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    memory.write(namespace, LONG)
    memory.flush()
    for _ in range(3):
        memory.read(namespace, "?")
    memory.write(namespace, memory.records(namespace))
    memory.flush()
    assert len(server.asked("prime")) == 1


def test_a_server_that_tells_no_usage_is_primed_once(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    server.tells_usage = False
    memory.write(namespace, LONG)
    memory.flush()
    for _ in range(3):
        memory.read(namespace, "?")
    assert len(server.asked("prime")) == 1


def test_a_long_transcript_is_primed_in_steps(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    memory.write(namespace, [f"{place} {LONG[:900]}" for place in range(60)])
    memory.flush()
    sent = primed(server)
    lines = [transcript.render_record(record) for record in memory.records(namespace)]
    assert sent[-1] == "".join(lines)
    assert tokens(sent[0]) <= FIRST_STEP
    assert len(sent) > 2
    for before, after in pairwise(sent):
        assert after.startswith(before)
        # A step is of whole records, and no more than twice as large as the one before was allowed to be.
        assert after in {"".join(lines[:stop]) for stop in range(61)}
        assert SMALLEST <= tokens(after) - tokens(before) <= FIRST_STEP * 2 ** sent.index(after)


def test_short_primes_do_not_make_a_long_one_a_single_step(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    for place in range(12):
        memory.write((*namespace, "short"), f"number {place}")
        memory.flush()
    server.clear()
    memory.write(namespace, [f"{place} {LONG[:900]}" for place in range(200)])
    memory.flush()
    assert tokens(primed(server)[0]) <= 2 * FIRST_STEP


def test_a_record_larger_than_a_step_is_a_step(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    memory.write(namespace, ["x" * 3 * FIRST_STEP, "y"])
    memory.flush()
    assert [tokens(sent) for sent in primed(server)] == [3 * FIRST_STEP + 5, 3 * FIRST_STEP + 11]


def test_a_later_write_takes_over_where_a_prime_is(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    server.holds = holding_first(server, 2)
    memory.write(namespace, [f"{place} {LONG[:900]}" for place in range(40)])
    server.wait_until(lambda: len(server.asked("prime")) == 1)
    memory.write(namespace, "one more")
    server.release()
    memory.flush()
    sent = primed(server)
    assert sent[-1] == rendered(memory, namespace)
    assert all(len(before) < len(after) and after.startswith(before) for before, after in pairwise(sent))
    assert not any("one more" in one for one in sent[:-1])


def test_a_changed_record_is_primed_with_all_after_it(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    keys = memory.write(namespace, ["a", "b", "c"])
    memory.flush()
    server.clear()
    memory.write(namespace, MemoryRecord(text="B", key=keys[1]))
    memory.flush()
    assert primed(server) == ["[0] a\n[1] B\n[2] c\n"]


def test_each_segment_is_primed_and_a_full_one_only_once(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.context, server.says = 2_400, positions
    memory = remember(max_tokens=40)
    memory.write(namespace, [f"{place:<300}|" for place in range(5)])
    memory.flush()
    first = primed(server)
    assert [sorted(line[:3] for line in sent.splitlines()) for sent in first] == [
        ["[0]", "[1]"],
        ["[2]", "[3]"],
        ["[4]"],
    ]
    memory.write(namespace, [f"{place:<300}|" for place in range(5, 7)])
    memory.flush()
    memory.read(namespace, "?")
    later = primed(server)[3:]
    assert [sorted(line[:3] for line in sent.splitlines()) for sent in later] == [["[4]", "[5]"], ["[6]"]]


def test_a_full_segment_is_not_primed_again_however_many_writes_follow(
    server: ModelServer, remember: Remember, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linmem_langgraph.readers._linear.primer.MARKS", 16)
    server.context = 2_400
    memory = remember(max_tokens=40)
    memory.write(namespace, [f"{place:<300}|" for place in range(4)])
    for place in range(20):
        memory.write(namespace, f"number {place}")
        memory.flush()
    assert len([sent for sent in primed(server) if sent.startswith("[0] ")]) == 1


def test_a_read_does_not_wait_for_a_prime(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    memory.read(namespace, "?")
    server.holds = holding_first(server)
    memory.write(namespace, "short")
    server.wait_until(lambda: len(server.under_way("prime")) == 1)
    assert memory.read(namespace, "?").text == server.says
    memory.write(namespace, LONG)
    assert memory.read(namespace, "?").text == server.says
    assert len(server.under_way("prime")) == 1
    assert LONG.strip() in said(server.asked("read")[-1])


def test_flush_waits_for_the_prime(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    server.holds = lambda request: kind(request) == "prime"
    memory.write(namespace, "a")
    server.wait_until(lambda: len(server.under_way("prime")) == 1)
    with ThreadPoolExecutor(1) as pool:
        flushing: Future[None] = pool.submit(memory.flush)
        with pytest.raises(NotYet):
            flushing.result(0.1)
        server.release()
        flushing.result(30)
    assert not server.under_way("prime")


def test_flush_raises_what_went_wrong_and_a_read_goes_on(server: ModelServer, namespace: Namespace) -> None:
    def is_prime(request: Request) -> bool:
        return request.path == CHAT and kind(request) == "prime"

    with Proxy(server.base_url) as proxy:
        proxy.faults.append(Fault("status", status=500, when=is_prime))
        reader = LinearReader(ChatVLLM(base_url=proxy.base_url, max_retries=0))
        with Memory(reader, store=InMemoryStore()) as memory:
            memory.write(namespace, "a")
            with pytest.raises(ReaderUnavailable, match=proxy.base_url):
                memory.flush()
            memory.flush()
            assert memory.read(namespace, "?").text == server.says
            proxy.faults.clear()
            memory.write(namespace, "b")
            memory.flush()
    assert primed(server) == ["[0] a\n[1] b\n"]


def test_prime_off_sends_none(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    memory = remember(prime="off")
    memory.write(namespace, [LONG] * 3)
    memory.flush()
    memory.read(namespace, "?")
    memory.rebuild(namespace)
    assert [kind(request) for request in server.requests] == ["models", "count", "read"]


def test_prime_reads_sends_one_for_each_beginning_that_is_read(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    memory = remember(prime="reads")
    memory.write(namespace, [LONG] * 6)
    memory.flush()
    memory.rebuild(namespace)
    assert not server.asked("prime")

    for until in (2, 2, 4, None):
        memory.read(namespace, "?", until=until)

    whole = rendered(memory, namespace)
    parts = [transcript.render(memory.records(namespace, until=until)) for until in (2, 4)]
    assert primed(server) == [*parts, whole]
    assert [request.body["cache_salt"] for request in server.asked("prime")] == [
        server.bodies("read")[0]["cache_salt"]
    ] * 3


def test_an_answer_that_a_cache_has_needs_no_prime(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    store, cache = InMemoryStore(), InMemoryCache()
    options = {"store": store, "prime": "reads", "cache_secret": "same"}
    first = remember(model=ChatVLLM(base_url=server.base_url, cache=cache), **options)
    first.write(namespace, [LONG] * 3)
    answer = first.read(namespace, "Who?")
    assert len(server.asked("prime")) == len(server.asked("read")) == 1

    second = remember(model=ChatVLLM(base_url=server.base_url, cache=cache), **options)
    assert second.read(namespace, "Who?").text == answer.text
    assert len(server.asked("prime")) == len(server.asked("read")) == 1
    second.read(namespace, "Who else?")
    assert len(server.asked("prime")) == len(server.asked("read")) == 2
    uncached = remember(model=ChatVLLM(base_url=server.base_url, cache=False), **options)
    uncached.read(namespace, "Who?")
    assert len(server.asked("read")) == 3


def test_what_cannot_be_primed_is_refused(chat: ChatVLLM) -> None:
    fake = FakeListChatModel(responses=["x"])
    with pytest.raises(ConfigError, match="FakeListChatModel cannot be primed: give LinearReader a ChatVLLM, or"):
        LinearReader(fake, prime="on")
    wrong: Any = "yes"
    for model in (fake, chat):
        with pytest.raises(ConfigError, match="prime is 'yes': choose 'auto', 'on', 'reads' or 'off'"):
            LinearReader(model, prime=wrong)


def test_a_server_that_cannot_prime_is_asked_once(
    server: ModelServer, remember: Remember, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    server.primes = False
    memory = remember(prime="on")
    for place in range(3):
        memory.write(namespace, f"{place} {LONG}")
        memory.flush()
        assert memory.read(namespace, "?").text == server.says
    assert len(server.asked("prime")) == 1
    warnings = [record.getMessage() for record in caplog.records if "not primed any more" in record.getMessage()]
    assert len(warnings) == 1
    assert "continue_final_message is not supported" in warnings[0]
    assert server.base_url in warnings[0]
