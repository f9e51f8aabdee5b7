"""What answers in the place of a vLLM server, and the answers it gives, whole and streamed."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
from langchain_core.messages import BaseMessage
from langchain_core.tools import tool

URL = "http://server.test/v1"
QUESTION = "Where is the red mug?"
OPENAI = {
    "OPENAI_API_KEY": "sk-of-openai",
    "OPENAI_ADMIN_KEY": "sk-of-the-admin",
    "OPENAI_BASE_URL": "http://base.openai.test/v1",
    "OPENAI_API_BASE": "http://api.openai.test/v1",
    "OPENAI_ORG_ID": "org-of-openai",
    "OPENAI_ORGANIZATION": "organization-of-openai",
    "OPENAI_PROJECT_ID": "project-of-openai",
    "OPENAI_CUSTOM_HEADERS": "X-Custom: custom-of-openai\nAuthorization: Bearer custom-key-of-openai",
    "OPENAI_PROXY": "http://proxy.openai.test:1",
    "LANGSMITH_GATEWAY": "http://gateway.test",
    "LANGSMITH_GATEWAY_API_KEY": "lsv2_gateway",
}


class Server:
    """Answers in the place of a server; keeps the requests, and which thread made each."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.threads: list[int] = []
        self.models: Any = ["tiny"]  # names, or a whole response, or an error
        self.reply: Any = reply("On the table.")  # a body, chunks of a stream, a whole response, or an error
        self.transport = httpx.MockTransport(self._respond)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.threads.append(threading.get_ident())
        asked = request.url.path.endswith("/models")
        answer = self.models if asked else self.reply
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if asked:
            data = [{"id": name, "object": "model", "created": 1, "owned_by": "vllm"} for name in answer]
            return httpx.Response(200, json={"object": "list", "data": data})
        if isinstance(answer, list):
            events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in answer)
            return httpx.Response(200, text=f"{events}data: [DONE]\n\n", headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json=answer)

    @property
    def paths(self) -> list[str]:
        return [request.url.path.removeprefix("/v1") for request in self.requests]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests if request.content]


@tool
def search_memory(query: str) -> str:
    """Search the memory."""
    return query


def reply(content: Any = None, *, usage: Any = None, **message: Any) -> dict[str, Any]:
    """A completion."""
    said = {"role": "assistant", "content": content, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
        "usage": usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def stream(*deltas: str | dict[str, Any], usage: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The chunks of a stream, as vLLM sends them: the role, the deltas, of which the last ends it, the usage."""
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    parts: list[Any] = [{"role": "assistant", "content": ""}, *deltas]
    chunks: list[dict[str, Any]] = [
        {**common, "choices": [{"index": 0, "delta": {"content": part} if isinstance(part, str) else part}]}
        for part in parts
    ]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    usage = usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return [*chunks, {**common, "choices": [], "usage": usage}]


def calls(*arguments: str) -> list[dict[str, Any]]:
    return [
        {"index": n, "id": f"call-{n}", "type": "function", "function": {"name": "search_memory", "arguments": given}}
        for n, given in enumerate(arguments)
    ]


def merged(chunks: Iterator[BaseMessage] | list[Any]) -> Any:
    first, *rest = chunks
    return sum(rest, start=first)


def thought(message: BaseMessage) -> str | None:
    return message.additional_kwargs.get("reasoning_content")
