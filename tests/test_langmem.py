"""langmem's tools over memory: the same arguments, without its faults; and an agent that moves over."""

import gc
import inspect
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from pydantic import BaseModel
from typing_extensions import TypedDict

from linmem_langgraph import ChromaReader, ConfigError, Memory, NamespaceError
from linmem_langgraph import langmem as ours
from linmem_langgraph.embeddings import LexicalEmbeddings
from tests.fakes import CountingEmbeddings
from tests.graphs.scripted import calling, scripted, using

USERS = ("memories", "{langgraph_user_id}")
BOTH = ("create_manage_memory_tool", "create_search_memory_tool")


class Profile(BaseModel):
    """Of a user."""

    name: str
    age: int | None = None


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class User(TypedDict):
    langgraph_user_id: str


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    """The real langmem; what it imports is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module("langmem")


@pytest.fixture
def shared() -> Iterator[InMemoryStore]:
    """A store; whatever was made for it goes with it."""
    yield InMemoryStore()
    gc.collect()


def of(user: Any) -> Any:
    return {"configurable": {"langgraph_user_id": user}}


def texts(store: Any, *namespace: str) -> list[str]:
    with Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=store) as memory:
        return [record.text for record in memory.records(namespace)]


def managed(**arguments: Any) -> AIMessage:
    return using("manage_memory", **arguments)


def run_in_node(tool: Any, message: AIMessage, store: Any, context: Any = None, config: Any = None) -> ToolMessage:
    graph = StateGraph(State, context_schema=User)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    asked: Any = {"messages": [message]}
    answer: ToolMessage = graph.compile(store=store).invoke(asked, config, context=context)["messages"][-1]
    return answer


@pytest.mark.parametrize("name", BOTH)
def test_the_arguments_are_langmem_s(theirs: ModuleType, name: str) -> None:
    wanted, given = (inspect.signature(getattr(module, name)).parameters for module in (theirs, ours))

    assert {*given} == {*wanted, "memory"}
    assert {each: given[each].kind for each in wanted} == {each: parameter.kind for each, parameter in wanted.items()}
    defaults = {each: parameter.default for each, parameter in wanted.items() if each != "instructions"}
    assert {each: given[each].default for each in defaults} == defaults


@pytest.mark.parametrize("name", BOTH)
def test_the_model_is_shown_langmem_s_arguments(theirs: ModuleType, name: str, shared: InMemoryStore) -> None:
    wanted, given = (getattr(module, name)(USERS, store=shared).tool_call_schema for module in (theirs, ours))

    assert {*given.model_json_schema()["properties"]} == {*wanted.model_json_schema()["properties"]}


def test_what_one_tool_writes_the_other_finds_and_another_user_does_not(shared: InMemoryStore) -> None:
    manage, search = (
        ours.create_manage_memory_tool(USERS, store=shared),
        ours.create_search_memory_tool(USERS, store=shared),
    )

    created = manage.invoke({"content": "Anna drinks tea."}, of("anna"))
    key = created.removeprefix("created memory ")

    assert search.invoke({"query": "tea"}, of("anna")) == f"[0] Anna drinks tea.\nids: [0] {key}"
    assert search.invoke({"query": "tea"}, of("bob")) == "Nothing in memory matches."
    assert manage.invoke({"content": "Anna drinks mate.", "action": "update", "id": key}, of("anna")).startswith(
        "updated"
    )
    assert texts(shared, "memories", "anna") == ["Anna drinks mate."]
    assert manage.invoke({"action": "delete", "id": key}, of("bob")) == f"there is no memory with the id {key!r}"
    assert manage.invoke({"action": "delete", "id": key}, of("anna")) == f"deleted memory {key}"
    assert texts(shared, "memories", "anna") == []


@pytest.mark.parametrize(
    ("template", "user", "namespace"),
    [
        (("user-{langgraph_user_id}",), "anna", ("user-anna",)),
        ("{langgraph_user_id}", "anna", ("anna",)),
        (USERS, "anna@example.com", ("memories", "anna@example.com")),
        (USERS, 7, ("memories", "7")),
        (USERS, UUID(int=7), ("memories", str(UUID(int=7)))),
    ],
)
def test_any_template_and_any_id(shared: InMemoryStore, template: Any, user: Any, namespace: tuple[str, ...]) -> None:
    manage = ours.create_manage_memory_tool(template, store=shared)

    manage.invoke({"content": "Mine."}, of(user))

    assert texts(shared, *namespace) == ["Mine."]


def test_the_context_names_the_user_too_and_nobody_is_no_namespace(shared: InMemoryStore) -> None:
    manage = ours.create_manage_memory_tool(USERS)

    said = run_in_node(manage, managed(content="Mine."), shared, context={"langgraph_user_id": "anna"})

    assert said.text.startswith("created memory ")
    assert texts(shared, "memories", "anna") == ["Mine."]
    with pytest.raises(NamespaceError, match="langgraph_user_id"):
        run_in_node(manage, managed(content="Whose?"), shared)
    with pytest.raises(NamespaceError, match="langgraph_user_id"):
        manage.invoke({"content": "Whose?"})


def test_without_a_store_the_error_says_so() -> None:
    with pytest.raises(ConfigError, match="no store of its own"):
        ours.create_search_memory_tool(USERS).invoke({"query": "tea"}, of("anna"))


def test_tools_called_by_hand_in_an_entrypoint_know_store_user_and_context(shared: InMemoryStore) -> None:
    manage, search = ours.create_manage_memory_tool(USERS), ours.create_search_memory_tool(USERS)

    @entrypoint(store=shared, context_schema=User)
    def noted(text: str) -> str:
        manage.invoke({"content": text})
        return str(search.invoke({"query": text}))

    flow: Any = noted
    assert flow.invoke("Anna drinks tea.", of("anna")).startswith("[0] Anna drinks tea.\nids: ")
    assert flow.invoke("Bob drinks rum.", context={"langgraph_user_id": "bob"}).startswith("[0] Bob drinks rum.\nids: ")


async def test_an_async_store_is_served(tmp_path: Path) -> None:
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "store.sqlite")) as store:
        await store.setup()
        manage = ours.create_manage_memory_tool(USERS, store=store)
        search = ours.create_search_memory_tool(USERS, store=store)

        await manage.ainvoke({"content": "Anna drinks tea."}, of("anna"))

        assert (await search.ainvoke({"query": "tea"}, of("anna"))).startswith("[0] Anna drinks tea.")
        assert await search.ainvoke({"query": "tea"}, of("bob")) == "Nothing in memory matches."


def test_the_artifact_is_the_reading_if_it_is_wanted(shared: InMemoryStore) -> None:
    ours.create_manage_memory_tool(USERS, store=shared).invoke({"content": "Anna drinks tea."}, of("anna"))
    plain = ours.create_search_memory_tool(USERS, store=shared)
    full = ours.create_search_memory_tool(USERS, store=shared, response_format="content_and_artifact")

    said = run_in_node(plain, calling("tea"), shared, config=of("anna"))
    also = run_in_node(full, calling("tea"), shared, config=of("anna"))

    assert said.text == also.text
    assert said.artifact is None
    assert [hit["record"]["text"] for hit in also.artifact["records"]] == ["Anna drinks tea."]
    with pytest.raises(ConfigError, match="response_format is 'json'"):
        ours.create_search_memory_tool(USERS, response_format="json")  # type: ignore[arg-type]


def test_content_of_another_schema_is_kept_as_json(shared: InMemoryStore) -> None:
    manage = ours.create_manage_memory_tool(USERS, schema=Profile, store=shared)

    said = run_in_node(manage, managed(content={"name": "Anna", "age": 60}), shared, config=of("anna"))
    run_in_node(
        manage, managed(content={"name": "Ännchen"}, action="update", id=said.artifact["id"]), shared, config=of("anna")
    )

    assert "name" in json.dumps(manage.tool_call_schema.model_json_schema())  # type: ignore[union-attr]
    assert texts(shared, "memories", "anna") == ['{"name": "Ännchen", "age": null}']
    refused = run_in_node(manage, managed(content={"age": 60}), shared, config=of("anna"))
    assert refused.status == "error"
    assert "name" in refused.text


def test_only_permitted_actions_are_offered(shared: InMemoryStore) -> None:
    manage = ours.create_manage_memory_tool(USERS, actions_permitted=("update", "create"), store=shared)

    assert manage.invoke({"content": "Anna drinks tea."}, of("anna")).startswith("created memory ")
    refused = run_in_node(manage, managed(action="delete", id="1"), shared, config=of("anna"))
    assert refused.status == "error"
    with pytest.raises(ConfigError, match="actions is empty"):
        ours.create_manage_memory_tool(USERS, actions_permitted=())


def test_instructions_follow_the_description() -> None:
    for make in (ours.create_manage_memory_tool, ours.create_search_memory_tool):
        assert make(USERS, instructions="Only on Mondays.").description.endswith("\nOnly on Mondays.")
        assert not make(USERS, instructions="").description.endswith("\n")


def test_the_store_s_own_embeddings_read_it_each_record_once(tmp_path: Path) -> None:
    embeddings = CountingEmbeddings()
    store = InMemoryStore(index={"dims": 256, "embed": embeddings})
    manage, search = (
        ours.create_manage_memory_tool(USERS, store=store),
        ours.create_search_memory_tool(USERS, store=store),
    )

    for drink in ("tea", "rum"):
        manage.invoke({"content": f"Anna drinks {drink}."}, of("anna"))
        assert drink in search.invoke({"query": drink}, of("anna"))

    assert embeddings.documents == 2


def test_tools_over_two_stores_keep_to_their_own(shared: InMemoryStore) -> None:
    other = InMemoryStore()
    tools = [
        (ours.create_manage_memory_tool(USERS, store=store), ours.create_search_memory_tool(USERS, store=store))
        for store in (shared, other)
    ]

    for (manage, _), drink in zip(tools, ("tea", "rum"), strict=True):
        manage.invoke({"content": f"Anna drinks {drink}."}, of("anna"))

    found = [search.invoke({"query": "What does Anna drink?"}, of("anna")).splitlines()[0] for _, search in tools]
    assert found == ["[0] Anna drinks tea.", "[0] Anna drinks rum."]
    assert (texts(shared, "memories", "anna"), texts(other, "memories", "anna")) == (
        ["Anna drinks tea."],
        ["Anna drinks rum."],
    )


def test_a_memory_of_one_s_own_is_read_by_its_reader(open_memory: Callable[..., Memory], shared: InMemoryStore) -> None:
    memory = open_memory(limit=1)
    for each in ("Anna drinks tea.", "Anna drinks rum."):
        ours.create_manage_memory_tool(USERS, memory=memory).invoke({"content": each}, of("anna"))

    found = ours.create_search_memory_tool(USERS, memory=memory).invoke({"query": "rum"}, of("anna"))

    assert found.startswith("[1] Anna drinks rum.\nids: [1] ")
    assert len(memory.records(("memories", "anna"))) == 2
    with pytest.raises(ConfigError, match="a store or a memory, not both"):
        ours.create_search_memory_tool(USERS, memory=memory, store=shared)


def test_a_process_that_ends_right_after_a_write_ends_quietly(tmp_path: Path) -> None:
    source = f"""
from langgraph.store.sqlite import SqliteStore
from linmem_langgraph.langmem import create_manage_memory_tool
with SqliteStore.from_conn_string({str(tmp_path / "store.sqlite")!r}) as store:
    store.setup()
    tool = create_manage_memory_tool(("all",), store=store)
    for number in range(3):
        tool.invoke({{"content": f"Number {{number}}."}})
    from linmem_langgraph.langmem import create_search_memory_tool
    print(create_search_memory_tool(("all",), store=store).invoke({{"query": "number 1", "limit": 1}})[:13])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "[1] Number 1.\n", "")


AGENT = """
from langmem import create_manage_memory_tool, create_search_memory_tool

def agent(model, store):
    namespace = ("memories", "{langgraph_user_id}")
    tools = [create_manage_memory_tool(namespace), create_search_memory_tool(namespace)]
    return create_agent(model, tools, store=store)
"""


def made(source: str, model: Any, store: SqliteStore) -> Any:
    names: dict[str, Any] = {"create_agent": create_agent}
    exec(compile(source, "agent.py", "exec"), names)
    return names["agent"](model, store)


def say(agent: Any, user: str, text: str) -> list[AnyMessage]:
    said: list[AnyMessage] = agent.invoke({"messages": [("user", text)]}, of(user))["messages"]
    return said


@pytest.mark.parametrize("in_place", [True, False])
def test_an_agent_moves_over(theirs: ModuleType, tmp_path: Path, in_place: bool) -> None:
    file, folder = tmp_path / "memories.sqlite", tmp_path / "memory"
    after = AGENT.replace("from langmem import", "from linmem_langgraph.langmem import")
    assert sum(one != other for one, other in zip(AGENT.splitlines(), after.splitlines(), strict=True)) == 1
    with SqliteStore.from_conn_string(str(file)) as store:
        store.setup()
        for user, text in (("anna", "Anna lives in Oslo."), ("bob", "Bob lives in Bergen.")):
            say(made(AGENT, scripted(managed(content=text), "Noted."), store), user, text)

    command = ["import-langmem", str(file), *(["--in-place"] if in_place else [str(folder)])]
    subprocess.run([sys.executable, "-m", "linmem_langgraph", *command], check=True, capture_output=True, timeout=60)

    with SqliteStore.from_conn_string(str(file if in_place else folder / "log.sqlite")) as store:
        agent = made(after, scripted(calling("Where does Anna live?"), "Answered.", forever=True), store)
        anna = say(agent, "anna", "Where does Anna live?")
        agent = made(after, scripted(calling("Where does Anna live?"), "Answered.", forever=True), store)
        bob = say(agent, "bob", "Where does Anna live?")
        assert "Anna lives in Oslo." in anna[2].text
        assert "Anna" not in bob[2].text
        assert "Bob lives in Bergen." in bob[2].text
        # And what it knows it can change, under the key it always had.
        key = anna[2].text.rpartition(" ")[2]
        say(
            made(after, scripted(managed(content="Anna moved.", action="update", id=key), "Noted."), store), "anna", "!"
        )
        assert texts(store, "memories", "anna") == ["Anna moved."]
        assert str(UUID(key)) == key
