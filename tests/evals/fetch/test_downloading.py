"""What is downloaded is told first, and checked. The hub is a real server."""

import json
import os
import pty
import re
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from evals.benchmarks import load_benchmark
from tests.evals.fetch.data_set import ARCHIVES, CONVERTED, DATA, GRAPH, WANTED, WEB, files, process
from tests.evals.fetch.hub_server import Hub


def test_all_is_downloaded_converted_and_loads(hub: Hub, fetch: Any) -> None:
    done = fetch("--yes")

    assert (done.code, done.err) == (0, "")
    assert hub.names == list(WANTED)
    assert files(DATA) == {*WANTED, *CONVERTED}
    assert all((DATA / name).read_bytes() == hub.files[name] for name in WANTED)
    assert "3 graphs, 12 texts, in data/m3_bench" in done.out
    assert "data/m3_bench/robot.json: 2 questions about 2 videos" in done.out
    assert "2 timestamps with one digit of minutes, understood" in done.out
    assert "1 video ids that begin with '-', kept" in done.out
    assert len(load_benchmark("m3_bench", DATA).samples) == 3


def test_nothing_is_compressed_on_the_way_as_no_part_could_be_asked_for(hub: Hub, fetch: Any) -> None:
    fetch("--yes")

    assert {each.encoding for each in hub.asked} == {"identity"}


def test_licence_files_and_sizes_are_told_before_the_first_byte(hub: Hub, fetch: Any) -> None:
    done = fetch()

    assert done.code == 2
    assert re.fullmatch(r"error: nobody can be asked, .* --yes to download\n", done.err)
    assert hub.asked == []
    assert not DATA.exists()
    assert "licence, as its card names it: cc-by-4.0\n" in done.out
    assert "ByteDance-Seed/M3-Bench, version 0123456789ab, from http://127.0.0.1:" in done.out
    for name in WANTED:
        assert re.search(rf" {len(hub.files[name]):,} bytes  {re.escape(name)}: to download\n", done.out)
    total = sum(len(hub.files[name]) for name in WANTED)
    assert f"in all 4 files, {total:,} bytes\nto download 4 files, {total:,} bytes\n" in done.out
    assert "left out: README.md (1), intermediate_outputs (1), videos (1)\n" in done.out


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (None, "none; ask its authors"),
        ({"pretty_name": "M3"}, "none; ask its authors"),
        ({"license": ["mit", "apache-2.0"]}, "mit and apache-2.0"),
        ({"license": "other", "license_name": "seed", "license_link": "LICENSE"}, "other, seed, LICENSE"),
    ],
)
def test_the_licence_is_what_the_card_names(hub: Hub, fetch: Any, card: Any, told: str) -> None:
    hub.card = card

    assert f"licence, as its card names it: {told}" in fetch().out


@pytest.mark.parametrize(("answer", "code", "asked"), [("n\n", 1, ()), ("y\n", 0, WANTED)])
def test_who_is_asked_can_refuse(hub: Hub, answer: str, code: int, asked: tuple[str, ...]) -> None:
    terminal, theirs = pty.openpty()
    os.write(terminal, answer.encode())
    with process(hub, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        out, _ = running.communicate(timeout=60)
    os.close(terminal)
    os.close(theirs)

    assert running.returncode == code, out
    assert re.search(r"Download [\d,]+ bytes to data/m3_bench\? \[y/N\]", out)
    assert tuple(hub.names) == asked
    assert DATA.exists() == bool(asked)


def test_one_half_is_enough(hub: Hub, fetch: Any) -> None:
    done = fetch("--yes", "--subset", "web")

    assert done.code == 0
    assert hub.names == ["web.json", ARCHIVES[1]]
    assert (
        "left out: README.md (1), intermediate_outputs (1), memory_graphs (1), robot.json (1), videos (1)" in done.out
    )
    assert [sample.id for sample in load_benchmark("m3_bench", DATA).samples] == ["-abc_Q1"]


@pytest.mark.parametrize("place", ["annotations", "data/annotations"])
def test_annotations_are_found_where_either_repository_has_them(hub: Hub, fetch: Any, place: str) -> None:
    for name in ("robot.json", "web.json"):
        hub.files[f"{place}/{name}"] = hub.files.pop(name)

    assert fetch("--yes").code == 0
    assert {f"{place}/robot.json", f"{place}/web.json"} < files(DATA)
    assert len(load_benchmark("m3_bench", DATA).samples) == 3


def test_without_annotations_on_the_hub_it_is_said_where_they_are(hub: Hub, fetch: Any) -> None:
    del hub.files["web.json"]
    done = fetch("--yes")

    assert (done.code, hub.asked) == (2, [])
    assert "has no web.json: copy robot.json and web.json from data/annotations of https://github.com" in done.err
    DATA.mkdir(parents=True)
    (DATA / "web.json").write_text(json.dumps(WEB))
    assert fetch("--yes").code == 0
    assert "-abc" in load_benchmark("m3_bench", DATA).memories


def test_graphs_may_be_unpacked_and_names_that_lead_elsewhere_are_not_followed(
    hub: Hub, fetch: Any, tmp_path: Path
) -> None:
    for name in ARCHIVES:
        del hub.files[name]
    good = {"memory_graphs/robot/home.pkl", "memory_graphs/robot/office.pkl", "memory_graphs/web/-abc.pkl"}
    bad = {f"memory_graphs/{name}" for name in ("../../evil.pkl", "/evil.pkl", "web/..\\evil.pkl", ".hidden/evil.pkl")}
    hub.files |= dict.fromkeys(good | bad | {"memory_graphs/web.zip"}, GRAPH)
    done = fetch("--yes")

    assert done.code == 0
    assert set(hub.names) == {"robot.json", "web.json", *good}
    assert f"{2 * len(GRAPH):,} bytes  memory_graphs/robot/*.pkl (2 files): to download" in done.out
    assert "memory_graphs (5)" in done.out
    assert files(tmp_path) == {f"{DATA}/{name}" for name in {".lock", "robot.json", "web.json", *good, *CONVERTED}}


def test_a_data_set_without_graphs_is_refused(hub: Hub, fetch: Any) -> None:
    for name in ARCHIVES:
        del hub.files[name]

    assert "has no graphs of robot or web in memory_graphs or data/memory_graphs" in fetch("--yes").err
    assert hub.asked == []


def test_what_has_no_room_is_not_begun(hub: Hub, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", ("total", "used", "free"))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 5, 5))
    done = fetch("--yes")

    assert (done.code, hub.asked) == (2, [])
    assert re.search(r"bytes are to come, and .* has room for 5 bytes: choose another --out", done.err)
