"""Memory graphs as the loader of M3-Bench takes them: `memories/ID.jsonl`, and their vectors in `vectors/ID.npz`.

A record is a text node: its clip is the position, its key `node_7`, its kind that of the node, or `equivalence`.
"""

import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from evals.benchmarks.m3_bench import ARCHIVES
from evals.m3_graphs.entities import EQUIVALENCE
from evals.m3_graphs.graph import Graph, read_graph
from linmem_langgraph.errors import ConfigError, UnsafeFile
from linmem_langgraph.records import MAX_TEXT, MemoryRecord

MAX_BYTES = 2**30
"""The largest graph that is read; a published one has some 100 MB."""


class Imported(NamedTuple):
    """What became of a graph.

    Args:
        noticed: what was left out or mended, and how often.
        refused: why nothing was written; None = it was.
    """

    video: str
    texts: int = 0
    clips: int = 0
    dimensions: int = 0
    noticed: Mapping[str, int] = MappingProxyType({})
    refused: str | None = None


def import_graphs(
    source: Path,
    out: Path,
    advance: Callable[[int, int], object],
    wanted: Callable[[str], bool] = lambda video: True,
) -> list[Imported]:
    """Convert a pickle, an archive (.tar.gz) of them, or a folder of both.

    A graph that is refused leaves nothing behind and does not stop the others.

    Args:
        advance: is told how many files of how many are done.
        wanted: whether the graph of a video is converted.

    Raises:
        ConfigError: there is nothing to import, a file cannot be read, or two graphs have one name.
    """
    files = sources(source)
    done = dict[str, Imported]()
    for number, file in enumerate(files, start=1):
        for video, size, content in _graphs(file, wanted):
            if video in done:
                raise ConfigError(f"{file}: there is another graph of the video {video!r}: import them one by one")
            try:
                done[video] = _written(video, _read(content, size, f"{file.name}: {video}"), out)
            except UnsafeFile as exc:
                done[video] = Imported(video, refused=str(exc))
        advance(number, len(files))
    return list(done.values())


def sources(source: Path) -> list[Path]:
    """The files of a folder in which graphs are, or the one file.

    Raises:
        ConfigError: there is none.
    """
    files = sorted(file for file in source.rglob("*") if _is_source(file)) if source.is_dir() else [source]
    if not files:
        raise ConfigError(f"{source} has neither .pkl nor .tar.gz: give the folder of M3-Bench's memory graphs")
    return files


def is_imported(video: str, out: Path, file: Path) -> bool:
    """Whether a video has memory and vectors that are newer than the file its graph is in."""
    made = (out / "memories" / f"{video}.jsonl", out / "vectors" / f"{video}.npz")
    return all(each.exists() and each.stat().st_mtime_ns >= file.stat().st_mtime_ns for each in made)


def tell(found: Sequence[Imported], out: Path, say: Callable[[str], object]) -> None:
    """Say what became of graphs.

    Raises:
        UnsafeFile: some were refused.
    """
    written = [graph for graph in found if graph.refused is None]
    say(f"{len(written)} graphs, {sum(graph.texts for graph in written):,} texts, in {out}")
    noticed = Counter[str]()
    for graph in written:
        noticed.update(graph.noticed)
    for what, count in noticed.items():
        say(f"{count:,} {what}")
    if refused := [graph.refused for graph in found if graph.refused]:
        raise UnsafeFile(f"{len(refused)} of {len(found)} graphs were refused. {' '.join(refused)}")


def records(graph: Graph, noticed: Counter[str]) -> list[MemoryRecord]:
    """What a graph tells, by clip; what is cut is counted in `noticed`.

    Raises:
        UnsafeFile: a node is about more than a record can hold.
    """
    appearing = _appearing(graph)
    made = []
    for text in sorted(graph.texts, key=lambda text: text.clip):
        if len(text.text) > MAX_TEXT:
            noticed[f"texts cut to {MAX_TEXT:,} characters"] += 1
        is_equivalence = text.kind == "semantic" and text.text.lower().startswith(f"{EQUIVALENCE}:")
        metadata = {"entities": list(text.entities), "appears": appearing.pop(text.clip, [])}
        fields = {
            "text": text.text[:MAX_TEXT],
            "position": text.clip,
            "key": f"node_{text.number}",
            "kind": EQUIVALENCE if is_equivalence else text.kind,
            "metadata": {name: names for name, names in metadata.items() if names},
        }
        try:
            made.append(MemoryRecord.model_validate(fields))
        except ValidationError as exc:
            raise UnsafeFile(f"node {text.number} is refused: {exc.errors()[0]['msg']}") from exc
    return made


def _appearing(graph: Graph) -> dict[int, list[str]]:
    """Who is first met in a clip: where a text is first about them, or else where the next text belongs."""
    clips = dict[str, int]()
    for text in graph.texts:
        for name in text.entities:
            clips[name] = min(text.clip, clips.get(name, text.clip))
    found: dict[int, list[str]] = {}
    for name in graph.entities:
        number = int(name.split("_")[1])
        later = (text.clip for text in graph.texts if text.number > number)
        clip = clips.get(name, next(later, max((text.clip for text in graph.texts), default=0)))
        found.setdefault(clip, []).append(name)
    return found


def _written(video: str, graph: Graph, out: Path) -> Imported:
    noticed = Counter(graph.noticed)
    made = records(graph, noticed)
    if not made:
        raise UnsafeFile(f"{video} is refused: the graph tells nothing")
    lines = [record.model_dump(mode="json", exclude_defaults=True) for record in made]
    vectors = [(text.number, vector) for text in graph.texts for vector in text.vectors]
    for folder in ("memories", "vectors"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    matrix = out / "vectors" / f"{video}.npz"
    with matrix.with_suffix(".new").open("wb") as file:
        np.savez(file, nodes=np.array([number for number, _ in vectors]), vectors=np.stack([row for _, row in vectors]))
    matrix.with_suffix(".new").replace(matrix)
    memory = out / "memories" / f"{video}.jsonl"
    memory.with_suffix(".new").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8"
    )
    memory.with_suffix(".new").replace(memory)
    clips = len({text.clip for text in graph.texts})
    return Imported(video, len(made), clips, graph.texts[0].vectors.shape[1], noticed)


def _is_source(file: Path) -> bool:
    return file.is_file() and file.name.endswith((".pkl", *ARCHIVES))


def _graphs(file: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, bytes]]:
    """The name, the size and the content of each graph in a file; no content of one that is too large."""
    try:
        if file.suffix == ".pkl":
            if wanted(file.stem):
                size = file.stat().st_size
                yield file.stem, size, file.read_bytes() if size <= MAX_BYTES else b""
            return
        with tarfile.open(file) as archive:
            for member in archive:
                video = Path(member.name).stem
                if not (member.isreg() and member.name.endswith(".pkl") and wanted(video)):
                    continue
                if inner := archive.extractfile(member):
                    yield video, member.size, inner.read() if member.size <= MAX_BYTES else b""
    except (OSError, tarfile.TarError, EOFError, zlib.error) as exc:
        raise ConfigError(f"cannot read {file}: {exc}") from exc


def _read(content: bytes, size: int, name: str) -> Graph:
    if size > MAX_BYTES:
        raise UnsafeFile(f"{name} is refused: it has {size:,} bytes, graphs of at most {MAX_BYTES:,} are read")
    return read_graph(content, name)
