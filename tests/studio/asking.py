"""What the tests ask of a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langgraph_sdk.client import LangGraphClient
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests.studio.server import DevServer, headers


def said(text: str) -> dict[str, Any]:
    """The input of an agent."""
    return {"messages": [{"role": "user", "content": text}]}


def whose(user: str | None) -> dict[str, Any] | None:
    """The context that names a user."""
    return {"user_id": user} if user else None


async def ask(client: LangGraphClient, text: str, user: str | None = None, *, graph: str = "drop_in") -> str:
    """What the agent answers, on a thread of its own."""
    thread = (await client.threads.create())["thread_id"]
    state: Any = await client.runs.wait(thread, graph, input=said(text), context=whose(user))
    return str(state["messages"][-1]["content"])


async def inspect(client: LangGraphClient, user: str | None = None, **form: Any) -> dict[str, Any]:
    """What the inspector finds."""
    state: Any = await client.runs.wait(None, "memory", input=form, context=whose(user))
    found: dict[str, Any] = state["result"]
    return found


async def texts(client: LangGraphClient, user: str | None = None) -> list[str]:
    """What is remembered of a user."""
    return [record["text"] for record in (await inspect(client, user, action="browse"))["records"]]


@asynccontextmanager
async def mcp(server: DevServer, user: str | None = None) -> AsyncIterator[Client]:
    """A client of the server's MCP endpoint."""
    async with (
        create_mcp_http_client(headers=headers(user)) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http)) as client,
    ):
        yield client
