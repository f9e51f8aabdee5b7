"""Who may read at once, and whoever stops waiting."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import Memory
from linmem_langgraph.namespaces import Namespace
from tests.model_server import ModelServer
from tests.readers.rolling.conftest import Remember, clip, clips
from tests.readers.rolling.words import asks_for_a_note, calls, is_note, note, notes, positions, question_of, shown


def is_read(request: object) -> bool:
    return getattr(request, "path", "").endswith("/chat/completions")


async def under_way(server: ModelServer, count: int) -> None:
    await asyncio.to_thread(server.wait_until, lambda: len(server.under_way("read")) == count)


async def test_reads_side_by_side_keep_their_questions_apart(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    def say(message: str) -> str:
        asked = question_of(message)
        return "\n".join([*note(message), f"{asked} [{shown(message)[0]}]"])

    server.says, server.latency = say, 0.01
    await memory.awrite(namespace, clips(15))
    readings = await asyncio.gather(*[memory.aread(namespace, f"question{n}") for n in range(8)])
    for n, reading in enumerate(readings):
        assert reading.text.splitlines() == [f"question{n} [{position}]" for position in range(0, 15, 3)]
    assert len(calls(server)) == 8 * 5
    assert server.most_at_once("read") > 2


async def test_reads_that_need_one_note_make_it_once(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    store = InMemoryStore()
    await remember(store=store).awrite(namespace, clips(30))
    memory = remember(store=store, standing=True)
    server.latency = 0.01
    bounds = [None, 29, 20, 11, 5, None]
    readings = await asyncio.gather(*[memory.aread(namespace, "?", until=until) for until in bounds])
    assert [len(reading.records) for reading in readings] == [30, 30, 21, 12, 6, 30]
    assert [shown(message)[0] for message in notes(server)] == [*range(0, 27, 3)]
    assert len(calls(server)) == 9 + len(bounds)


async def test_a_read_does_not_wait_for_notes_that_it_does_not_need(
    server: ModelServer, standing: Memory, namespace: Namespace
) -> None:
    await standing.awrite(namespace, clips(9))
    await standing.aflush()
    server.holds = is_note
    await standing.awrite(namespace, clips(9, start=9))
    await under_way(server, 1)
    early = await asyncio.wait_for(standing.aread(namespace, "?", until=7), 30)
    elsewhere = (*namespace, "elsewhere")
    await standing.awrite(elsewhere, clip(0))
    other = await asyncio.wait_for(standing.aread(elsewhere, "?"), 30)
    assert [len(early.records), len(other.records)] == [8, 1]
    late = asyncio.create_task(standing.aread(namespace, "?"))
    await asyncio.sleep(0.1)
    assert not late.done()
    server.release()
    assert len((await late).records) == 18
    assert [shown(message)[0] for message in notes(server)] == [0, 3, 6, 9, 12]


@pytest.mark.parametrize("variant", [False, True])
async def test_cancelling_a_read_cancels_its_request_and_asks_no_more(
    server: ModelServer, remember: Remember, namespace: Namespace, variant: bool
) -> None:
    store = InMemoryStore()
    await remember(store=store).awrite(namespace, clips(15))
    memory = remember(store=store, standing=variant)
    server.holds = lambda request: is_note(request) and len(notes(server)) == 3
    leaving = asyncio.create_task(memory.aread(namespace, "?"))
    await asyncio.to_thread(server.wait_until, lambda: len(notes(server)) == 3)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await under_way(server, 0)
    assert [request.cancelled for request in server.asked("read")] == [False, False, True]
    server.release()
    await asyncio.sleep(0.1)
    assert len(calls(server)) == 3
    server.clear()
    assert len((await memory.aread(namespace, "?")).records) == 15
    assert [shown(message)[0] for message in calls(server)] == [*range(6 if variant else 0, 15, 3)]


async def test_who_waits_makes_the_note_that_another_left(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    store = InMemoryStore()
    await remember(store=store).awrite(namespace, clips(9))
    memory = remember(store=store, standing=True)
    server.holds = lambda request: is_note(request) and len(notes(server)) == 1
    leaving = asyncio.create_task(memory.aread(namespace, "leaving"))
    await under_way(server, 1)
    staying = asyncio.create_task(memory.aread(namespace, "staying"))
    await asyncio.sleep(0.05)
    assert len(calls(server)) == 1
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert len((await staying).records) == 9
    assert {question_of(message) for message in calls(server) if not asks_for_a_note(message)} == {"staying"}


def test_the_bound_holds(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    memory = remember(concurrency=2)
    memory.write(namespace, clips(9))
    server.latency = 0.01
    with ThreadPoolExecutor(8) as pool:
        readings = list(pool.map(lambda n: memory.read(namespace, f"{n}?"), range(8)))
    assert [len(reading.records) for reading in readings] == [9] * 8
    assert server.most_at_once("read") == 2


def test_threads_write_and_read_a_standing_note(server: ModelServer, standing: Memory, namespace: Namespace) -> None:
    def work(worker: int) -> None:
        for place in range(8):
            key = standing.write(namespace, f"worker{worker} lifts crate{place} " + "." * 60)[0]
            assert key in {hit.record.key for hit in standing.read(namespace, "?").records}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    standing.flush()
    server.clear()
    assert len(standing.read(namespace, "?").records) == 32
    assert len(calls(server)) == 1
    assert positions(calls(server)[0])
