"""M3-Bench on this machine: its annotations and memory graphs, from the hub or from a copy, checked and converted."""

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from evals import hub
from evals.benchmarks.m3_bench import ANNOTATIONS, GRAPHS, SUBSETS, annotation_file, graph_folder, read_annotations
from evals.config import only_writer
from evals.hub import DataSet, HubFile
from evals.m3_graphs.convert import Imported, import_graphs, is_imported, sources, tell
from linmem_langgraph.errors import ConfigError

DATA_SET = "ByteDance-Seed/M3-Bench"

REPOSITORY = "https://github.com/ByteDance-Seed/m3-agent"

Say = Callable[[str], object]

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], object]]]
"""Of a name, a bar that is told how many of how many are done."""

# Names of files come from outside: none of these leaves the folder.
_GRAPH = re.compile(rf"(?:{'|'.join(GRAPHS)})/(?P<inner>(?:[\w-][\w.-]*/)*[\w-][\w.-]*\.(?:pkl|tar\.gz|tgz|tar))")


def download(
    out: Path,
    subset: str | None,
    agree: Callable[[str], object],
    say: Say,
    progress: Progress,
    endpoint: str | None = None,
) -> None:
    """Bring what is missing or wrong of the public data set into `out`.

    Args:
        subset: "robot" or "web"; None = both.
        agree: is asked before the first file is requested, and raises if the answer is no.
        endpoint: the hub's address; None = `HF_ENDPOINT`, or the public hub.

    Raises:
        ConfigError: the hub or a file cannot be had, or a file came with another checksum.
    """
    data = hub.data_set(DATA_SET, endpoint)
    files = _wanted(data, out, _subsets(subset))
    with progress("checking") as advance:
        missing = list(_missing(files, out, advance))
    for line in _plan(data, files, missing, out):
        say(line)
    if not missing:
        return
    _check_space(sum(_left(file, out) for file in missing), out)
    agree(f"Download {_size(sum(_left(file, out) for file in missing))} to {out}?")
    with only_writer(out):
        wrong = [file.name for file in missing if not hub.download(data, file, out)]
    if wrong:
        raise ConfigError(
            f"{', '.join(wrong)} came with another checksum than the hub names, and was deleted: call again; "
            "if that does not help, the copy that HF_ENDPOINT or a proxy gives is damaged"
        )


def convert(source: Path, out: Path, subset: str | None, say: Say, progress: Progress) -> None:
    """Check the annotations in `source` and convert the graphs of their videos to memories and vectors in `out`.

    A video whose memory is newer than its graph stays as it is.

    Raises:
        ConfigError: annotations or graphs are missing, or cannot be read.
        UnsafeFile: some graphs were refused; the others were converted.
    """
    annotations = {each: file for each in _subsets(subset) if (file := annotation_file(source, each))}
    if not annotations:
        names = " or ".join(f"{each}.json" for each in _subsets(subset))
        raise ConfigError(f"{source} has no {names}, nor in {' or '.join(ANNOTATIONS[1:])}: {_hint(source)}")
    halves = _videos(annotations, say)
    videos = set[str]().union(*halves.values())
    folder = graph_folder(source)
    if folder is None:
        raise ConfigError(f"{source} has no {' or '.join(GRAPHS)}, the folder of memory graphs")
    with only_writer(out):
        if not source.samefile(out):
            for file in annotations.values():
                shutil.copyfile(file, out / file.name)
        found = _import(folder, out, halves, progress)
    without = sorted(video for video in videos if not (out / "memories" / f"{video}.jsonl").exists())
    if kept := len(videos.difference(without, [graph.video for graph in found])):
        say(f"{kept:,} of {len(videos):,} videos were converted before, into {out}")
    if found:
        tell(found, out, say)
    if without:
        raise ConfigError(f"{folder} has no graph of {len(without):,} of {len(videos):,} videos: {without[0]!r} first")


def _subsets(subset: str | None) -> tuple[str, ...]:
    return SUBSETS if subset is None else (subset,)


def _wanted(data: DataSet, out: Path, subsets: Sequence[str]) -> list[HubFile]:
    """The annotations and the graphs, of what the hub has."""
    by_name = {file.name: file for file in data.files}
    wanted = []
    for subset in subsets:
        places = (PurePosixPath(place, f"{subset}.json").as_posix() for place in ANNOTATIONS)
        if name := next((name for name in places if name in by_name), None):
            wanted.append(by_name[name])
        elif annotation_file(out, subset) is None:
            raise ConfigError(f"{data.name} has no {subset}.json: {_hint(out)}")
    graphs = [file for file in data.files if _is_graph(file.name, subsets)]
    if not graphs:
        raise ConfigError(
            f"{data.name} has no graphs of {' or '.join(subsets)} in {' or '.join(GRAPHS)}: give a copy with --from"
        )
    return [*wanted, *graphs]


def _is_graph(name: str, subsets: Sequence[str]) -> bool:
    """Whether a file holds graphs, and not those of the other half alone."""
    found = _GRAPH.fullmatch(name)
    return found is not None and not any(found["inner"].startswith(each) for each in SUBSETS if each not in subsets)


def _hint(folder: Path) -> str:
    return f"copy robot.json and web.json from data/annotations of {REPOSITORY} to {folder}"


def _missing(files: Sequence[HubFile], out: Path, advance: Callable[[int, int], object]) -> Iterator[HubFile]:
    for number, file in enumerate(files, start=1):
        if not file.is_at(out / file.name):
            yield file
        advance(number, len(files))


def _plan(data: DataSet, files: Sequence[HubFile], missing: Sequence[HubFile], out: Path) -> Iterator[str]:
    """What is about to be downloaded, and on which terms."""
    yield f"{data.name}, version {data.commit:.12}, from {data.endpoint}"
    yield f"licence, as its card names it: {data.licence or 'none; ask its authors before you pass it on'}"
    rows = dict[tuple[str, str], list[HubFile]]()
    for file in files:
        path = PurePosixPath(file.name)
        name = f"{path.parent}/*.pkl" if path.suffix == ".pkl" else file.name
        rows.setdefault((name, _state(file, out) if file in missing else "is there"), []).append(file)
    for (name, state), group in rows.items():
        count = f" ({len(group):,} files)" if len(group) > 1 else ""
        yield f"  {_size(sum(file.size for file in group)):>28}  {name}{count}: {state}"
    yield f"in all {len(files):,} files, {_size(sum(file.size for file in files))}"
    yield f"to download {len(missing):,} files, {_size(sum(_left(file, out) for file in missing))}"
    wanted = set(files)
    others = Counter(file.name.partition("/")[0] for file in data.files if file not in wanted)
    yield f"left out: {', '.join(f'{name} ({count:,})' for name, count in sorted(others.items())) or 'nothing'}"


def _state(file: HubFile, out: Path) -> str:
    if (out / file.name).exists():
        return "is another there, and is replaced"
    return f"to download, {_size(file.size - _left(file, out))} are there" if file.part(out).exists() else "to download"


def _left(file: HubFile, out: Path) -> int:
    """Bytes of a file that have not come yet."""
    part = file.part(out)
    return max(0, file.size - part.stat().st_size) if part.exists() else file.size


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 10**6 else f"{count:,} bytes ({count / 10**9:.3g} GB)"


def _check_space(needed: int, out: Path) -> None:
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    if (free := shutil.disk_usage(folder).free) < needed:
        raise ConfigError(f"{_size(needed)} are to come, and {folder} has room for {_size(free)}: choose another --out")


def _videos(annotations: Mapping[str, Path], say: Say) -> dict[str, set[str]]:
    """The videos of each half, whose annotations are read and checked."""
    quirks, seen = Counter[str](), set[tuple[str, ...]]()
    videos = dict[str, set[str]]()
    for subset, file in annotations.items():
        samples = read_annotations(file, quirks, seen)
        videos[subset] = {sample.memory for sample in samples}
        say(f"{file}: {len(samples):,} questions about {len(videos[subset]):,} videos")
    for what, count in quirks.items():
        if count:
            say(f"{count:,} {what}")
    return videos


def _import(folder: Path, out: Path, halves: Mapping[str, set[str]], progress: Progress) -> list[Imported]:
    """Convert what was not converted since its graph was written; no archive is opened that has nothing of it."""
    everything = set[str]().union(*halves.values())

    def wanted(file: Path) -> set[str]:
        inside = file.relative_to(folder).as_posix()
        half = next((subset for subset in SUBSETS if inside.startswith(subset)), None)
        in_archive = halves.get(half, set[str]()) if half else everything
        videos = everything & {file.stem} if file.suffix == ".pkl" else in_archive
        return {video for video in videos if not is_imported(video, out, file)}

    due = [file for file in sources(folder) if wanted(file)]
    found = list[Imported]()
    if not due:
        return found
    with progress("importing") as advance:
        for number, file in enumerate(due, start=1):
            videos = wanted(file)
            found += import_graphs(file, out, lambda done, total: None, videos.__contains__)
            advance(number, len(due))
    return found
