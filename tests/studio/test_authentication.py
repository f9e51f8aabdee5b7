"""A server that authenticates its users: who they are decides whose memory it is, and nothing that they send does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.studio.asking import ask, inspect, mcp, said, texts
from tests.studio.server import DevServer

ANNA, BERT = "anna@example.org", "bert@example.org"
ANNAS, BERTS = "oak-41-elm", "yew-52-fir"


@pytest.fixture(scope="module", autouse=True)
def told(guarded: DevServer) -> None:
    """Anna and Bert have told the agent something."""

    async def tell(user: str, number: str) -> None:
        async with guarded.client(user) as client:
            assert await ask(client, f"My locker is number {number}.") == "Not in memory."

    async def both() -> None:
        await asyncio.gather(tell("anna", ANNAS), tell("bert", BERTS))

    asyncio.run(both())


@pytest.fixture
async def anna(guarded: DevServer) -> AsyncIterator[LangGraphClient]:
    async with guarded.client("anna") as client:
        yield client


@pytest.fixture
async def bert(guarded: DevServer) -> AsyncIterator[LangGraphClient]:
    async with guarded.client("bert") as client:
        yield client


async def refusal(client: LangGraphClient, form: dict[str, Any]) -> str:
    """Why the inspector refuses a form."""
    failed: Any = await client.runs.wait(None, "memory", input=form, raise_error=False)
    return str(failed["__error__"]["message"])


async def test_the_user_s_identity_decides(anna: LangGraphClient, bert: LangGraphClient) -> None:
    assert await ask(anna, "Which number has my locker?") == f"user: My locker is number {ANNAS}."
    assert await ask(bert, "Which number has my locker?", graph="m3_agent") == f"user: My locker is number {BERTS}."


@pytest.mark.parametrize("graph", ["drop_in", "m3_agent"])
@pytest.mark.parametrize("way", ["context", "configurable"])
async def test_a_client_cannot_name_another_user(bert: LangGraphClient, graph: str, way: str) -> None:
    claims = {"user_id": ANNA, "langgraph_auth_user_id": ANNA, "langgraph_auth_user": {"identity": ANNA}}
    run: Any = {"context": claims} if way == "context" else {"config": {"configurable": claims}}
    answer: Any = await bert.runs.wait(None, graph, input=said("Which number has my locker?"), raise_error=False, **run)
    assert ANNAS not in repr(answer)
    assert ANNA in repr(answer)
    assert BERT in repr(answer)


async def test_the_user_of_the_run_counts_not_who_began_the_thread(
    anna: LangGraphClient, bert: LangGraphClient
) -> None:
    thread = (await anna.threads.create())["thread_id"]
    await anna.runs.wait(thread, "memory", input={"action": "browse"}, context={"user_id": ANNA})

    found: Any = await bert.runs.wait(thread, "memory", input={"action": "browse"})

    assert found["result"]["namespace"] == f"users/{BERT}"


async def test_users_inspect_their_own_memory_alone(bert: LangGraphClient) -> None:
    assert f"user: My locker is number {BERTS}." in await texts(bert)
    (only,) = (await inspect(bert, action="namespaces"))["namespaces"]
    assert only["namespace"] == f"users/{BERT}"
    forms: list[dict[str, Any]] = [
        {"action": "browse"},
        {"action": "read", "query": "locker"},
        {"action": "forget", "everything": True, "confirm": f"users/{ANNA}"},
    ]
    messages = await asyncio.gather(*(refusal(bert, {**form, "namespace": f"users/{ANNA}"}) for form in forms))
    assert all("authenticated user's" in message for message in messages)


async def test_an_mcp_client_is_its_user(guarded: DevServer) -> None:
    async with mcp(guarded, "anna") as tools:
        answered = await tools.call_tool("drop_in", {"messages": "Which number is on my locker?"})

    assert not answered.is_error
    assert f"user: My locker is number {ANNAS}." in repr(answered.content)
    assert BERTS not in repr(answered.content)


def test_without_a_key_nothing_is_answered(guarded: DevServer) -> None:
    for path in ("runs/wait", "mcp", "store/items"):
        assert httpx.post(f"{guarded.url}/{path}", json={}, trust_env=False).status_code == 401


async def test_who_says_to_be_studio_is_a_user_like_any_other(guarded: DevServer) -> None:
    async with get_client(url=guarded.url, headers={"x-auth-scheme": "langsmith"}) as studio:
        assert (await inspect(studio, action="namespaces"))["namespaces"] == []
        assert "'langgraph-studio-user'" in await refusal(studio, {"namespace": f"users/{ANNA}"})


async def test_a_user_is_forgotten_with_a_receipt_and_no_other_is_touched(
    guarded: DevServer, anna: LangGraphClient
) -> None:
    before = await texts(anna)
    async with guarded.client("cleo") as cleo:
        await ask(cleo, "My locker is number 63.")

        receipt = (await inspect(cleo, action="forget", everything=True, confirm="users/cleo@example.org"))["receipt"]

        assert receipt["namespace"] == ["users", "cleo@example.org"]
        assert (receipt["from_log"], receipt["from_index"], receipt["unknown"]) == (2, 2, [])
        assert (await inspect(cleo, action="namespaces"))["namespaces"] == []
    assert await texts(anna) == before
