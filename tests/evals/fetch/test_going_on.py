"""What is there is not downloaded again, and what was broken off is gone on with.

`hf_hub_download` starts over when it is called again, whatever an earlier call had (huggingface_hub 2.4.0). So what is
tested here is `http_get`, on which it stands, given the part that is there.
"""

import os
import re
import signal
import subprocess
import time
from typing import Any

import pytest
from huggingface_hub import constants

from evals.config import only_writer
from tests.evals.fetch.data_set import ARCHIVES, CONVERTED, DATA, GRAPH, ROBOT, WANTED, archive, files, process
from tests.evals.fetch.hub_server import Hub, checksum


def test_a_second_call_finds_all_there(hub: Hub, fetch: Any) -> None:
    fetch("--yes")
    before = {name: (DATA / name).stat().st_mtime_ns for name in files(DATA)}
    hub.asked.clear()
    done = fetch()

    assert (done.code, done.err, hub.asked) == (0, "", [])
    for name in WANTED:
        assert f"{name}: is there\n" in done.out
    assert "to download 0 files, 0 bytes" in done.out
    assert done.out.endswith("kept\n3 of 3 videos were converted before, into data/m3_bench\n")
    assert {name: (DATA / name).stat().st_mtime_ns for name in files(DATA)} == before


def test_only_what_is_missing_or_wrong_is_downloaded(hub: Hub, fetch: Any) -> None:
    fetch("--yes")
    (DATA / "web.json").unlink()
    damaged = bytearray(hub.files[ARCHIVES[0]])
    damaged[50] ^= 1
    (DATA / ARCHIVES[0]).write_bytes(damaged)
    hub.asked.clear()
    done = fetch("--yes")

    assert done.code == 0
    assert hub.names == ["web.json", ARCHIVES[0]]
    assert f"{ARCHIVES[0]}: is another there, and is replaced" in done.out
    assert f"{ARCHIVES[1]}: is there" in done.out
    assert (DATA / ARCHIVES[0]).read_bytes() == hub.files[ARCHIVES[0]]


@pytest.mark.parametrize("name", ["web.json", ARCHIVES[1]])
def test_what_comes_damaged_is_deleted_and_reported(hub: Hub, fetch: Any, name: str) -> None:
    damaged = bytearray(hub.files[name])
    damaged[5] ^= 1
    hub.instead[name] = bytes(damaged)
    done = fetch("--yes")

    assert done.code == 2
    assert done.err.startswith(
        f"error: {name} came with another checksum than the hub names, and was deleted: call again"
    )
    assert files(DATA) == {*WANTED} - {name}
    hub.asked.clear()
    assert fetch("--yes").code == 0
    assert hub.names == [name]


@pytest.mark.parametrize("change", [lambda content: content[:-7], lambda content: content + b"more"])
def test_what_comes_with_another_size_is_deleted_as_well(hub: Hub, fetch: Any, change: Any) -> None:
    hub.instead[ARCHIVES[1]] = change(hub.files[ARCHIVES[1]])

    assert "came with another checksum" in fetch("--yes").err
    assert files(DATA) == {*WANTED} - {ARCHIVES[1]}


@pytest.fixture
def large(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of several pieces, as the library writes them: what is cut in the middle of one is lost."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    noise = {"robot/noise.bin": os.urandom(20_000)}
    hub.files[ARCHIVES[0]] = archive({**noise, **{f"robot/{name}.pkl": GRAPH for name in ROBOT}}, "w")
    return ARCHIVES[0]


def test_a_connection_that_breaks_is_gone_on_with(hub: Hub, fetch: Any, large: str) -> None:
    hub.cut[large] = 7_500

    assert fetch("--yes").code == 0
    assert [each.range for each in hub.asked if each.name == large] == [None, "bytes=7000-"]
    assert (DATA / large).read_bytes() == hub.files[large]


def test_where_no_parts_are_given_the_file_starts_over(hub: Hub, fetch: Any, large: str) -> None:
    hub.cut[large] = 7_500
    hub.ranges = False

    assert fetch("--yes").code == 0
    assert [each.range for each in hub.asked if each.name == large] == [None, "bytes=7000-"]
    assert (DATA / large).read_bytes() == hub.files[large]


def test_after_a_reset_the_next_call_goes_on(hub: Hub, fetch: Any, large: str) -> None:
    hub.cut[large], hub.rudely = 7_500, True
    done = fetch("--yes")
    (part,) = (DATA / "memory_graphs").iterdir()
    have = part.stat().st_size

    assert done.code == 2
    assert re.fullmatch(
        r"error: the download of \S+ stopped: .*: call again; what came is kept in \S+\.part\n", done.err
    )
    hub.asked.clear()
    done = fetch("--yes")
    assert done.code == 0
    assert f"{large}: to download, {have:,} bytes are there" in done.out
    assert [each.range for each in hub.asked if each.name == large] == [f"bytes={have}-" if have else None]
    assert (DATA / large).read_bytes() == hub.files[large]


def test_after_a_kill_the_next_call_goes_on(hub: Hub) -> None:
    piece = constants.DOWNLOAD_CHUNK_SIZE
    name, noise = ARCHIVES[0], {"robot/noise.bin": os.urandom(2 * piece)}
    hub.files[name] = archive({**noise, **{f"robot/{name}.pkl": GRAPH for name in ROBOT}}, "w")
    hub.stall[name] = piece + 5
    part = DATA / f"{name}.{checksum(name, hub.files[name])[:12]}.part"
    with process(hub, "--yes", start_new_session=True) as running:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size == piece) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(running.pid, signal.SIGKILL)
    sent = hub.sent
    with process(hub, "--yes", stdout=subprocess.PIPE) as running:
        out, _ = running.communicate(timeout=60)

    assert running.returncode == 0
    assert f"{name}: to download, {piece:,} bytes (0.0105 GB) are there" in out
    assert [each.range for each in hub.asked if each.name == name] == [None, f"bytes={piece}-"]
    assert (DATA / name).read_bytes() == hub.files[name]
    assert hub.sent - sent < len(hub.files[name]) - piece + 10_000
    assert files(DATA) > CONVERTED


def test_a_part_with_other_bytes_is_found_out(hub: Hub, fetch: Any) -> None:
    for name in ARCHIVES:
        part = DATA / f"{name}.{checksum(name, hub.files[name])[:12]}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"x" * (10 if name == ARCHIVES[0] else 10**6))
    done = fetch("--yes")

    assert f"{ARCHIVES[0]}, {ARCHIVES[1]} came with another checksum" in done.err
    assert [each.range for each in hub.asked] == [None, None, "bytes=10-"]
    assert fetch("--yes").code == 0


def test_only_one_process_downloads(hub: Hub, fetch: Any) -> None:
    with only_writer(DATA):
        done = fetch("--yes")

    assert (done.code, hub.asked) == (2, [])
    assert "another process is writing to data/m3_bench" in done.err
