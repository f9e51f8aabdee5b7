"""The tokens of readers and controllers are added up."""

from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage

from evals.config import RunConfig
from evals.predict import predict
from evals.samples import Sample
from linmem_langgraph.log import Log
from linmem_langgraph.readers import Query, Reader
from linmem_langgraph.records import Reading
from tests.evals.predict.failing import Failing, on
from tests.evals.support import Hook, run_config, write_household
from tests.graphs.scripted import using
from tests.model_server import ModelServer


def test_a_reader_s_tokens_are_added_up(two: tuple[RunConfig, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from linmem_langgraph.records import Usage

    class Counting(Failing):
        def read(self, log: Log, query: Query) -> Reading:
            usage = Usage(prompt_tokens=100, cached_tokens=90, completion_tokens=7)
            return super().read(log, query).model_copy(update={"usage": usage})

    reader: Callable[..., Reader] = lambda config, path, *_: Counting(path / "c", ValueError())  # noqa: E731
    monkeypatch.setattr("evals.predict.configured_reader", reader)

    rows = predict(*two)

    assert {row.arm: (row.reader.prompt, row.reader.cached, row.reader.completion) for row in rows} == {
        "main": (100, 90, 7),
        "blind": (0, 0, 0),
        "oracle": (0, 0, 0),
    }


def test_a_controller_s_tokens_are_added_up(secrets: Path, tmp_path: Path, controlled: Callable[[Hook], None]) -> None:
    def used(message: AIMessage, prompt: int, cached: int) -> AIMessage:
        details = {"input_token_details": {"cache_read": cached}}
        usage = {"input_tokens": prompt, "output_tokens": 5, "total_tokens": prompt + 5, **details}
        return message.model_copy(update={"usage_metadata": usage})

    def act(messages: list[BaseMessage]) -> AIMessage:
        if any(message.type == "tool" for message in messages):
            return used(AIMessage("w2q"), 50, 20)
        return used(using("search_memory", query="word"), 30, 0)

    controlled(on(2, act))

    rows = predict(run_config(secrets, controls=[]), tmp_path / "out")

    (row,) = [row for row in rows if row.question_id == "2@None"]
    assert (row.controller.prompt, row.controller.cached, row.controller.completion) == (80, 20, 10)


def test_what_a_model_names_first_is_ranked_first(tmp_path: Path) -> None:
    told = {clip: [f"Clip {clip}."] for clip in range(9)}
    sample = Sample(id="q", memory="house", question="Which?", answer="it", evidence=(7,))
    data = write_household(tmp_path / "data", {"house": told}, [sample])
    with ModelServer(says="It is [7], less so [1] and [2]; see [7-8].") as server:
        options = {"base_url": server.base_url}
        config = run_config(data, reader={"name": "linear", "options": options}, controls=[], ranking=10)
        (row,) = predict(config, tmp_path / "run")

    assert row.ranking == (7, 1, 2, 8)
    assert row.reader.completion > 0
