"""LoCoMo (Maharana et al., arXiv 2402.17753): long conversations of two people, and questions with evidence turns.

A memory is a conversation, a record a turn: "speaker: text", with the caption of a shared picture in brackets. The
position is the turn's number in the conversation, so that the gold evidence is exact; the session's date is the
record's `created_at`. Adversarial questions (category 5) have no answer in memory.
"""

import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from evals.benchmarks.checked import check_id, fingerprint, once, parse, read_bytes, read_json, shown
from evals.samples import Benchmark, Sample
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}

NOT_IN_MEMORY = "not in memory"

_SESSION = re.compile(r"session_(0|[1-9][0-9]{0,5})")


class _Question(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    question: str
    answer: str | int | float | None = None
    evidence: list[str]
    category: int


class _Turn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    speaker: str
    dia_id: str
    text: str
    blip_caption: str | None = None


def load(data: Path | None) -> Benchmark:
    """The conversations in a LoCoMo JSON file.

    Raises:
        ConfigError: no path is given, the file cannot be read, or a field is missing or wrong.
    """
    if data is None:
        raise ConfigError("locomo is not bundled (CC BY-NC 4.0): give the path of its JSON file with --data")
    conversations = read_json(data)
    if not isinstance(conversations, list):
        raise ConfigError(f"{data}: expected a list of conversations, found {type(conversations).__name__}")
    memories: dict[str, tuple[MemoryRecord, ...]] = {}
    samples: list[Sample] = []
    quirks: Counter[str] = Counter()
    seen: set[tuple[str, ...]] = set()
    for number, conversation in enumerate(conversations):
        place = f"{data}, conversation {number}"
        for field, kind in (("sample_id", str), ("conversation", dict), ("qa", list)):
            if not isinstance(conversation, dict) or not isinstance(conversation.get(field), kind):
                raise ConfigError(f"{place}, field {field!r}: missing, or not a {kind.__name__}")
        memory = conversation["sample_id"]
        check_id(memory, place, "sample_id")
        once(seen, memory, place, "sample_id")
        records = _records(conversation["conversation"], place)
        turns = {record.key: record.position or 0 for record in records}
        memories[memory] = tuple(records)
        for index, row in enumerate(conversation["qa"]):
            where = f"{place}, question {index}"
            question = parse(_Question, row, where)
            samples.append(_sample(f"{memory}_q{index:03d}", memory, question, turns, quirks, where))
    if not samples:
        raise ConfigError(f"{data} has no questions")
    return Benchmark(
        name="locomo",
        memories=memories,
        samples=tuple(samples),
        quirks=dict(quirks),
        fingerprint=fingerprint([read_bytes(data)]),
    )


def _records(conversation: dict[str, Any], place: str) -> list[MemoryRecord]:
    records: list[MemoryRecord] = []
    seen: set[tuple[str, ...]] = set()
    for session in _sessions(conversation, place):
        where = f"{place}, session_{session}"
        date = _date(conversation.get(f"session_{session}_date_time"), where)
        if not isinstance(conversation[f"session_{session}"], list):
            raise ConfigError(f"{where}: expected a list of turns")
        for index, row in enumerate(conversation[f"session_{session}"]):
            turn = parse(_Turn, row, f"{where}, turn {index}")
            once(seen, turn.dia_id, f"{where}, turn {index}", "dia_id")
            caption = f" [{turn.blip_caption}]" if turn.blip_caption else ""
            record = {
                "text": f"{turn.speaker}: {turn.text}{caption}",
                "position": len(records),
                "key": turn.dia_id,
                "created_at": date,
                "metadata": {"session": session, "speaker": turn.speaker},
            }
            records.append(parse(MemoryRecord, record, f"{where}, turn {index}"))
    if not records:
        raise ConfigError(f"{place}, field 'conversation': it has no session_1, session_2, ...")
    return records


def _sessions(conversation: dict[str, Any], place: str) -> list[int]:
    """The numbers of the sessions that have turns."""
    numbers = []
    for name in conversation:
        if re.fullmatch(r"session_\d+", name):
            if not (match := _SESSION.fullmatch(name)):
                raise ConfigError(f"{place}, field {shown(name)}: sessions are named 'session_1', 'session_2', ...")
            numbers.append(int(match[1]))
    return sorted(numbers)


def _date(text: Any, place: str) -> datetime:
    try:
        return datetime.strptime(str(text), "%I:%M %p on %d %B, %Y")
    except ValueError as exc:
        raise ConfigError(f"{place}, field 'date_time': {shown(text)} is not like '1:56 pm on 8 May, 2023'") from exc


def _sample(
    id: str, memory: str, row: _Question, turns: dict[str | None, int], quirks: Counter[str], place: str
) -> Sample:
    if row.category not in CATEGORIES:
        raise ConfigError(f"{place}, field 'category': {shown(row.category)} is not one of 1 to 5")
    # Nearly all adversarial questions have no answer; those that have one are to be answered.
    answerable = row.category != 5 or row.answer is not None
    if answerable and row.answer is None:
        quirks["questions without a gold answer, unscored"] += 1
    if answerable and row.category == 5:
        quirks["adversarial questions with a gold answer, which counts"] += 1
    if not isinstance(row.answer, str) and row.answer is not None:
        quirks["gold answers that are numbers, read as text"] += 1
    if not row.evidence:
        quirks["questions without evidence"] += 1
    quirks["evidence strings that resolve to no turn"] += sum(dia_id not in turns for dia_id in row.evidence)
    fields = {
        "id": id,
        "memory": memory,
        "question": row.question,
        "answer": (None if row.answer is None else str(row.answer)) if answerable else NOT_IN_MEMORY,
        "types": (CATEGORIES[row.category],),
        "evidence": tuple(sorted({turns[dia_id] for dia_id in row.evidence if dia_id in turns})),
        "answerable": answerable,
    }
    return parse(Sample, fields, place)
