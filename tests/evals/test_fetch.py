"""fetch: what is downloaded is told first, checked, and gone on with; a copy serves as well. The hub is a real server.

`hf_hub_download` starts over when it is called again, whatever an earlier call had (huggingface_hub 2.4.0). So what is
tested here is `http_get`, on which it stands, given the part that is there.
"""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from evals.benchmarks import load_benchmark
from evals.cli import main
from evals.config import only_writer
from evals.hub import data_set
from linmem_langgraph.errors import ConfigError
from tests.evals.hub_server import Hub, checksum
from tests.evals.m3_graphs.pickles import house, pickled
from tests.evals.support import ROOT

GRAPH = pickled(house())
"""The graph of a video, with 4 texts."""

QUESTION = {"question": "Who?", "answer": "Bob", "type": []}
ROBOT = {
    name: {"qa_list": [{**QUESTION, "question_id": f"{name}_Q1", "timestamp": "1:00", "before_clip": 1}]}
    for name in ("home", "office")
}
WEB = {"-abc": {"qa_list": [{**QUESTION, "question_id": "-abc_Q1"}]}}
ARCHIVES = ("memory_graphs/robot.tar.gz", "memory_graphs/web.tar.gz")


def archive(members: dict[str, bytes], mode: Any = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return file.getvalue()


def published() -> dict[str, bytes]:
    """The data set, as it is laid out on the hub."""
    return {
        "README.md": b"# M3-Bench",
        "robot.json": json.dumps(ROBOT).encode(),
        "web.json": json.dumps(WEB).encode(),
        ARCHIVES[0]: archive({f"robot/{name}.pkl": GRAPH for name in ROBOT}),
        ARCHIVES[1]: archive({f"web/{name}.pkl": GRAPH for name in WEB}),
        "videos/robot/home.mp4": b"a film",
        "intermediate_outputs/robot.tar.gz": b"much else",
    }


WANTED = ("robot.json", "web.json", *ARCHIVES)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing is told of this machine, no token is sent, and no connection outlives a test."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    yield
    huggingface_hub.close_session()


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """What HF_ENDPOINT sets when the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "".join(template[1:]))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(published()) as hub:
        use(monkeypatch, hub.endpoint)
        yield hub


Done = namedtuple("Done", ("code", "out", "err"))


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command, in this process."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["python -m evals", "fetch", "m3_bench", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        return Done(left.value.code or 0, told.out, told.err)

    return run


def process(hub: Hub, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The command, in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(Path("hf").resolve()),
    }
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "evals", "fetch", "m3_bench", *arguments]
    return subprocess.Popen(command, env=environment, text=True, **options)


DATA = Path("data/m3_bench")


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {".lock"}


CONVERTED = {
    f"{kind}/{video}{end}" for kind, end in (("memories", ".jsonl"), ("vectors", ".npz")) for video in ROBOT | WEB
}


# --- a download


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


# --- a second call


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


# --- a connection that breaks


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


# --- a hub that does not help


def test_a_hub_that_is_away_is_one_line_with_the_remedy(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub({}) as gone:
        endpoint = gone.endpoint
    use(monkeypatch, endpoint)
    done = fetch("--yes")

    assert done.code == 2
    assert re.fullmatch(
        rf"error: {endpoint} does not say what ByteDance-Seed/M3-Bench holds: .*: "
        r"check the connection and HF_ENDPOINT, or give a local copy with --from\n",
        done.err,
    )
    assert not DATA.exists()


def test_what_may_not_be_had_is_said_in_the_hub_s_words(hub: Hub, fetch: Any) -> None:
    hub.forbidden = "Access to dataset ByteDance-Seed/M3-Bench is restricted."
    done = fetch("--yes")

    assert done.code == 2
    assert re.match(r"error: the download of robot.json stopped: 403 .* is restricted", done.err)


def test_a_data_set_that_is_not_there_is_said(hub: Hub) -> None:
    with pytest.raises(ConfigError, match=r"does not say what nobody/nothing holds: .*404.*: check the connection"):
        data_set("nobody/nothing", hub.endpoint)


@pytest.mark.parametrize("info", [{"sha": "1"}, [1], {"id": "a/b", "siblings": [{"rfilename": "robot.json"}]}, "text"])
def test_a_reply_that_is_no_hub_s_is_said(hub: Hub, info: Any) -> None:
    hub.info = info
    with pytest.raises(ConfigError, match="its reply is not understood"):
        data_set("ByteDance-Seed/M3-Bench", hub.endpoint)


@pytest.mark.parametrize("endpoint", ["nonsense", "http://", "http://127.0.0.1:port"])
def test_an_address_that_is_none_is_said(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="check the connection and HF_ENDPOINT"):
        data_set("ByteDance-Seed/M3-Bench", endpoint)


def test_without_the_library_the_extra_is_named(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    assert fetch("--yes").err == "error: downloads need huggingface-hub: pip install 'linmem-langgraph[evals]'\n"


# --- a copy


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


# --- the conversion


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
