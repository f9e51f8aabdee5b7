"""Households read directly: the demo's controller, which is no model, says one sentence of what a reader returns.

It says the last sentence of what a model has read, or else the line that matches best; the demo's judge grades it. So
nobody counts or joins what retrieval returns: an agent with a model as its controller would.
"""

from collections.abc import Mapping, Sequence

from langchain_core.messages import HumanMessage, ToolMessage

from evals.compare_readers.asking import Asked, Work, answered, filled
from evals.compare_readers.candidates import Candidate, Options
from evals.compare_readers.worlds import Merged, clip_name
from evals.judge import lexically_correct
from evals.sample.questions import UNKNOWN, Question
from evals.tiny.chat import ANSWER
from graphs.extractive import ExtractiveChatModel
from linmem_langgraph import Reading

RIGHT, EVIDENCE = "right", "evidence"
"""Whether the answer is; and how much of what tells it is among the records that a reading rests on."""

GIVEN: Options = {"embeddings": "lexical", "max_tokens": ANSWER}

TUNED: Mapping[str, Options] = {
    "chroma": {"by": "position", "limit": 3},
    "hybrid": {"segment_tokens": 260, "budget_tokens": 260},
    "rolling": {"standing": True, "segment_tokens": 260, "note_tokens": 64},
}
"""Chroma as in `configs/demo.yaml`. linmem-tiny is at its best with few clips, and 260 tokens tell about 21; it was
never taught to merge what was found in two segments, and refuses to, so it reads one."""

SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"properties": {"query": {}}}}}


def work(candidate: Candidate, memories: Sequence[Merged]) -> Work:
    """What a reader makes of the questions."""
    asked, written = list[Asked](), []
    for memory in memories:
        with filled(candidate, memory.records) as (read, took):
            written.append(took)
            for world, draft in memory.asked:
                question, reading = draft.question, read(draft.question.text)
                known = question.answer != UNKNOWN
                right = lexically_correct(question.answer, said(question.text, reading), answerable=known)
                scores = {RIGHT: float(right)} | evidence(world, question, reading)
                asked.append(answered(world, question.text, scores, reading))
    return Work(asked=asked, written=written)


def told(memories: Sequence[Merged]) -> list[object]:
    """All that a reader is told and asked, and what is measured."""
    return [[RIGHT, EVIDENCE], *(_told(memory) for memory in memories)]


def _told(memory: Merged) -> list[object]:
    records = [[record.position, record.key, record.text] for record in memory.records]
    return [records, [[world, *draft.told] for world, draft in memory.asked]]


def evidence(world: str, question: Question, reading: Reading) -> dict[str, float]:
    """Nothing, where there is no evidence to be found. The same words in another clip are none."""
    gold = {(clip_name(world, event.clip), event.caption) for event in question.evidence}
    found = {(str(hit.record.key).rpartition("/")[0], hit.record.text) for hit in reading.records}
    return {EVIDENCE: len(gold & found) / len(gold)} if gold else {}


def said(question: str, reading: Reading) -> str:
    """What the controller answers after one search."""
    shown = ToolMessage(reading.text, tool_call_id="search", artifact={"model": reading.model})
    return ExtractiveChatModel().invoke([HumanMessage(question), shown], tools=[SEARCH]).text
