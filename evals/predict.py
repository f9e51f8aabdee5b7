"""predict: drive the loop over a benchmark, one row a question.

Memories run concurrently; the questions of one are asked in order of `until`, so that a model's state is reused.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from evals.benchmarks import load_benchmark
from evals.benchmarks.checked import MAX_DEPTH, deeper
from evals.cache import ContentCache
from evals.config import RunConfig, only_writer, save_config
from evals.models import configured_model, same_as_before, served, tokens_of
from evals.readers import BlindReader, OracleReader, configured_reader
from evals.rows import Prediction, RowFile, Tokens, added
from evals.samples import Benchmark, Sample
from evals.schedule import CONTROLS, Job, hashes, jobs
from graphs.m3_agent import M3Input, create_m3_agent
from linmem_langgraph import Memory, create_search_memory_tool
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers._linear.prompt import named_positions
from linmem_langgraph.records import MemoryRecord, Reading

Progress = Callable[[int, int], None]
"""Called with how many questions are done, and of how many."""

logger = logging.getLogger(__name__)

UNAVAILABLE = "memory is unavailable"

KEPT = "answers_from_cache.txt"
"""A file of a run: how many answers were not asked for, as `runs/cache.sqlite` had them."""

TOO_DEEP = f"(nested deeper than {MAX_DEPTH // 2} levels)"


def predict(
    config: RunConfig,
    out: Path,
    progress: Progress = lambda done, total: None,
    cache: ContentCache | None = None,
    *,
    retry_errors: bool = False,
) -> list[Prediction]:
    """Answer every question of every arm that has no row in `out/predictions.jsonl` yet; all rows there are.

    Args:
        cache: what models and embeddings have said before is not asked again.
        retry_errors: ask those again that failed; their rows are replaced.

    Raises:
        ConfigError: the set-up or the benchmark is wrong, or `out` holds another run or is in use.
    """
    benchmark = load_benchmark(**config.benchmark.model_dump())
    with ExitStack() as stack:
        stack.enter_context(only_writer(out))
        file = RowFile(out / "predictions.jsonl")
        file.mend()
        known = hashes(config, benchmark.fingerprint)
        rows = {row.key: row for row in file.read(Prediction)}
        if strange := [row for row in rows.values() if row.config not in known.values()]:
            raise ConfigError(
                f"{file.path} holds rows of another set-up, such as {strange[0].question_id!r} of arm "
                f"{strange[0].arm!r}: choose another --out, or delete the folder"
            )
        if retry_errors:
            rows = {key: row for key, row in rows.items() if not row.error}
            file.replace(rows.values())
        same_as_before(out / "served.json", served(config))
        save_config(config, out)
        folder = out / "memory"
        memories = {"main": stack.enter_context(Memory.open(folder, configured_reader(config.reader, folder, cache)))}
        for arm, reader in config.compared.items():
            one = Memory(configured_reader(reader, folder / arm, cache), store=memories["main"].store)
            memories[arm] = stack.enter_context(one)
        asker = _Asker(config, benchmark, memories, known, cache)
        left = jobs(config, benchmark, known, rows.keys())
        total = len(rows) + sum(len(job.samples) for job in left)

        def keep(row: Prediction) -> None:
            file.append(row)
            rows[row.key] = row
            progress(len(rows), total)

        progress(len(rows), total)
        with ThreadPoolExecutor(config.concurrency) as executor:
            stop = Event()
            futures = [executor.submit(_run_job, asker, keep, stop, job) for job in left]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                stop.set()
                executor.shutdown(wait=False, cancel_futures=True)
                raise
        if cache and cache.answers:
            note = out / KEPT
            note.write_text(str(len(cache.answers) + (int(note.read_text()) if note.exists() else 0)), encoding="utf-8")
    return list(rows.values())


class _Asker:
    """Asks questions in one arm or another."""

    def __init__(
        self,
        config: RunConfig,
        benchmark: Benchmark,
        memories: dict[str, Memory],
        known: dict[str, str],
        cache: ContentCache | None,
    ) -> None:
        self._config, self._benchmark, self._memories, self._hashes = config, benchmark, memories, known
        self._memory = memories["main"]
        self._model = configured_model(config.controller, cache)
        self._prompts = config.wording()

    def remember(self, memory: str) -> tuple[MemoryRecord, ...]:
        """Write a memory, if it is not there yet, and wait until it can be read."""
        records = self._benchmark.memories[memory]
        self._memory.write(self._namespace(memory), records)
        try:
            self._memory.flush()
        except Exception as exc:
            # The first read tries again: if that fails too, its question is an error row.
            logger.warning("indexing %r failed: %s", memory, exc)
        return records

    def ask(self, arm: str, sample: Sample, records: Sequence[MemoryRecord]) -> Prediction:
        """One row."""
        positions = {record.position or 0 for record in records}
        row = Prediction(
            arm=arm,
            config=self._hashes[arm],
            question_id=sample.id,
            seed=self._config.seed,
            gold=sample.answer,
            candidates=sum(sample.until is None or position <= sample.until for position in positions),
            **sample.model_dump(include={"memory", "question", "types", "until", "evidence", "answerable"}),
        )
        started = time.perf_counter()
        state: dict[str, Any] = {"messages": []}
        try:
            found = self._run(arm, sample, state)
        except Exception as exc:
            # A question that fails is a row: counted as wrong, shown as an error, and the run goes on.
            found = {**summarize(state), "answer": "", "error": clean(f"{type(exc).__name__}: {exc}")}
        return row.model_copy(update={"seconds": time.perf_counter() - started, **found})

    def _namespace(self, memory: str) -> tuple[str, str]:
        return self._benchmark.name, memory

    def _run(self, arm: str, sample: Sample, state: dict[str, Any]) -> dict[str, Any]:
        """The columns of the row; `state` follows the loop, so that the rounds before a failure are kept."""
        memory, namespace = self._memories.get(arm, self._memory), self._namespace(sample.memory)
        if arm in CONTROLS:
            reader = BlindReader() if arm == "blind" else OracleReader(sample.evidence)
            memory = Memory(reader, store=self._memory.store)
        tool = create_search_memory_tool(memory, namespace=namespace, until=sample.until)
        graph = create_m3_agent(
            [tool],
            self._model,
            protocol=self._config.protocol,
            max_rounds=self._config.max_rounds,
            prompts=self._prompts,
        ).compile(name="m3_agent")
        question: M3Input = {"messages": [HumanMessage(sample.question)]}
        for values in graph.stream(question, stream_mode="values"):
            state.update(values)
        found = summarize(state)
        if arm == "main" and self._config.ranking and sample.evidence:
            reading = memory.read(namespace, sample.question, limit=self._config.ranking, until=sample.until)
            found["ranking"] = _ranking(reading)
            found["reader"] = added([found["reader"], _tokens(reading.usage.model_dump())])
        return found


def summarize(state: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row that come from the loop's final state."""
    messages: list[BaseMessage] = state["messages"]
    results = [message for message in messages if isinstance(message, ToolMessage)]
    failures = [message.text for message in results if message.status == "error" and UNAVAILABLE in message.text]
    return {
        "answer": clean(state.get("answer", "")),
        "error": failures[0] if failures else "",
        "rounds": state.get("rounds", 0),
        "searches": len(results),
        "forced": state.get("forced", False),
        "unparsable": state.get("unparsable", 0),
        "controller": added(tokens_of(message) for message in messages if isinstance(message, AIMessage)),
        "reader": added(_reader_tokens(message) for message in results),
        "messages": tuple(_plain(message) for message in messages),
        "shown": tuple(dict.fromkeys(position for message in results for position in _positions(message))),
    }


def _run_job(asker: _Asker, keep: Callable[[Prediction], None], stop: Event, job: Job) -> None:
    records = asker.remember(job.memory)
    for sample in job.samples:
        if stop.is_set():
            return
        keep(asker.ask(job.arm, sample, records))


def clean(text: str) -> str:
    """`text` as UTF-8 can keep it: a lone surrogate, which a model may say, is written out."""
    return text.encode("utf-8", errors="backslashreplace").decode()


def _reader_tokens(message: ToolMessage) -> Tokens:
    return _tokens((message.artifact or {}).get("usage", {}))


def _ranking(reading: Reading) -> tuple[int, ...]:
    """The positions of the records, the best first; those that a model's words rest on as these name them."""
    positions = list(dict.fromkeys(hit.record.position or 0 for hit in reading.records))
    return tuple(named_positions(reading.text, positions)[0] if reading.model else positions)


def _tokens(used: Mapping[str, int]) -> Tokens:
    return Tokens(**{name: used.get(f"{name}_tokens", 0) for name in ("prompt", "cached", "completion")})


def _positions(message: ToolMessage) -> list[int]:
    return [hit["record"]["position"] for hit in (message.artifact or {}).get("records", ())]


def _plain(message: BaseMessage) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.type, "text": clean(message.text)}
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [{"name": call["name"], "args": _shallow(call["args"])} for call in message.tool_calls]
        # A model's NaN is no JSON: it is kept as text.
        plain["calls"] = json.loads(clean(json.dumps(calls, ensure_ascii=False)), parse_constant=str)
    if isinstance(message, ToolMessage):
        plain["positions"] = sorted(set(_positions(message)))
        if (message.artifact or {}).get("model"):
            plain["written"] = {name: message.artifact[name] for name in ("model", "usage", "seconds", "invented")}
    return plain


def _shallow(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as a row can hold them: a model may nest them deeper than any file is read."""
    return {name: TOO_DEEP if deeper(value, MAX_DEPTH // 2) else value for name, value in arguments.items()}
