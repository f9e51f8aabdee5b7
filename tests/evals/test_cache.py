"""What models and embeddings said is kept by content; a run that was broken off or changed asks nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from langchain_core.caches import BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.store.memory import InMemoryStore

from evals.cache import ContentCache
from evals.config import ModelConfig, Price, RunConfig
from evals.judge import judge
from evals.models import configured_model
from evals.predict import predict
from evals.readers import configured_reader
from evals.report import report
from evals.rows import Prediction
from evals.samples import Sample
from linmem_langgraph import Memory
from linmem_langgraph.errors import ConfigError
from tests.evals.support import write_household
from tests.model_server import ModelServer

SAMPLES = [
    Sample(id="q0", memory="house", question="Where is the mug?", answer="on the shelf", until=1),
    Sample(id="q1", memory="house", question="Where is Anna?", answer="in the hall"),
]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(
        says=lambda message: (
            "Action: [Answer]\nContent: on the shelf" if "Searched" in message else "The mug is on the shelf [1]."
        )
    ) as one:
        one.tokenizes = True
        yield one


@pytest.fixture
def config(server: ModelServer, tmp_path: Path) -> RunConfig:
    clips = {
        "house": {0: ["Anna takes the mug."], 1: ["Anna puts the mug on the shelf."], 2: ["Anna enters the hall."]}
    }
    data = write_household(tmp_path / "data", clips, SAMPLES)
    model = {"model": "vllm:", "options": {"base_url": server.base_url}}
    return RunConfig.model_validate(
        {
            "name": "cached",
            "benchmark": {"name": "household", "data": data},
            "reader": {"name": "linear", "options": {"base_url": server.base_url}},
            "controller": model,
            "protocol": "m3",
            "max_rounds": 2,
            "judge": {"kind": "model", "model": {**model, "model": "vllm:tiny"}},
        }
    )


def answers(rows: list[Prediction]) -> dict[str, tuple[str, str, int]]:
    return {row.question_id: (row.answer, row.error, row.controller.prompt) for row in rows}


def test_a_run_in_another_folder_asks_the_controller_and_the_reader_nothing_again(
    config: RunConfig, server: ModelServer, tmp_path: Path
) -> None:
    first = predict(config, tmp_path / "first", cache=ContentCache(tmp_path / "cache.sqlite"))
    assert server.asked("read", "other")
    server.clear()

    second = predict(config, tmp_path / "second", cache=ContentCache(tmp_path / "cache.sqlite"))

    assert answers(second) == answers(first)
    assert not any(row.error for row in second)
    assert not server.asked("read", "other", "merge")


def test_a_report_says_how_many_answers_were_kept(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    for name in ("first", "second"):
        predict(config, tmp_path / name, cache=ContentCache(tmp_path / "cache.sqlite"))
    server.says = "yes"
    for name in ("first", "second"):
        judge(config, tmp_path / name)
        report(config, tmp_path / name)

    said = "answers of models that an earlier run had asked for"
    assert said not in (tmp_path / "first" / "report.md").read_text()
    assert (
        f"{said}: their tokens and money count, seconds do not tell: 2"
        in (tmp_path / "second" / "report.md").read_text()
    )


def test_a_run_that_searches_asks_nothing_again(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    def says(message: str) -> str:
        if message.startswith("MEMORY:"):
            return "The mug is on the shelf [1]."
        return "Action: [Answer]\nContent: the shelf" if "[1]" in message else "Action: [Search]\nContent: the mug"

    server.says = says
    first = predict(config, tmp_path / "first", cache=ContentCache(tmp_path / "cache.sqlite"))
    assert [row.searches for row in first] == [1, 1]
    server.clear()

    assert answers(predict(config, tmp_path / "second", cache=ContentCache(tmp_path / "cache.sqlite"))) == answers(
        first
    )
    assert not server.asked("read", "other", "merge")


def test_another_seed_and_no_cache_ask_again(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    predict(config, tmp_path / "first", cache=ContentCache(tmp_path / "cache.sqlite"))
    for name, cache in {"seed": ContentCache(tmp_path / "cache.sqlite", seed=1), "none": None}.items():
        server.clear()
        predict(config, tmp_path / name, cache=cache)
        assert server.asked("other"), name


def test_a_judge_is_asked_once_for_one_answer(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    cache = ContentCache(tmp_path / "cache.sqlite")
    for name in ("first", "second"):
        predict(config, tmp_path / name, cache=cache)
    server.says = "yes"
    first = judge(config, tmp_path / "first", cache=cache)
    server.clear()

    second = judge(config, tmp_path / "second", cache=cache)

    assert [grade.label for grade in second] == [grade.label for grade in first] == ["correct", "correct"]
    assert not server.requests


def test_a_judge_s_second_try_is_not_the_first_one_from_the_cache(
    config: RunConfig, server: ModelServer, tmp_path: Path
) -> None:
    predict(config, tmp_path / "run")
    server.clear()
    server.says = lambda message: "yes" if len(server.asked("other")) > 1 else "perhaps"

    grades = judge(
        config.model_copy(update={"limit": 1}), tmp_path / "run", cache=ContentCache(tmp_path / "cache.sqlite")
    )

    assert [grade.raw for grade in grades] == ["yes", "yes"]


def test_an_answer_without_words_is_asked_for_again(server: ModelServer, tmp_path: Path, config: RunConfig) -> None:
    model = configured_model(config.controller, ContentCache(tmp_path / "cache.sqlite"))
    server.says = " "
    model.invoke("Where?")
    server.says = "Here."

    assert model.invoke("Where?").text == "Here."
    assert model.invoke("Where?").text == "Here."
    assert len(server.asked("other")) == 2


def test_answers_can_be_dropped_and_vectors_stay(server: ModelServer, tmp_path: Path, config: RunConfig) -> None:
    cache, inner = ContentCache(tmp_path / "cache.sqlite"), Counting()
    model = configured_model(config.controller, cache)
    assert isinstance(model.cache, BaseCache)
    cache.embeddings(inner, "counting").embed_query("Where?")
    model.invoke("Where?")

    model.cache.clear()
    model.invoke("Where?")
    cache.embeddings(inner, "counting").embed_query("Where?")

    assert len(server.asked("other")) == 2
    assert inner.queries == ["Where?"]


def test_other_options_are_another_question(server: ModelServer, tmp_path: Path, config: RunConfig) -> None:
    cache = ContentCache(tmp_path / "cache.sqlite")
    warm = config.controller.model_copy(update={"options": {**config.controller.options, "temperature": 0.6}})
    server.says = "Here."
    configured_model(config.controller, cache).invoke("Where?")
    server.says = "There."

    assert configured_model(warm, cache).invoke("Where?").text == "There."
    assert configured_model(config.controller, cache).invoke("Where?").text == "Here."


def test_what_a_message_cost_does_not_matter(server: ModelServer, tmp_path: Path, config: RunConfig) -> None:
    model = configured_model(config.controller, ContentCache(tmp_path / "cache.sqlite"))
    said = AIMessage("Let me see.", usage_metadata={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5})
    again = AIMessage("Let me see.", id="other", response_metadata={"id": "other"})
    for message in (said, again):
        model.invoke([HumanMessage("Where?"), message, HumanMessage("So?")])

    assert len(server.asked("other")) == 1


def test_what_a_tool_returned_does_matter(server: ModelServer, tmp_path: Path, config: RunConfig) -> None:
    model = configured_model(config.controller, ContentCache(tmp_path / "cache.sqlite"))
    call = AIMessage("Let me see.", tool_calls=[{"name": "search_memory", "args": {"query": "mug"}, "id": "1"}])
    for found in ("on the shelf", "in the hall"):
        model.invoke([HumanMessage("Where?"), call, ToolMessage(found, tool_call_id="1")])

    assert len(server.asked("other")) == 2


class Counting(Embeddings):
    """Vectors of a text's length; notes what it was asked for."""

    def __init__(self) -> None:
        self.documents: list[str] = []
        self.queries: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents += texts
        return [[len(text), 0.1] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        return [0.3, len(text)]


def test_each_text_is_embedded_once_as_a_document_and_once_as_a_query(tmp_path: Path) -> None:
    inner = Counting()
    texts = [f"text {number % 1_500}" for number in range(3_000)]
    for _ in range(2):
        cached = ContentCache(tmp_path / "cache.sqlite").embeddings(inner, "counting")
        vectors, query = cached.embed_documents(texts), cached.embed_query("text 1")

    assert vectors == [[len(text), float(np.float32(0.1))] for text in texts]
    assert query == [float(np.float32(0.3)), 6]
    assert inner.documents == texts[:1_500]
    assert inner.queries == ["text 1"]


def test_embeddings_of_another_name_share_nothing(tmp_path: Path) -> None:
    cache, inner = ContentCache(tmp_path / "cache.sqlite"), Counting()
    for name in ("small", "large"):
        cache.embeddings(inner, name).embed_documents(["a"])

    assert inner.documents == ["a", "a"]


def test_models_and_embeddings_in_this_process_are_not_kept(tmp_path: Path) -> None:
    config = RunConfig.model_validate({"name": "demo", "reader": {"options": {"embeddings": "lexical"}}})
    cache = ContentCache(tmp_path / "cache.sqlite")
    configured_reader(config.reader, tmp_path, cache).close()
    configured_model(config.controller, cache).invoke("Where is the mug?")

    assert not (tmp_path / "cache.sqlite").exists()


def test_what_no_model_is_shown_does_not_matter(server: ModelServer, tmp_path: Path, config: RunConfig) -> None:
    model = configured_model(config.controller, ContentCache(tmp_path / "cache.sqlite"))
    call = AIMessage("Let me see.", tool_calls=[{"name": "search_memory", "args": {"query": "mug"}, "id": "1"}])
    for seconds in (0.1, 0.2):
        found = ToolMessage("on the shelf", tool_call_id="1", artifact={"seconds": seconds})
        model.invoke([HumanMessage("Where?"), call, found])

    assert len(server.asked("other")) == 1


def test_a_server_that_tells_no_usage(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    server.tells_usage = False
    server.says = lambda message: (
        "The mug is on the shelf [1]."
        if message.startswith("MEMORY")
        else "Action: [Search]\nContent: the mug"
        if message.startswith("Searched knowledge: {}")
        else "Action: [Answer]\nContent: on the shelf"
    )
    first, second = (predict(config, tmp_path / name, cache=ContentCache(tmp_path / "kept")) for name in ("1", "2"))

    assert len(server.asked("read")) == 2
    assert answers(second) == answers(first)


def test_a_server_that_a_variable_names(server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with ModelServer(says="I am another.") as other:
        said = set()
        for each in (server, other):
            monkeypatch.setenv("OPENAI_BASE_URL", each.base_url)
            model = configured_model(ModelConfig(model="openai:tiny"), ContentCache(tmp_path / "cache.sqlite"))
            said.add(model.invoke("Who are you?").text)

    assert len(said) == 2


def test_a_price_changes_no_question(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    priced = config.reader.model_copy(update={"price": Price(prompt=1, completion=2)})
    for reader in (config.reader, priced):
        made = configured_reader(reader, tmp_path, ContentCache(tmp_path / "cache.sqlite"))
        with Memory(made, store=InMemoryStore()) as memory:
            memory.write(("house",), ["Anna takes the mug."])
            memory.read(("house",), "Who has the mug?")

    assert len(server.asked("read")) == 1


def test_a_file_that_is_no_cache_is_an_error_that_names_it(
    tmp_path: Path, server: ModelServer, config: RunConfig
) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"no database at all, but long enough to be looked at as one" * 100)

    with pytest.raises(ConfigError, match=r"cache\.sqlite cannot be used .* delete it, or run with --no-cache"):
        configured_model(config.controller, ContentCache(tmp_path / "cache.sqlite")).invoke("Where?")
