"""What the tests of evals share: where data is, rows by hand, small benchmarks, runs, and models that misbehave."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from evals.config import RunConfig
from evals.judge import judge
from evals.predict import predict
from evals.rows import Grade, Prediction
from evals.sample.generate import generate, write
from evals.samples import Sample
from graphs.extractive import ExtractiveChatModel
from linmem_langgraph.records import MemoryRecord

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def shared(*parts: str) -> Path:
    """A file of the shared data; without it the test is skipped, and says so."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {path}, which is not here")
    return path


class Gone:
    """In place of a value: take the field away."""


def changed(document: Any, place: Sequence[str | int], value: Any) -> Any:
    """A copy of a JSON document with `value` at `place`; with `Gone`, without what is there."""
    document = copy.deepcopy(document)
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    if value is Gone:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return document


def jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def prediction(question_id: str = "q1", **fields: Any) -> Prediction:
    """A row that was answered, with what does not matter filled in."""
    asked = {
        "arm": "main",
        "config": "c0ffee",
        "seed": 0,
        "memory": "m1",
        "question": "Where is the mug?",
        "gold": "on the shelf",
        "types": ("where",),
        "until": None,
        "evidence": (),
        "answerable": True,
        "rounds": 2,
    }
    return Prediction(question_id=question_id, **{**asked, **fields})


def grade_of(row: Prediction, label: str, **fields: Any) -> Grade:
    key = row.model_dump(include={"arm", "config", "question_id", "seed"})
    return Grade(**{**key, "label": label, "f1": 0.0, "judge": "lexical", **fields})


def write_household(folder: Path, clips: Mapping[str, Mapping[int, Sequence[str]]], samples: Sequence[Sample]) -> Path:
    """A benchmark by hand: captions by memory and clip."""
    memories = {
        memory: tuple(
            MemoryRecord(text=text, position=clip, key=f"{memory}_{clip}_{number}")
            for clip, texts in told.items()
            for number, text in enumerate(texts)
        )
        for memory, told in clips.items()
    }
    write(folder, memories, samples)
    return folder


def run_config(data: Path | None, **changes: Any) -> RunConfig:
    """The demo's set-up over the household benchmark in `data`."""
    fields: dict[str, Any] = {
        "name": "test",
        "benchmark": {"name": "household", "data": data},
        "reader": {"name": "chroma", "options": {"embeddings": "lexical", "by": "position", "limit": 3}},
        "controls": ["blind", "oracle"],
    }
    return RunConfig.model_validate({**fields, **changes})


def a_run(folder: Path, name: str, **changes: object) -> Path:
    """A small run over households, predicted and judged."""
    data = folder / str(changes.pop("data", "households"))
    if not data.exists():
        seed = 7 if data.name == "households" else 8
        write(data, *generate(worlds=3, clips=12, questions=6, seed=seed))
    reader = {"name": "chroma", "options": {"embeddings": "lexical", "by": "position", "limit": 1}}
    config = run_config(data, **{"name": name, "reader": reader, "ranking": 0, **changes})
    predict(config, folder / name)
    judge(config, folder / name)
    return folder / name


Hook = Callable[[str, list[BaseMessage]], AIMessage | None]
"""Given the question and the dialogue, what to say instead of what the extractive controller says; None = nothing."""


class HookedController(ExtractiveChatModel):
    """The extractive controller; a hook sees each turn first, and may answer it or raise."""

    _hook: Hook = PrivateAttr()

    def __init__(self, hook: Hook) -> None:
        super().__init__()
        self._hook = hook

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        tools: Sequence[dict[str, Any]] = (),
        **kwargs: Any,
    ) -> ChatResult:
        question = next(message.text for message in messages if isinstance(message, HumanMessage))
        said = self._hook(question, messages)
        if said is not None:
            return ChatResult(generations=[ChatGeneration(message=said)])
        return super()._generate(messages, stop, run_manager, tools=tools, **kwargs)


class SayingModel(BaseChatModel):
    """A judge that says what a function makes of what it was sent; keeps what it was sent."""

    _say: Callable[[str], str] = PrivateAttr()
    _sent: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    def __init__(self, say: Callable[[str], str]) -> None:
        super().__init__()
        self._say = say

    @property
    def sent(self) -> list[list[BaseMessage]]:
        return self._sent

    @property
    def _llm_type(self) -> str:
        return "saying"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._sent.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self._say(messages[-1].text)))])
