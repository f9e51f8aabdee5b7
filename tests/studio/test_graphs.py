"""The checkout's own `langgraph.json` under `langgraph dev`."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient

from tests.studio.asking import ask, inspect, mcp, said, texts, whose
from tests.studio.server import CONFIG, DevServer


@pytest.fixture
async def client(server: DevServer) -> AsyncIterator[LangGraphClient]:
    async with server.client() as client:
        yield client
    assert "BlockingError" not in server.log


async def test_all_graphs_load(server: DevServer, client: LangGraphClient) -> None:
    assistants = await client.assistants.search()

    assert {assistant["graph_id"] for assistant in assistants} == {"m3_agent", "drop_in", "memory"}
    assert all(assistant["description"] for assistant in assistants)
    assert (server.folder / CONFIG.name).read_bytes() == CONFIG.read_bytes()


@pytest.mark.parametrize("graph", ["m3_agent", "drop_in", "memory"])
async def test_studio_is_told_what_a_graph_takes_and_gives(client: LangGraphClient, graph: str) -> None:
    (assistant,) = await client.assistants.search(graph_id=graph)

    schemas: Any = await client.assistants.get_schemas(assistant["assistant_id"])
    drawn = await client.assistants.get_graph(assistant["assistant_id"])

    assert set(schemas["context_schema"]["properties"]) == {"user_id"}
    given, got = schemas["input_schema"]["properties"], schemas["output_schema"]["properties"]
    if graph == "memory":
        assert given["action"]["enum"] == ["namespaces", "browse", "read", "forget"]
        assert (given["limit"]["default"], given["limit"]["maximum"]) == (20, 1_000)
        assert set(got) == {"result"}
    else:
        assert "messages" in given
        assert "messages" in got
    nodes = {str(node["id"]) for node in drawn["nodes"]}
    assert nodes >= {"m3_agent": {"reason", "memory", "answer"}, "drop_in": {"model", "tools"}}.get(graph, {"forget"})


async def test_what_one_thread_was_told_another_knows(client: LangGraphClient) -> None:
    assert await ask(client, "My bicycle is green.", "carl") == "Not in memory."

    assert await ask(client, "Which colour has my bicycle?", "carl") == "user: My bicycle is green."
    answer: Any = await client.runs.wait(
        None, "m3_agent", input=said("Which colour has my bicycle, then?"), context=whose("carl")
    )
    assert "bicycle" in answer["answer"]
    assert answer["rounds"] == 2
    (search,) = [message for message in answer["messages"] if message["type"] == "tool"]
    assert search["artifact"]["namespace"] == ["users", "carl"]
    assert (await texts(client, "carl"))[0] == "user: My bicycle is green."


async def test_a_run_is_streamed(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    modes: Any = ["updates", "messages-tuple"]

    parts = [
        part
        async for part in client.runs.stream(
            thread, "drop_in", input=said("Tea, please."), context=whose("dora"), stream_mode=modes
        )
    ]

    nodes = [name for part in parts if part.event == "updates" for name in part.data]
    assert nodes == [
        *("MemoryMiddleware.memory.before_agent", "model", "tools", "model", "MemoryMiddleware.memory.after_agent")
    ]
    spoken = [str(part.data[0]["content"]) for part in parts if part.event == "messages"]
    assert "Not in memory." in spoken
    assert await texts(client, "dora") == ["user: Tea, please.", "assistant: Not in memory."]


async def test_users_at_the_same_time_never_see_each_other(client: LangGraphClient) -> None:
    users = ["eva", "finn", "gus", "hal"]
    await asyncio.gather(*(ask(client, f"The secret number of {user} is {user}-7.", user) for user in users))

    answers = await asyncio.gather(*(ask(client, "What is the secret number?", user) for user in users))

    assert answers == [f"user: The secret number of {user} is {user}-7." for user in users]
    for user, found in zip(users, await asyncio.gather(*(texts(client, user) for user in users)), strict=True):
        assert len(found) == 4
        assert all(f"{other}-7" not in text for other in users if other != user for text in found)
    reading = (await inspect(client, action="read", namespace="users/eva", query="secret number"))["reading"]
    assert "eva-7" in reading["text"]
    assert "finn" not in reading["text"]


async def test_the_inspector_pages_and_forgets_one_user_with_a_receipt(client: LangGraphClient) -> None:
    await asyncio.gather(ask(client, "My cat is called Ida.", "ivan"), ask(client, "My cat is called Jil.", "jane"))

    page, everyone = await asyncio.gather(
        inspect(client, action="browse", namespace="users/ivan", limit=1, offset=1),
        inspect(client, action="namespaces", limit=1_000),
    )
    assert [record["text"] for record in page["records"]] == ["assistant: Not in memory."]
    assert (page["total"], page["next_offset"]) == (2, None)
    assert {"namespace": "users/jane", "records": 2} in everyone["namespaces"]

    form: dict[str, Any] = {"action": "forget", "namespace": "users/ivan", "everything": True, "confirm": "users/ivan"}
    receipt = (await inspect(client, **form))["receipt"]

    assert (receipt["namespace"], receipt["from_log"], receipt["from_index"]) == (["users", "ivan"], 2, 2)
    assert len(receipt["forgotten"]) == 2
    left, janes = await asyncio.gather(inspect(client, action="namespaces", limit=1_000), texts(client, "jane"))
    assert [each for each in everyone["namespaces"] if each["namespace"] != "users/ivan"] == left["namespaces"]
    assert janes[0] == "user: My cat is called Jil."


async def test_a_wrong_form_is_an_error_of_its_run_and_the_thread_goes_on(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    forget: dict[str, Any] = {"action": "forget", "namespace": "users/kim", "everything": True}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"action": "browse"}, r"user_id.* pass context="),
        (forget, "confirm is '': write 'users/kim'"),
        ({"action": "delete"}, "action is 'delete'.*'forget'"),
    ]
    for form, message in wrong:
        failed: Any = await client.runs.wait(thread, "memory", input=form, raise_error=False)
        assert re.search(message, failed["__error__"]["message"])

    found: Any = await client.runs.wait(thread, "memory", input={"action": "namespaces"})

    assert "namespaces" in found["result"]


async def test_an_mcp_client_lists_the_graphs_and_runs_them(server: DevServer, client: LangGraphClient) -> None:
    await ask(client, "The key lies under the mat.", "lena")
    async with mcp(server) as tools:
        listed = {tool.name: tool for tool in (await tools.list_tools()).tools}
        found = await tools.call_tool("memory", {"action": "read", "namespace": "users/lena", "query": "the key"})
        nobody = await tools.call_tool("drop_in", {"messages": "Where is the key?"})

    assert set(listed) == {"m3_agent", "drop_in", "memory"}
    assert listed["m3_agent"].input_schema["properties"]["messages"]["type"] == "string"
    assert "The key lies under the mat." in repr(found.content)
    assert nobody.is_error
