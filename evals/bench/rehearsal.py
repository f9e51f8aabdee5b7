"""A run of M3-Bench's whole robot half with made-up captions, killed and resumed, on a real vLLM server.

It shows that such a run comes to its end, what it takes, and how much of it is read from kept state. The captions are
made up, one paragraph a clip, and so no answer can be right: nothing is learnt here of accuracy.
"""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml
from langgraph.store.memory import InMemoryStore
from rich.table import Table

from evals.bench.state_reuse.servers import MATCH, Server
from evals.bench.state_reuse.texts import caption
from evals.benchmarks import load_benchmark
from evals.benchmarks.m3_bench import read_annotations
from evals.rows import Prediction, RowFile, Tokens, added
from evals.samples import Benchmark, Sample
from evals.schedule import in_order
from evals.tiny.chat import MODELS
from evals.vllm_cpu.server import Unavailable, VllmServer
from linmem_langgraph import LinearReader, Memory
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.vllm import ChatVLLM

PARAGRAPH = 300
"""Characters of a caption."""

ANSWER = 48
"""Tokens of what the reader writes, at most."""

PART = 10
"""Of so many videos one is read in both orders."""


class Whole(NamedTuple):
    """The run.

    Args:
        rows: answers, each of another question.
        kills: after how many answers it was killed.
        read: prompt tokens by the server's counters, priming included; and how many of them it did not compute.
    """

    questions: int
    rows: int
    errors: int
    kills: list[int]
    seconds: float
    tokens: Tokens
    read: tuple[int, int]
    report_bytes: int


class Order(NamedTuple):
    """Reads in one order."""

    name: str
    reads: int
    seconds: float
    read: tuple[int, int]


def write_data(annotations: Path, folder: Path) -> Path:
    """`robot.json`, and a memory for each of its videos: a caption for each clip that is asked about.

    Raises:
        ConfigError: the annotations cannot be read.
    """
    samples = read_annotations(annotations, Counter())
    last = dict[str, int]()
    for sample in samples:
        last[sample.memory] = max(last.get(sample.memory, 0), sample.until or 0)
    (folder / "memories").mkdir(parents=True, exist_ok=True)
    shutil.copy(annotations, folder / "robot.json")
    for video, clips in last.items():
        rows = [{"text": caption(PARAGRAPH, seed=f"{video} {clip}"), "position": clip} for clip in range(clips + 1)]
        (folder / "memories" / f"{video}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


@contextmanager
def served(url: str | None, folder: Path, say: Callable[[str], None]) -> Iterator[Server]:
    """A running server, or one with linmem-tiny on this machine's CPU.

    Raises:
        ConfigError: vLLM cannot be installed or started on this machine.
    """
    if url:
        yield Server(url)
        return
    folder.mkdir(parents=True, exist_ok=True)
    server = VllmServer(folder, weights=MODELS / "hybrid", max_model_len=32_768, cache_gib=4, arguments=MATCH)
    try:
        server.start(say=say)
    except (Unavailable, RuntimeError) as exc:
        raise ConfigError(f"{exc}: give the --url of a running server") from exc
    try:
        yield Server(server.base_url)
    finally:
        server.stop()


def run(data: Path, server: Server, out: Path, kills: int, say: Callable[[str], None]) -> Whole:
    """`python -m evals run`, killed so many times on the way.

    Raises:
        ConfigError: it did not come to its end, or `out` holds another rehearsal.
    """
    if (out / "run").exists():
        raise ConfigError(f"{out} holds a rehearsal: give another --out")
    questions = len(load_benchmark("m3_bench_robot", data).samples)
    command = [sys.executable, "-m", "evals", "run", "--no-cache"]
    command += ["--config", str(_config(data, server, out)), "--out", str(out / "run")]
    at = [questions * (number + 1) // (kills + 1) for number in range(kills)]
    before, started, killed = server.counters(), time.perf_counter(), list[int]()
    for answers in [*at, None]:
        say(f"running until {'the end' if answers is None else f'{answers} of {questions} questions are answered'}")
        with (out / "run.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                while process.poll() is None and (answers is None or _answered(out) < answers):
                    time.sleep(0.2)
            finally:
                if process.poll() is None:
                    process.kill()
                    killed.append(_answered(out))
            if process.wait() and answers is None:
                raise ConfigError(f"the run ended with {process.returncode}: see {out / 'run.log'}")
    seconds, after = time.perf_counter() - started, server.counters()
    rows = list(RowFile(out / "run" / "predictions.jsonl").read(Prediction))
    return Whole(
        questions=questions,
        rows=len({row.question_id for row in rows}),
        errors=sum(bool(row.error) for row in rows),
        kills=killed,
        seconds=seconds,
        tokens=added(row.reader for row in rows),
        read=(after[0] - before[0], after[1] - before[1]),
        report_bytes=(out / "run" / "report.html").stat().st_size,
    )


def orders(data: Path, server: Server) -> list[Order]:
    """A part of the questions in the order of a run, and in that of the annotations."""
    benchmark = load_benchmark("m3_bench_robot", data)
    videos = list(benchmark.memories)[::PART]
    listed = {video: [sample for sample in benchmark.samples if sample.memory == video] for video in videos}
    return [
        _read("by until, as in a run", {video: in_order(asked) for video, asked in listed.items()}, benchmark, server),
        _read("as listed", listed, benchmark, server),
    ]


def tables(whole: Whole, found: Sequence[Order]) -> list[Table]:
    """For the terminal."""
    one = Table("", "", title=f"{whole.rows} of {whole.questions} questions answered, {whole.errors} errors")
    one.add_row("killed after", ", ".join(map(str, whole.kills)) or "never")
    one.add_row("wall time", f"{whole.seconds:,.0f} s, {1_000 * whole.seconds / max(whole.rows, 1):,.0f} ms a question")
    one.add_row("prompt tokens of the reads", _share(whole.tokens.prompt, whole.tokens.cached))
    one.add_row("prompt tokens by the server, with priming", _share(*whole.read))
    one.add_row("completion tokens", f"{whole.tokens.completion:,}")
    one.add_row("report.html", f"{whole.report_bytes / 1e6:.2f} MB")
    other = Table("order", "reads", "s", "prompt tokens by the server", "computed", title=f"One video of {PART}")
    for order in found:
        computed = f"{order.read[0] - order.read[1]:,}"
        other.add_row(order.name, str(order.reads), f"{order.seconds:.1f}", _share(*order.read), computed)
    return [one, other]


def _read(name: str, asked: dict[str, list[Sample]], benchmark: Benchmark, server: Server) -> Order:
    before, started = server.counters(), time.perf_counter()
    # What one order leaves on the server is not for the other.
    model, secret = ChatVLLM(base_url=server.base_url), f"{name} {started}"
    reader = LinearReader(model, prime="reads", max_tokens=ANSWER, cache_secret=secret)
    with Memory(reader, store=InMemoryStore()) as memory:
        for video, samples in asked.items():
            memory.write((video,), benchmark.memories[video])
            memory.flush()
            for sample in samples:
                memory.read((video,), sample.question, until=sample.until)
    after = server.counters()
    return Order(
        name=name,
        reads=sum(map(len, asked.values())),
        seconds=time.perf_counter() - started,
        read=(after[0] - before[0], after[1] - before[1]),
    )


def _config(data: Path, server: Server, out: Path) -> Path:
    options = {"format": "raw", "model": "vllm:", "base_url": server.base_url, "max_tokens": ANSWER}
    config = {
        "name": "rehearsal",
        "benchmark": {"name": "m3_bench_robot", "data": str(data)},
        "reader": {"name": "m3_linear", "options": options},
        "ranking": 0,
        "concurrency": 8,
    }
    file = out / "config.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def _answered(out: Path) -> int:
    file = out / "run" / "predictions.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def _share(prompt: int, cached: int) -> str:
    return f"{prompt:,}, {100 * cached / max(prompt, 1):.1f}% of them from state"
