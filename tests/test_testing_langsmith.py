"""The local LangSmith: it understands what the real client sends, in each of the ways it sends it."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableLambda
from langsmith import Client, run_trees, trace, utils
from langsmith.uuid import uuid7

from linmem_langgraph.testing import LangSmithServer, langsmith_server
from linmem_langgraph.testing import _langsmith_api as api

__all__ = ["langsmith_server"]


def work(text: str) -> str:
    if text == "fail":
        raise ValueError("no such word")
    return RunnableLambda[str, str](str.upper, name="inner").invoke(text)


outer = RunnableLambda(work, name="outer")


@pytest.fixture
def client(langsmith_server: LangSmithServer) -> Client:
    return run_trees.get_cached_client()


# --- runs


@pytest.mark.parametrize("compressed", [True, False])
def test_runs_come_compressed_or_plain(
    langsmith_server: LangSmithServer, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    bodies: list[bytes] = []
    decompressed: Callable[[bytes], bytes] = api._decompressed

    def counted(body: bytes) -> bytes:
        bodies.append(body)
        return decompressed(body)

    monkeypatch.setattr(api, "_decompressed", counted)
    monkeypatch.setenv("LANGSMITH_DISABLE_RUN_COMPRESSION", str(not compressed).lower())
    for _ in range(3):  # the client compresses once it has asked what the server takes
        outer.invoke("naïve", {"metadata": {"day": 3}, "tags": ["x"]})
        langsmith_server.roots()
    assert bool(bodies) is compressed
    assert langsmith_server.text(["day"]) == "outer (chain) day=3\n  inner (chain) day=3\n" * 3
    run = langsmith_server.runs("inner")[0]
    assert (run.inputs, run.outputs, run.error) == ({"input": "naïve"}, {"output": "NAÏVE"}, None)
    assert (run.project, run.fields["tags"]) == ("default", ["x"])
    assert "naïve".encode() in b"".join(langsmith_server.received)


def test_runs_come_in_batches(langsmith_server: LangSmithServer, client: Client) -> None:
    id, started = uuid7(), datetime.now(UTC)
    placed = {"id": id, "trace_id": id, "dotted_order": f"{started:%Y%m%dT%H%M%S%fZ}{id}", "session_name": "mine"}
    begun = {**placed, "name": "one", "run_type": "chain", "inputs": {"a": 1}, "start_time": started}
    client.batch_ingest_runs(create=[begun])
    assert langsmith_server.runs("one")[0].outputs is None
    client.batch_ingest_runs(update=[{**placed, "outputs": {"b": 2}, "end_time": started}])
    (run,) = langsmith_server.runs()
    assert (run.name, run.inputs, run.outputs, run.project) == ("one", {"a": 1}, {"b": 2}, "mine")


def test_runs_come_one_by_one(langsmith_server: LangSmithServer) -> None:
    client = Client(auto_batch_tracing=False)
    with trace("alone", client=client, inputs={"a": 1}) as run:
        run.end(outputs={"b": 2})
    client.close()
    (found,) = langsmith_server.runs()
    assert (found.text(), found.inputs, found.outputs) == ("alone (chain)\n", {"a": 1}, {"b": 2})


def test_an_error_shows_in_the_tree(langsmith_server: LangSmithServer) -> None:
    with pytest.raises(ValueError, match="no such word"):
        outer.invoke("fail")
    (run,) = langsmith_server.runs()
    assert run.text() == "outer (chain) error\n"
    assert "no such word" in str(run.error)


def test_runs_are_found_by_name_at_any_depth(langsmith_server: LangSmithServer) -> None:
    RunnableLambda(outer.invoke, name="outermost").invoke("x")
    (root,) = langsmith_server.roots()
    assert [run.name for run in langsmith_server.runs()] == ["outermost", "outer", "inner"]
    assert [run.name for run in root.within("inner")] == ["inner"]
    assert root.within("outermost") == []
    langsmith_server.clear()
    assert (langsmith_server.runs(), langsmith_server.received, langsmith_server.projects) == ([], [], {})


def test_a_run_whose_parent_never_came_is_no_less_there(langsmith_server: LangSmithServer) -> None:
    started = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    with trace("lost", parent=f"{started}{uuid7()}"):
        pass
    assert [run.name for run in langsmith_server.roots()] == ["lost"]


# --- datasets, experiments and feedback


@pytest.mark.parametrize("in_parts", [True, False])
def test_examples_come_in_parts_or_as_a_list(langsmith_server: LangSmithServer, in_parts: bool) -> None:
    old = {"version": "0.8.0", "instance_flags": {}}
    client = Client(info=None if in_parts else old)
    dataset = client.create_dataset("questions")
    id = uuid4()
    examples: list[Any] = [
        {"id": id, "inputs": {"q": "Who?"}, "reference_outputs": {"a": "Anna"}, "metadata": {"n": 1}}
    ]
    client.create_examples(dataset_id=dataset.id, examples=examples)
    (found,) = client.list_examples(dataset_name="questions")
    assert (found.id, found.inputs, found.outputs) == (id, {"q": "Who?"}, {"a": "Anna"})
    assert (client.has_dataset(dataset_name="questions"), client.has_dataset(dataset_name="x")) == (True, False)
    with pytest.raises(utils.LangSmithConflictError):
        client.create_examples(dataset_id=dataset.id, examples=examples)
    client.close()


def test_more_examples_than_a_page_are_listed(client: Client) -> None:
    dataset = client.create_dataset("many")
    client.create_examples(dataset_id=dataset.id, examples=[{"inputs": {"n": number}} for number in range(250)])
    found = [example.inputs for example in client.list_examples(dataset_id=dataset.id)]
    assert found == [{"n": number} for number in range(250)]
    assert list(client.list_examples(dataset_id=uuid4())) == []


def test_an_experiment_has_runs_and_feedback(langsmith_server: LangSmithServer, client: Client) -> None:
    dataset = client.create_dataset("questions")
    project = client.create_project("experiment", reference_dataset_id=dataset.id, metadata={"reader": "chroma"})
    example = uuid4()
    with trace("answer", project_name="experiment", reference_example_id=example) as run:
        pass
    given = [uuid4(), uuid4()]
    client.create_feedback(run.id, "correct", score=1, feedback_id=given[0], session_id=project.id)
    client.create_feedback(run.id, "f1", score=0.5, feedback_id=given[1], trace_id=run.id, session_id=project.id)
    client.flush()
    client.update_feedback(given[1], score=0.25)
    (found,) = langsmith_server.runs()
    assert (found.project, found.example) == ("experiment", str(example))
    assert {each.key: each.score for each in client.list_feedback(run_ids=[run.id])} == {"correct": 1, "f1": 0.25}
    assert client.read_project(project_name="experiment").id == project.id
    with pytest.raises(utils.LangSmithConflictError):
        client.create_project("experiment")


# --- refusals and the environment


def test_another_key_is_refused(langsmith_server: LangSmithServer) -> None:
    client = Client(api_key="wrong")
    with pytest.raises(utils.LangSmithAuthError):
        client.create_dataset("questions")
    client.close()
    assert langsmith_server.datasets == {}


def test_what_it_does_not_know_is_not_found(client: Client) -> None:
    for path in ("/prompts", "/v1/platform/else", f"/datasets/{uuid4()}"):
        with pytest.raises(utils.LangSmithNotFoundError):
            client.request_with_retries("GET", path)


def test_the_environment_is_as_before_afterwards(tmp_path: Path) -> None:
    """A project of a user's own: the fixture imported in a test, and by name in a conftest."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["linmem_langgraph.testing.langsmith"]\n')
    (tmp_path / "test_theirs.py").write_text(
        "import os\n"
        "from langsmith import traceable, utils\n"
        "\n"
        "@traceable\n"
        "def work(): return 1\n"
        "\n"
        "def test_traced(langsmith_server):\n"
        "    work()\n"
        "    assert langsmith_server.text() == 'work (chain)\\n'\n"
        "    assert 'LANGCHAIN_PROJECT' not in os.environ\n"
        "\n"
        "def test_afterwards():\n"
        "    assert utils.tracing_is_enabled() is False\n"
        "    assert utils.get_tracer_project() == 'theirs'\n"
        "    assert os.environ['LANGSMITH_ENDPOINT'] == 'http://127.0.0.1:9'\n"
    )
    theirs = {"LANGSMITH_TRACING": "false", "LANGCHAIN_PROJECT": "theirs", "LANGSMITH_ENDPOINT": "http://127.0.0.1:9"}
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio", str(tmp_path)]
    environment = {**os.environ, **theirs, "PYTHONPATH": root}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout


def test_the_package_does_not_load_pytest() -> None:
    source = "import sys, linmem_langgraph.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import linmem_langgraph.testing

    with pytest.raises(AttributeError, match="langsmth"):
        linmem_langgraph.testing.langsmth  # noqa: B018
