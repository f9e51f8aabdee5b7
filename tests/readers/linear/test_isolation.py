"""What the server never gets to see: later than `until`, of another namespace, or forgotten."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as NotYet
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ForgetReceipt, LinearReader, Memory, MemoryRecord
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.testing.strategies import different_namespaces
from linmem_langgraph.vllm import ChatVLLM
from tests.http1 import Request
from tests.model_server import ModelServer
from tests.readers.linear.words import everything

FILL = "and waters the plants in the kitchen, " * 9


@pytest.fixture(scope="module", params=[None, 1_800])
def watched(request: pytest.FixtureRequest) -> Iterator[tuple[ModelServer, Memory]]:
    """A memory in one piece, and one in segments, primed and read over the same server."""
    with ModelServer(everything, context=request.param) as server:
        server.refuses_long_prompts = False
        reader = LinearReader(ChatVLLM(base_url=server.base_url), max_tokens=10)
        with Memory(reader, store=InMemoryStore()) as memory:
            yield server, memory


def nonce(kept: dict[str, int], position: int) -> MemoryRecord:
    """A record with a word of its own, which is kept beside its position."""
    word = f"w{uuid4().hex[:10]}w"
    kept[word] = position
    return MemoryRecord(text=f"Anna says {word} {FILL[: position % 5 * 20]}", position=position)


def texts(requests: list[Request]) -> str:
    return "\n".join(request.content.decode() for request in requests)


@settings(max_examples=15)
@given(
    namespaces=different_namespaces(),
    places=st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=2, max_size=4),
    bounds=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    filter=st.sampled_from([None, {"position": {"$gte": 2}}]),
)
def test_no_body_holds_what_is_later_or_anothers(
    watched: tuple[ModelServer, Memory],
    namespaces: list[Namespace],
    places: list[list[int]],
    bounds: list[int],
    filter: dict[str, Any] | None,
) -> None:
    server, memory = watched
    server.clear()
    salts: dict[str, Namespace] = {}
    words: dict[Namespace, dict[str, int]] = {(uuid4().hex, *namespace): {} for namespace in namespaces}
    for namespace, kept in words.items():
        for chunk in places:
            memory.write(namespace, [nonce(kept, position) for position in chunk])
        for until in bounds:
            memory.flush()
            before = len(server.requests)
            memory.read(namespace, "What does Anna say?", until=until, filter=filter)
            asked = texts(server.requests[before:])
            later = [word for word, position in kept.items() if position > until]
            assert not [word for word in later if word in asked]
    memory.flush()
    for request in server.asked("prime", "read", "merge"):
        salts_of = {namespace for namespace, kept in words.items() if any(word in texts([request]) for word in kept)}
        assert len(salts_of) <= 1
        for namespace in salts_of:
            assert salts.setdefault(request.body["cache_salt"], namespace) == namespace


def forgetting(memory: Memory, namespace: Namespace, keys: list[str] | None, server: ModelServer) -> list[Request]:
    """Forget while the server holds a prime of it; what the server has got when `forget` has returned."""
    with ThreadPoolExecutor(1) as pool:
        done: Future[ForgetReceipt] = pool.submit(memory.forget, namespace, keys)
        with pytest.raises(NotYet):
            done.result(0.1)
        server.release()
        assert done.result(30).from_log > 0
    return server.requests


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_forgotten_during_a_prime_is_not_sent_again(
    server: ModelServer, memory: Memory, namespace: Namespace, whole: bool
) -> None:
    held = 2
    server.holds = lambda request: request in server.asked("prime")[held - 1 :]
    keys = memory.write(namespace, [f"number{place}number {FILL}" for place in range(60)])
    server.wait_until(lambda: len(server.asked("prime")) == held)
    before = forgetting(memory, namespace, None if whole else [keys[1], keys[50]], server)
    assert len([request for request in before if b"number1number" in request.content]) == held
    memory.write(namespace, "something else")
    memory.flush()
    memory.read(namespace, "?")
    memory.rebuild(namespace)
    after = texts(server.requests[len(before) :])
    assert "number1number" not in after
    assert "number50number" not in after
    assert "something else" in after
    assert ("number2number" in after) is not whole


def test_what_is_forgotten_while_its_prime_waits_is_not_sent_again(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    """Another namespace's prime is under way, so that this one's cannot begin."""
    server.holds = lambda request: b"held" in request.content
    memory.write((*namespace, "other"), "held")
    server.wait_until(lambda: len(server.under_way("prime")) == 1)
    memory.write(namespace, "secret")
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(memory.forget, namespace)
        wait([done], 0.1)
        server.release()
        assert done.result(30).from_log == 1
    before = len(server.requests)
    memory.write(namespace, "something else")
    memory.flush()
    memory.read(namespace, "?")
    assert "secret" not in texts(server.requests[before:])


def test_what_is_forgotten_is_not_kept_in_the_process(memory: Memory, namespace: Namespace) -> None:
    reader = memory.reader
    assert isinstance(reader, LinearReader)
    keys = memory.write(namespace, ["secret", "kept"])
    memory.flush()
    memory.read(namespace, "?")
    assert [record.text for record in reader._views._views[namespace].records] == ["secret", "kept"]
    memory.forget(namespace, keys[:1])
    assert not [view for view in reader._views._views.values() if "secret" in view.text(range(len(view.records)))]


def test_what_is_written_over_is_not_sent_again(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    keys = memory.write(namespace, [f"old {FILL}", "kept"])
    memory.flush()
    memory.write(namespace, MemoryRecord(text="new", key=keys[0]))
    before = len(server.requests)
    memory.read(namespace, "?")
    memory.flush()
    assert "old and" not in texts(server.requests[before:])


def test_what_was_forgotten_may_be_written_again(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    server.says = everything
    for _ in range(2):
        keys = memory.write(namespace, [f"again {FILL}"])
        memory.flush()
        assert memory.read(namespace, "?").text == f"again {FILL.strip()} [0]"
        memory.forget(namespace, keys[:1])
        memory.forget(namespace)
    assert len(server.asked("prime")) == 2
