"""A copy serves as well, and graphs are converted once."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from evals.benchmarks import load_benchmark
from tests.evals.fetch.data_set import ARCHIVES, CONVERTED, DATA, GRAPH, ROBOT, WEB, archive, files, published
from tests.evals.fetch.hub_server import Hub


def copy(folder: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("annotations", "graphs"),
    [(".", "memory_graphs"), ("annotations", "memory_graphs"), ("data/annotations", "data/memory_graphs")],
)
def test_from_a_copy_nothing_is_downloaded(hub: Hub, fetch: Any, annotations: str, graphs: str) -> None:
    source = {f"{annotations}/{name}": hub.files[name] for name in ("robot.json", "web.json")}
    source |= {f"{graphs}/{Path(name).name}": hub.files[name] for name in ARCHIVES}
    done = fetch("--from", str(copy(Path("mine"), source)))

    assert (done.code, done.err, hub.asked) == (0, "", [])
    assert files(DATA) == {"robot.json", "web.json", *CONVERTED}
    assert len(load_benchmark("m3_bench", DATA).samples) == 3


def test_a_copy_can_be_the_benchmark_s_own_folder(fetch: Any) -> None:
    copy(DATA, published())

    assert fetch("--from", str(DATA), "--out", str(DATA.absolute())).code == 0
    assert files(DATA) > CONVERTED
    assert len(load_benchmark("m3_bench", DATA).samples) == 3


def test_an_archive_beside_what_was_unpacked_from_it_is_no_matter(fetch: Any) -> None:
    unpacked = {f"memory_graphs/robot/{name}.pkl": GRAPH for name in ROBOT}

    assert "3 graphs, 12 texts" in fetch("--from", str(copy(Path("mine"), {**published(), **unpacked}))).out


@pytest.mark.parametrize("arguments", [(), ("--subset", "robot")])
def test_a_copy_of_one_half_is_enough(fetch: Any, arguments: tuple[str, ...]) -> None:
    half = {name: content for name, content in published().items() if "robot" in name}

    assert "2 graphs, 8 texts" in fetch("--from", str(copy(Path("mine"), half)), *arguments).out
    assert len(load_benchmark("m3_bench", DATA).samples) == 2


@pytest.mark.parametrize(
    ("changes", "arguments", "told"),
    [
        ({"robot.json": None, "web.json": None}, (), r"mine has no robot.json or web.json, nor in .*: copy robot.json"),
        (
            {"web.json": None},
            ("--subset", "web"),
            r"mine has no web.json, nor in annotations or data/annotations: copy",
        ),
        ({"web.json": b"{"}, (), r"mine/web.json is not JSON"),
        ({"web.json": b'{"a": {"qa_list": [{}]}}'}, (), r"mine/web.json, video 'a', question 0, field 'question'"),
        (dict.fromkeys(ARCHIVES), (), r"mine has no memory_graphs or data/memory_graphs, the folder of memory graphs"),
        ({**dict.fromkeys(ARCHIVES), "memory_graphs/a.zip": b""}, (), r"memory_graphs has neither .pkl nor .tar.gz"),
        ({ARCHIVES[1]: None}, (), r"mine/memory_graphs has no graph of 1 of 3 videos: '-abc' first"),
        ({ARCHIVES[1]: b"no archive"}, (), r"cannot read mine/memory_graphs/web.tar.gz"),
    ],
)
def test_what_a_copy_lacks_is_said(
    fetch: Any, changes: dict[str, bytes | None], arguments: tuple[str, ...], told: str
) -> None:
    content = {name: data for name, data in (published() | changes).items() if data is not None}
    done = fetch("--from", str(copy(Path("mine"), content)), *arguments)

    assert done.code == 2
    assert re.search(told, done.err)


def test_what_was_converted_is_not_converted_again_unless_its_graph_is_newer(fetch: Any) -> None:
    source = {name: content for name, content in published().items() if name not in ARCHIVES}
    source |= {f"memory_graphs/web/{name}.pkl": GRAPH for name in ROBOT | WEB}
    mine = str(copy(Path("mine"), source))
    fetch("--from", mine)
    (DATA / "memories" / "home.jsonl").unlink()
    (DATA / "vectors" / "-abc.npz").unlink()
    done = fetch("--from", mine)

    assert "2 graphs, 8 texts" in done.out
    assert "1 of 3 videos were converted before" in done.out
    later = time.time() + 100
    os.utime(Path(mine, "memory_graphs/web/office.pkl"), (later, later))
    assert "1 graphs, 4 texts" in fetch("--from", mine).out


def test_of_an_archive_only_what_is_missing_is_converted(fetch: Any) -> None:
    copy(DATA, published())
    fetch("--from", str(DATA))
    (DATA / "memories" / "home.jsonl").unlink()
    before = (DATA / "memories" / "office.jsonl").stat().st_mtime_ns

    assert "1 graphs, 4 texts" in fetch("--from", str(DATA)).out
    assert (DATA / "memories" / "office.jsonl").stat().st_mtime_ns == before


def test_an_archive_is_not_opened_again_when_another_comes(hub: Hub, fetch: Any) -> None:
    fetch("--yes", "--subset", "robot")
    opened = DATA / ARCHIVES[0]
    before = (DATA / "memories" / "home.jsonl").stat().st_mtime_ns
    opened.write_bytes(b"no archive")
    os.utime(opened, ns=(before - 10**9, before - 10**9))
    copy(DATA, {name: hub.files[name] for name in ("web.json", ARCHIVES[1])})
    done = fetch("--from", str(DATA))

    assert "2 of 3 videos were converted before" in done.out
    assert "1 graphs, 4 texts" in done.out
    (DATA / ARCHIVES[1]).write_bytes(b"no archive")
    assert fetch("--from", str(DATA), "--subset", "robot").code == 0
    assert "cannot read" in fetch("--from", str(DATA)).err


def test_graphs_of_videos_that_nobody_asks_about_are_left(fetch: Any) -> None:
    content = {**published(), "memory_graphs/other.pkl": GRAPH}

    assert "3 graphs" in fetch("--from", str(copy(Path("mine"), content))).out
    assert not (DATA / "memories" / "other.jsonl").exists()


def test_a_graph_that_is_refused_is_an_error_and_the_others_are_converted(fetch: Any) -> None:
    content = {**published(), ARCHIVES[1]: archive({"web/-abc.pkl": b"cos\nsystem\n"})}
    done = fetch("--from", str(copy(Path("mine"), content)))

    assert done.code == 2
    assert re.match(r"error: 1 of 3 graphs were refused. web.tar.gz: -abc is refused", done.err)
    assert "2 graphs, 8 texts" in done.out
    assert not (DATA / "memories" / "-abc.jsonl").exists()
