"""Who may ask a model server when."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linmem_langgraph.readers._linear import traffic as module
from linmem_langgraph.readers._linear.traffic import FIRST_STEP, LARGEST, SMALLEST, STEP_SECONDS, Traffic, traffic_of


class Users:
    """Requests that last until they are let go; knows the most there were at a time, and in which order they began."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.begun: list[str] = []
        self.now = self.most = 0
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, name: str, *, prime: bool = False) -> asyncio.Task[None]:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._use(name, prime=prime))
        await settle()
        return self._tasks[name]

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
        await asyncio.gather(*(self._tasks[name] for name in names), return_exceptions=True)
        await settle()

    async def _use(self, name: str, *, prime: bool) -> None:
        async with self.traffic.prime_step() if prime else self.traffic.read():
            self.begun.append(name)
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await self._ends[name].wait()
            finally:
                self.now -= 1
            if name.startswith("failing"):
                raise RuntimeError(name)


async def settle() -> None:
    """Let everything go on that can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def users() -> Users:
    return Users(Traffic(2))


async def test_no_more_than_the_bound_are_under_way(users: Users) -> None:
    for place in range(6):
        await users.start(f"{place}", prime=place == 3)
    assert users.begun == ["0", "1"]
    await users.end(*map(str, range(6)))
    assert users.most == 2
    assert sorted(users.begun) == [str(place) for place in range(6)]


async def test_who_came_first_goes_first(users: Users) -> None:
    for place in range(6):
        await users.start(f"{place}")
    for place in range(6):
        await users.end(f"{place}")
    assert users.begun == [str(place) for place in range(6)]


@pytest.mark.parametrize("prime", [True, False])
async def test_a_failure_and_a_cancellation_leave_their_place(users: Users, prime: bool) -> None:
    for place in range(5):
        failing = await users.start(f"failing{place}", prime=prime)
        await users.end(f"failing{place}")
        with suppress(RuntimeError):
            failing.result()
        cancelled = await users.start(f"cancelled{place}", prime=prime)
        cancelled.cancel()
        await users.end(f"cancelled{place}")
    assert len(users.begun) == 10
    await users.start("prime", prime=True)
    await users.start("read")
    assert users.begun[-2:] == ["prime", "read"]
    await users.end("prime", "read")


async def test_who_is_cancelled_while_waiting_lets_the_next_go(users: Users) -> None:
    await users.start("a")
    await users.start("b")
    waiting = [await users.start(f"waiting{place}", prime=place == 1) for place in range(3)]
    await users.start("last")
    for task in waiting:
        task.cancel()
    await settle()
    await users.end("a")
    assert users.begun == ["a", "b", "last"]
    await users.end("b", "last")
    await users.start("prime", prime=True)
    assert users.begun[-1] == "prime"
    await users.end("prime")


async def test_primes_take_turns(users: Users) -> None:
    await users.start("first", prime=True)
    await users.start("second", prime=True)
    await users.start("third", prime=True)
    assert users.begun == ["first"]
    await users.end("first")
    await users.start("first again", prime=True)
    assert users.begun == ["first", "second"]
    await users.end("second", "third", "first again")
    assert users.begun == ["first", "second", "third", "first again"]


class Clock:
    """Stands in for the module's time; asyncio keeps its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))


async def last(clock: Clock, user: Callable[[], Any], seconds: float) -> Any:
    async with user() as given:
        clock.now += seconds
    return given


async def test_a_prime_waits_for_a_pause_between_reads(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    await last(Clock(monkeypatch), users.traffic.prime_step, 1_000.0)  # so long it may wait now
    await users.start("read")
    await users.start("prime", prime=True)
    await users.start("another read")
    assert users.begun == ["read", "another read"]
    await users.end("read")
    assert users.begun == ["read", "another read"]
    await users.end("another read")
    assert users.begun == ["read", "another read", "prime"]
    await users.end("prime")


@pytest.mark.parametrize("how", ["failing", "cancelled"])
async def test_a_read_that_ends_badly_is_no_read_any_more(
    users: Users, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    await last(Clock(monkeypatch), users.traffic.prime_step, 1_000.0)
    read = await users.start(how)
    await users.start("prime", prime=True)
    if how == "cancelled":
        read.cancel()
    await users.end(how)
    assert users.begun == [how, "prime"]
    await users.end("prime")


async def test_reads_without_a_pause_do_not_keep_a_prime_for_ever(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    await last(Clock(monkeypatch), users.traffic.prime_step, 0.01)
    await users.start("read")
    prime = await users.start("prime", prime=True)
    while "prime" not in users.begun:
        assert not prime.done()
        await asyncio.sleep(0.005)
    await users.end("prime", "read")


# How large a step is

law = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
seconds = st.floats(1e-6, 1e4)


@law
@given(st.lists(st.tuples(st.booleans(), seconds), max_size=40))
async def test_a_step_stays_within_its_bounds(monkeypatch: pytest.MonkeyPatch, uses: list[tuple[bool, float]]) -> None:
    clock, traffic = Clock(monkeypatch), Traffic(4)
    for is_prime, lasted in uses:
        before = traffic.step_bytes
        given = await last(clock, traffic.prime_step if is_prime else traffic.read, lasted)
        assert given == (before if is_prime else None)
        assert SMALLEST <= traffic.step_bytes <= LARGEST
        assert traffic.step_bytes <= 2 * before


@law
@given(st.floats(200.0, 2e6))
async def test_a_step_takes_as_long_as_it_may_while_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, bytes_per_second: float
) -> None:
    clock, traffic = Clock(monkeypatch), Traffic(4)
    for _ in range(40):
        await last(clock, traffic.prime_step, traffic.step_bytes / bytes_per_second)
    _, most = STEP_SECONDS
    assert traffic.step_bytes == SMALLEST or 0.99 * most <= traffic.step_bytes / bytes_per_second <= 1.01 * most


@pytest.mark.parametrize("which_first", ["step", "read"])
async def test_steps_do_not_grow_because_they_slow_reads_down(
    monkeypatch: pytest.MonkeyPatch, which_first: str
) -> None:
    clock, traffic = Clock(monkeypatch), Traffic(4)
    least, _ = STEP_SECONDS
    for _ in range(40):
        async with AsyncExitStack() as both:
            read = traffic.read()
            if which_first == "read":
                await both.enter_async_context(read)
            async with traffic.prime_step() as size:
                if which_first == "step":
                    await both.enter_async_context(read)
                clock.now += size / 1e6
            traffic._step_seconds = 0.0  # so that the next one does not wait for the read
            clock.now += 0.001
    assert traffic.step_bytes / 1e6 <= 2 * least * 1.01


def test_a_step_begins_small() -> None:
    assert Traffic(1).step_bytes == FIRST_STEP


def test_all_who_ask_one_server_share_its_traffic() -> None:
    assert traffic_of("here", 3) is traffic_of("here", 3)
    assert traffic_of("here", 3) is not traffic_of("there", 3)
