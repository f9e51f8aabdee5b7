"""How long a memory a model can read at once: a needle in transcripts that grow until the server refuses.

The memories of a benchmark are told one after the other as one memory, twice as much of it each time, with a sentence
nobody could guess at three depths. Where the server refuses or fails, the limit is narrowed down between the last size
that was read and that one. Each read is kept, so that a broken measurement goes on.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from rich.markup import escape
from rich.table import Table as Shown

from evals.config import ReaderConfig, RunConfig
from evals.m3_graphs.formats import FORMATS, Format
from evals.markdown import markdown_table
from evals.models import tokens_of
from evals.samples import Benchmark
from evals.tables.published import CONTEXT
from linmem_langgraph import by_name, transcript
from linmem_langgraph.errors import ConfigError, ReaderUnavailable
from linmem_langgraph.readers._linear.prompt import read_messages
from linmem_langgraph.readers.base import Query
from linmem_langgraph.records import MemoryRecord

START = 32
"""Records of the first transcript."""

DEPTHS = (0.1, 0.5, 0.9)
"""Where the needle is: so much of the transcript comes before it."""

NARROWED = 4
"""How often the gap between what was read and what was refused is halved."""

NEEDLE, QUESTION, CODE = (
    "A note on the fridge says that the code of the blue suitcase is {code}.",
    "What is the code of the blue suitcase?",
    "7-9-4-1",
)


class Read(NamedTuple):
    """One read.

    Args:
        records: of the transcript.
        tokens: of the prompt, as the server counts them; 0 where it refused.
        refused: what it said then.
        failed: it did not refuse the request, but failed at it, or is gone; asked again, it may answer.
    """

    records: int
    depth: float
    tokens: int = 0
    cached: int = 0
    found: bool = False
    seconds: float = 0.0
    refused: str = ""
    failed: bool = False


def model_of(config: ReaderConfig) -> BaseChatModel:
    """The chat model that a reader's config names.

    Raises:
        ConfigError: it names none.
    """
    if not isinstance(model := config.options.get("model"), str):
        raise ConfigError(f"the {config.name} reader of this row has no model whose context could be measured")
    url = {"base_url": config.options["base_url"]} if config.options.get("base_url") else {}
    return by_name.chat_model(model, max_tokens=64, temperature=0, **url)


def together(benchmark: Benchmark, format: Format | None = None) -> list[MemoryRecord]:
    """All its memories as one, with a position for each clip of each."""
    told, numbers = list[MemoryRecord](), count()
    for whole in benchmark.memories.values():
        records = FORMATS[format](whole) if format else whole
        places: dict[int, int] = {}
        for record in records:
            clip = record.position or 0
            if clip not in places:
                places[clip] = next(numbers)
            told.append(record.model_copy(update={"position": places[clip]}))
    return told


def file_of(folder: Path, row: str, config: RunConfig, benchmark: Benchmark) -> Path:
    """Where a row's reads are kept: another model, address or benchmark has another file."""
    what = [config.reader.model_dump_json(exclude={"price"}), benchmark.fingerprint]
    return folder / f"{row}-{sha256(json.dumps(what).encode()).hexdigest()[:12]}.jsonl"


def needle(
    model: BaseChatModel, records: Sequence[MemoryRecord], file: Path, progress: Callable[[str], object] = str
) -> list[Read]:
    """Read longer and longer parts of `records`; what `file` has is not read again.

    Args:
        file: a line of JSON for each read.
        progress: is told what is read.

    Raises:
        ReaderUnavailable: not even the shortest could be read.
    """
    known, done = _kept(file), list[Read]()

    def fits(size: int) -> bool:
        for depth in DEPTHS:
            row = known.get((size, depth))
            if row is None:
                progress(f"{size:,} records, needle at {depth:.0%}")
                row = _read(model, records[:size], depth)
                if not row.failed:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with file.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(row._asdict()) + "\n")
            done.append(row)
            if row.refused:
                return False
        return True

    size = min(START, len(records))
    while fits(size) and size < len(records):
        size = min(2 * size, len(records))
    if done[-1].refused:
        low, high = max((row.records for row in done if not row.refused), default=0), size
        for _ in range(NARROWED):
            middle = (low + high) // 2
            if middle in (low, high):
                break
            low, high = (middle, high) if fits(middle) else (low, middle)
    if all(row.refused for row in done):
        file.unlink(missing_ok=True)
        raise ReaderUnavailable(f"not even {done[-1].records} records could be read: {done[-1].refused}")
    return sorted(done, key=lambda row: (row.records, row.depth))


_HEAD = ("records", "tokens", "from cache", *(f"needle at {depth:.0%}" for depth in DEPTHS), "s", "refused")


def shown(row: str, reads: Sequence[Read]) -> Shown:
    """For the terminal."""
    table = Shown(title=f"{row}: the longest memory that is read at once")
    for name in _HEAD:
        table.add_column(name, justify="left" if name == "refused" else "right")
    for size in dict.fromkeys(read.records for read in reads):
        table.add_row(*map(escape, _line([read for read in reads if read.records == size])))
    table.caption = said(row, reads)
    return table


def markdown(row: str, reads: Sequence[Read], changes: Mapping[str, str] = MappingProxyType({})) -> str:
    """The same as Markdown, with what was changed of the config."""
    sizes = dict.fromkeys(read.records for read in reads)
    table = markdown_table(_HEAD, [_line([read for read in reads if read.records == size]) for size in sizes])
    changed = "".join(f"\n- Changed from the config: `{name}={value}`." for name, value in changes.items())
    return f"# {row}: the longest memory that is read at once\n\n{table}\n{said(row, reads)}\n{changed}\n"


def said(row: str, reads: Sequence[Read]) -> str:
    """Where it ended, and what was published."""
    most = max((read.tokens for read in reads if not read.refused), default=0)
    refused = min((read.records for read in reads if read.refused), default=None)
    end = (
        f"refused from {refused:,} records on" if refused else "all there was, never refused: give it more with --data"
    )
    paper = f"; published: {CONTEXT[row]:,}, which is what the model was served with" if row in CONTEXT else ""
    return f"longest that was read: {most:,} tokens; {end}{paper}"


def _read(model: BaseChatModel, records: Sequence[MemoryRecord], depth: float) -> Read:
    place = int(depth * len(records))
    position = records[place].position if place < len(records) else 0
    hidden = MemoryRecord(text=NEEDLE.format(code=CODE), position=position)
    told = transcript.render([*records[:place], hidden, *records[place:]])
    started = time.perf_counter()
    try:
        answer = model.invoke(read_messages(told, Query(text=QUESTION)))
    except Exception as exc:  # however a server or its client says no
        said = f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:300]
        refused = isinstance(exc, ContextOverflowError) or getattr(exc, "status_code", None) in (400, 413, 422)
        return Read(len(records), depth, refused=said, failed=not refused)
    used = tokens_of(answer)
    seconds = time.perf_counter() - started
    return Read(len(records), depth, used.prompt, used.cached, CODE in answer.text, seconds)


def _kept(file: Path) -> dict[tuple[int, float], Read]:
    """What was read before; a last line that was cut off is dropped."""
    if not file.exists():
        return {}
    whole, _, _ = file.read_text("utf-8").rpartition("\n")
    file.write_text(f"{whole}\n" if whole else "", "utf-8")
    rows = [Read(**json.loads(line)) for line in whole.splitlines()]
    return {(row.records, row.depth): row for row in rows}


def _line(reads: Sequence[Read]) -> list[str]:
    by_depth = {read.depth: read for read in reads}
    told = [
        "-" if depth not in by_depth else "refused" if by_depth[depth].refused else str(by_depth[depth].found).lower()
        for depth in DEPTHS
    ]
    read = max(reads, key=lambda each: each.tokens)
    refused = next((each.refused for each in reads if each.refused), "")
    tokens = [f"{read.tokens:,}", f"{max(each.cached for each in reads):,}"] if read.tokens else ["-", "-"]
    return [f"{read.records:,}", *tokens, *told, f"{max(each.seconds for each in reads):.1f}", refused]
