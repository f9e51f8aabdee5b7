"""Memories on one folder: two in a process, threads of both, and more processes."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from linmem_langgraph import Memory
from linmem_langgraph.namespaces import Namespace


def test_two_memories_of_one_process_on_one_folder(open_memory: Callable[..., Memory], namespace: Namespace) -> None:
    first, second = open_memory(), open_memory()
    for place in range(4):
        first.write(namespace, f"first page{place}")
        second.write(namespace, f"second page{place}")
        for memory in (first, second):
            assert f"first page{place}" in memory.read(namespace, f"first page{place}").text
            assert f"second page{place}" in memory.read(namespace, f"second page{place}").text
    assert [record.position for record in first.records(namespace)] == list(range(8))
    second.forget(namespace, str(first.records(namespace)[0].key))
    assert "first page0" not in first.read(namespace, "first page0", limit=20).text
    first.close()
    second.write(namespace, "first is closed")
    assert "first is closed" in second.read(namespace, "closed").text


def test_threads_of_two_memories_on_one_folder(open_memory: Callable[..., Memory], namespace: Namespace) -> None:
    memories = [open_memory(), open_memory()]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda place: memories[place % 2].write(namespace, f"page{place}"), range(60)))
    for memory in memories:
        memory.flush()
        records = memory.records(namespace)
        assert [record.position for record in records] == list(range(60))
        assert len(memory.read(namespace, "page", limit=100).records) == 60


def test_another_process_reads_what_this_one_wrote_and_the_reverse(
    open_memory: Callable[..., Memory], python: Callable[..., subprocess.Popen[str]], namespace: Namespace
) -> None:
    memory = open_memory()
    memory.write(namespace, "Anna hides the telescope")
    assert "telescope" in memory.read(namespace, "telescope").text
    other = python("print(memory.read(N, 'telescope').text); memory.write(N, 'Bert finds the compass')", N=namespace)
    out, err = other.communicate(timeout=60)
    assert (out.strip(), other.returncode) == ("[0] Anna hides the telescope", 0), err
    assert memory.read(namespace, "compass", limit=1).text == "[1] Bert finds the compass"
    forgetting = python("memory.forget(N, memory.records(N)[0].key)", N=namespace)
    _, err = forgetting.communicate(timeout=60)
    assert forgetting.returncode == 0, err
    assert memory.read(namespace, "telescope", limit=5).text == "[1] Bert finds the compass"


@pytest.mark.parametrize("attempt", range(3))
def test_processes_make_one_folder_together(
    python: Callable[..., subprocess.Popen[str]], namespace: Namespace, attempt: int
) -> None:
    workers = [python("memory.write(N, A)", N=namespace, A=f"attempt{attempt}") for _ in range(6)]
    for worker in workers:
        _, err = worker.communicate(timeout=100)
        assert worker.returncode == 0, err


@pytest.mark.parametrize("reading", [False, True])
def test_processes_write_to_one_folder_at_once(
    open_memory: Callable[..., Memory],
    python: Callable[..., subprocess.Popen[str]],
    namespace: Namespace,
    reading: bool,
) -> None:
    code = """
for place in range(25):
    memory.write(N, f"{ME} lifts crate{place}")
    if READING and place % 8 == 0:
        text = memory.read(N, f"{ME} lifts crate{place}", limit=3).text
        assert f"{ME} lifts crate{place}" in text, text
memory.flush()
"""
    # The folder is new: making it is part of the race.
    workers = [python(code, N=namespace, ME=name, READING=reading) for name in ("anna", "bert", "carl")]
    for worker in workers:
        _, err = worker.communicate(timeout=100)
        assert worker.returncode == 0, err
    memory = open_memory()
    records = memory.records(namespace)
    assert [record.position for record in records] == list(range(75))
    assert {record.text for record in records} == {
        f"{name} lifts crate{place}" for name in ("anna", "bert", "carl") for place in range(25)
    }
    assert len(memory.read(namespace, "lifts crate", limit=100).records) == 75


def test_a_killed_process_loses_nothing_it_was_told_is_kept(
    open_memory: Callable[..., Memory], python: Callable[..., subprocess.Popen[str]], namespace: Namespace
) -> None:
    worker = python(
        "for place in range(100_000):\n    memory.write(N, f'page{place}')\n    print(place, flush=True)", N=namespace
    )
    assert worker.stdout is not None
    acknowledged = [int(worker.stdout.readline()) for _ in range(40)][-1]
    worker.kill()
    rest = worker.communicate()[0].split()
    acknowledged = max([acknowledged, *map(int, rest[:-1])])
    memory = open_memory()
    records = memory.records(namespace)
    assert [record.text for record in records] == [f"page{place}" for place in range(len(records))]
    assert len(records) > acknowledged
    assert f"page{acknowledged}" in memory.read(namespace, f"page{acknowledged}", limit=3).text
    assert len(memory.read(namespace, "page", limit=1_000).records) == len(records)
