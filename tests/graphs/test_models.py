"""Models by name: the offline one, and any OpenAI-compatible server by `base_url`, here a real one on loopback."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver

from graphs.extractive import ExtractiveChatModel
from graphs.m3_agent import Protocol, create_m3_agent
from graphs.models import EXTRACTIVE, chat_model
from linmem_langgraph import ConfigError
from linmem_langgraph.vllm import ChatVLLM

QUESTION = "Where is the red mug?"


class Server(ThreadingHTTPServer):
    """Says `replies` one after the other, and refuses the dialogues that the strict ones among servers refuse."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.silent = False
        self.closing = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client has gone: it did not want to wait."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.paths.append(self.path)
        self.server.keys.append(self.headers["Authorization"])
        self.server.requests.append(request)
        if self.server.silent:
            self.server.closing.wait(30)
            return
        if problem := _problem(request["messages"]):
            self._send(400, {"error": {"message": problem, "type": "invalid_request_error"}})
        else:
            self._send(200, self.server.replies.pop(0))

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Nothing on stderr."""


def _problem(messages: list[dict[str, Any]]) -> str | None:
    """What OpenAI's API says about calls without a result, and Anthropic's and Mistral's about empty messages."""
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        calls = {call["id"] for call in message.get("tool_calls") or ()}
        answers = {later.get("tool_call_id") for later in messages[place + 1 :] if later["role"] == "tool"}
        if calls - answers:
            return f"tool_call_ids did not have response messages: {', '.join(sorted(calls - answers))}"
        if not calls and not message.get("content"):
            return "an assistant message must have content or tool_calls"
    return None


def reply(content: str | None = None, **calls: str) -> dict[str, Any]:
    """A completion; `calls`: arguments of calls of search_memory, by id."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": "search_memory", "arguments": args}}
            for id, args in calls.items()
        ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "x",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


MUG = '{"query": "red mug on the table"}'


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def model(server: Server) -> BaseChatModel:
    return chat_model("openai:x", base_url=server.url, api_key="key", max_retries=0)


# By name


def test_the_offline_model_has_a_name() -> None:
    assert EXTRACTIVE == "offline:extractive"
    assert isinstance(chat_model(EXTRACTIVE), ExtractiveChatModel)


@pytest.mark.parametrize("name", ["offline:", "offline:extract", "offline:Extractive", "offline:llama:7b"])
def test_an_unknown_offline_model_is_named_with_the_known_one(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chat_model(name)
    assert str(caught.value) == f"unknown offline model {name!r}; choose offline:extractive"


@pytest.mark.parametrize("name", ["nobody:x", "nobody", "x:openai", "openai-x", ":x", " "])
def test_an_unknown_provider_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="provider") as caught:
        chat_model(name)
    assert repr(name) in str(caught.value)
    assert "openai" in str(caught.value)


def test_a_provider_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(ConfigError, match="pip install langchain-fireworks"):
        chat_model("fireworks:x")


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"'openai:x'.*OPENAI_API_KEY"):
        chat_model("openai:x")


def test_a_bad_value_of_an_option_is_named() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        chat_model("openai:x", api_key="key", temperature="hot")


def test_an_unknown_option_of_the_offline_model_is_named() -> None:
    with pytest.raises(ConfigError, match="base_url"):
        chat_model(EXTRACTIVE, base_url="http://127.0.0.1:8000/v1")


@pytest.mark.parametrize(("name", "model"), [("vllm:", ""), ("vllm:Qwen/Qwen3.5-4B", "Qwen/Qwen3.5-4B")])
def test_a_model_of_a_vllm_server(name: str, model: str) -> None:
    made = chat_model(name, base_url="http://127.0.0.1:9/v1", timeout=3)
    assert isinstance(made, ChatVLLM)
    assert (made.model_name, made.openai_api_base) == (model, "http://127.0.0.1:9/v1")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="''"):
        chat_model("")


# By base_url


def test_a_server_is_reached_by_its_url(server: Server) -> None:
    server.replies = [reply("On the table.")]
    model = chat_model("openai:x", base_url=server.url, api_key="key", temperature=0.25, max_retries=0)
    message = model.invoke(QUESTION)
    assert message.text == "On the table."
    assert message.usage_metadata is not None
    assert (message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]) == (7, 3)
    [request] = server.requests
    assert (request["model"], request["temperature"]) == ("x", 0.25)
    assert request["messages"] == [{"role": "user", "content": QUESTION}]
    assert (server.paths, server.keys) == (["/v1/chat/completions"], ["Bearer key"])


async def test_a_server_is_reached_from_async_code(server: Server, model: BaseChatModel) -> None:
    server.replies = [reply("On the table.")]
    assert (await model.ainvoke(QUESTION)).text == "On the table."


def test_a_tool_calling_loop_runs_over_http(server: Server, model: BaseChatModel, search: BaseTool) -> None:
    server.replies = [reply(a=MUG, b='{"query": "blue coat on the rack", "limit": 1}'), reply("On the table.")]
    state = create_m3_agent([search], model).compile().invoke({"messages": [HumanMessage(QUESTION)]})
    assert (state["answer"], state["seen"], state["rounds"]) == ("On the table.", [0, 2], 2)
    first, second = server.requests
    [declared] = first["tools"]
    assert declared["function"]["name"] == "search_memory"
    assert set(declared["function"]["parameters"]["properties"]) == {"query", "limit", "offset", "filter"}
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert second["messages"][3]["content"] == "[0] Lily puts the red mug on the table.\n[0] Lily says: good morning."


def test_an_m3_loop_runs_over_http(server: Server, model: BaseChatModel, search: BaseTool) -> None:
    server.replies = [
        reply("Hm.</think>Action: [Search]\nContent: red mug on the table"),
        reply("Ah.</think>Action: [Answer]\nContent: On the table."),
    ]
    state = create_m3_agent([search], model, protocol="m3").compile().invoke({"messages": [HumanMessage(QUESTION)]})
    assert (state["answer"], state["seen"]) == ("On the table.", [0])
    assert [message["role"] for message in server.requests[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert all("tools" not in request for request in server.requests)


@pytest.mark.parametrize("protocol", ["tool_calls", "m3"])
@pytest.mark.parametrize("content", [None, ""])
def test_an_empty_message_costs_a_round(
    server: Server, model: BaseChatModel, search: BaseTool, protocol: Protocol, content: str | None
) -> None:
    answer = "On the table." if protocol == "tool_calls" else "Action: [Answer]\nContent: On the table."
    server.replies = [reply(content), reply(answer)]
    state = create_m3_agent([search], model, protocol=protocol).compile().invoke({"messages": [HumanMessage(QUESTION)]})
    assert (state["answer"], state["rounds"], state["unparsable"]) == ("On the table.", 2, 1)


@pytest.mark.parametrize("choices", [[], None])
def test_a_completion_without_a_choice_is_an_error(
    server: Server, model: BaseChatModel, search: BaseTool, choices: Any
) -> None:
    server.replies = [{**reply(), "choices": choices}]
    with pytest.raises((IndexError, KeyError, TypeError, ValueError)):
        create_m3_agent([search], model).compile().invoke({"messages": [HumanMessage(QUESTION)]})


@pytest.mark.parametrize("protocol", ["tool_calls", "m3"])
def test_a_server_that_does_not_answer_in_time_fails_the_run(
    server: Server, search: BaseTool, protocol: Protocol
) -> None:
    server.silent = True
    model = chat_model("openai:x", base_url=server.url, api_key="key", timeout=0.2, max_retries=0)
    graph = create_m3_agent([search], model, protocol=protocol).compile()
    with pytest.raises(openai.APITimeoutError):
        graph.invoke({"messages": [HumanMessage(QUESTION)]})
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_fails_the_run(search: BaseTool) -> None:
    model = chat_model("openai:x", base_url="http://127.0.0.1:1/v1", api_key="key", max_retries=0)
    with pytest.raises(openai.APIConnectionError):
        create_m3_agent([search], model).compile().invoke({"messages": [HumanMessage(QUESTION)]})


# What a server would refuse


def test_a_garbled_call_does_not_end_the_dialogue(server: Server, model: BaseChatModel, search: BaseTool) -> None:
    server.replies = [reply(bad='{"query": '), reply(good=MUG), reply("On the table.")]
    state = create_m3_agent([search], model).compile().invoke({"messages": [HumanMessage(QUESTION)]})
    assert (state["answer"], state["unparsable"], state["seen"]) == ("On the table.", 1, [0])


def test_a_garbled_call_beside_a_good_one_does_not_end_the_dialogue(
    server: Server, model: BaseChatModel, search: BaseTool
) -> None:
    server.replies = [reply(bad='{"query": ', good=MUG), reply("On the table.")]
    state = create_m3_agent([search], model).compile().invoke({"messages": [HumanMessage(QUESTION)]})
    assert (state["answer"], state["seen"]) == ("On the table.", [0])


@pytest.mark.parametrize("said", [None, "Let me look again."])
@pytest.mark.parametrize("args", [MUG, '{"query": '])
def test_a_forced_turn_that_still_searches_does_not_end_the_thread(
    server: Server, model: BaseChatModel, search: BaseTool, said: str | None, args: str
) -> None:
    server.replies = [reply(said, a=args), reply("On the table.")]
    graph = create_m3_agent([search], model, max_rounds=1).compile(checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    graph.invoke({"messages": [HumanMessage(QUESTION)]}, thread)
    assert graph.invoke({"messages": [HumanMessage("And now?")]}, thread)["answer"] == "On the table."
