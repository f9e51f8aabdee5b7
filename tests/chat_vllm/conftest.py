"""A chat model whose requests stay here, and no settings in the environment."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import OPENAI, URL, Server


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLLM_BASE_URL", "VLLM_API_KEY", *OPENAI):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def make(server: Server) -> AsyncIterator[Callable[..., ChatVLLM]]:
    """A model whose requests the server answers, sync and async."""
    async with httpx.AsyncClient(transport=server.transport) as asynchronous:
        with httpx.Client(transport=server.transport) as synchronous:

            def make(**options: Any) -> ChatVLLM:
                clients = {"http_client": synchronous, "http_async_client": asynchronous}
                return ChatVLLM(**{"base_url": URL, "max_retries": 0, **clients, **options})

            yield make
