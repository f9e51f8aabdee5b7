"""Any chat model can be the reader; only a vLLM server is primed and asked what it serves."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from langgraph.store.memory import InMemoryStore
from pydantic import PrivateAttr, SecretStr

from linmem_langgraph import ConfigError, ContextOverflow, LinearReader, Memory, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.records import Usage
from linmem_langgraph.vllm import ChatVLLM
from tests.graphs.scripted import scripted
from tests.model_server import ModelServer, kind
from tests.readers.linear.conftest import Remember
from tests.readers.linear.words import positions

LONG = "Anna waters the plants in the kitchen. " * 40


class WaitingModel(BaseChatModel):
    """Answers when it is let go."""

    _go: threading.Event = PrivateAttr(default_factory=threading.Event)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _now: int = PrivateAttr(default=0)
    _most: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "waiting"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._lock:
            self._now += 1
            self._most = max(self._most, self._now)
        self._go.wait(30)
        with self._lock:
            self._now -= 1
        return ChatResult(generations=[ChatGeneration(message=AIMessage(positions(str(messages[-1].content))))])


@pytest.mark.parametrize(
    "model",
    [
        FakeListChatModel(responses=["Anna [0]"]),
        GenericFakeChatModel(messages=iter(["Anna [0]"])),
        scripted("Anna [0]"),
        scripted(AIMessage([{"type": "text", "text": "Anna [0]"}])),
    ],
    ids=["list", "generic", "scripted", "blocks"],
)
def test_any_chat_model_reads(remember: Remember, namespace: Namespace, model: BaseChatModel) -> None:
    memory = remember(model=model)
    memory.write(namespace, ["Anna sleeps", LONG])
    memory.flush()
    reading = memory.read(namespace, "Who?")
    assert (reading.text, [hit.record.position for hit in reading.records]) == ("Anna [0]", [0])
    assert (reading.model, reading.usage) == (type(model).__name__, Usage())


def test_what_it_says_of_its_use_is_kept(remember: Remember, namespace: Namespace) -> None:
    used = UsageMetadata(input_tokens=7, output_tokens=3, total_tokens=10, input_token_details={"cache_read": 5})
    memory = remember(model=scripted(AIMessage("Anna [0]", usage_metadata=used)))
    memory.write(namespace, "Anna sleeps")
    assert memory.read(namespace, "?").usage == Usage(prompt_tokens=7, cached_tokens=5, completion_tokens=3)


def test_a_configured_context_makes_segments(remember: Remember, namespace: Namespace) -> None:
    model = scripted(NOTHING, forever=True)
    memory = remember(model=model, context_tokens=1_500, max_tokens=40)
    memory.write(namespace, [f"{place:<900}|" for place in range(6)])
    assert memory.read(namespace, "?").text == NOTHING
    assert 2 <= len(model.calls) < 6
    with pytest.raises(ContextOverflow, match="has 1,341 tokens"):
        memory.write(namespace, "x" * 4_000)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (RuntimeError("out of memory"), ReaderUnavailable),
        (ContextOverflowError("too long"), ContextOverflow),
        (ValueError("This model's maximum context length is 9 tokens"), ContextOverflow),
        (ConfigError("not like this"), ConfigError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_names_the_model(
    remember: Remember, namespace: Namespace, raised: Exception, error: type[Exception]
) -> None:
    memory = remember(model=scripted(raised, "Anna [0]"))
    memory.write(namespace, "Anna sleeps")
    with pytest.raises(error, match="ScriptedChatModel" if error is not ConfigError else "not like this") as caught:
        memory.read(namespace, "?")
    assert error is ConfigError or caught.value.__cause__ is raised
    assert memory.read(namespace, "?").text == "Anna [0]"


def test_a_model_that_does_not_answer_in_time(remember: Remember, namespace: Namespace) -> None:
    model = WaitingModel()
    memory = remember(model=model, timeout=0.2)
    memory.write(namespace, "Anna sleeps")
    with pytest.raises(ReaderUnavailable, match=r"WaitingModel does not answer .*TimeoutError"):
        memory.read(namespace, "?")
    model._go.set()
    assert memory.read(namespace, "?").text == "[0]"


def read_at_once(memory: Memory, namespace: Namespace, model: WaitingModel, count: int, waiting: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        reads = [pool.submit(memory.read, namespace, "?") for _ in range(count)]
        try:
            for _ in range(100):
                if model._now >= waiting:
                    break
                threading.Event().wait(0.02)
        finally:
            model._go.set()
        for read in reads:
            read.result(60)


def test_no_more_than_the_bound_are_asked_at_once(remember: Remember, namespace: Namespace) -> None:
    model = WaitingModel()
    memory = remember(model=model, concurrency=3)
    memory.write(namespace, "Anna sleeps")
    read_at_once(memory, namespace, model, 8, 3)
    assert model._most == 3


def test_as_many_as_the_bound_are_asked_at_once(remember: Remember, namespace: Namespace) -> None:
    model = WaitingModel()
    memory = remember(model=model, concurrency=64)
    memory.write(namespace, "Anna sleeps")
    read_at_once(memory, namespace, model, 64, 64)
    assert model._most == 64


def test_another_client_of_a_server_is_asked_as_it_is(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.says = "Anna [0]"
    model = ChatOpenAI(base_url=server.base_url, api_key=SecretStr("k"), model="m", max_retries=0)
    memory = remember(model=model)
    memory.write(namespace, ["Anna sleeps", LONG])
    memory.flush()
    assert memory.read(namespace, "?").text == "Anna [0]"
    assert [kind(request) for request in server.requests] == ["read"]
    assert "cache_salt" not in server.bodies("read")[0]
    server.stop()
    with pytest.raises(ReaderUnavailable, match=rf"{server.base_url} .*Check the model's URL, name and key"):
        memory.read(namespace, "?")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0: give a positive integer"),
        ({"max_tokens": 1.5}, "max_tokens is 1.5: give a positive integer"),
        ({"concurrency": -1}, "concurrency is -1: give a positive integer"),
        ({"timeout": 0}, "timeout is 0: give a positive number"),
        ({"timeout": "1"}, "timeout is '1': give a positive number"),
        ({"context_tokens": 0}, "context_tokens is 0: give the model's context in tokens, or None"),
        ({"context_tokens": 1.5}, "context_tokens is 1.5"),
        ({"model": "vllm:"}, "model is 'vllm:': give a LangChain chat model, such as ChatVLLM"),
        ({"model": None}, "model is None"),
    ],
)
def test_a_bad_argument_is_named(chat: ChatVLLM, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LinearReader(**{"model": chat, **options})


def test_it_is_opened_by_name(server: ModelServer, tmp_path: Any, namespace: Namespace) -> None:
    server.says = "Anna [0]"
    with Memory.open(tmp_path / "memory", "linear", base_url=server.base_url, max_tokens=99) as memory:
        memory.write(namespace, "Anna sleeps")
        assert memory.read(namespace, "?").text == "Anna [0]"
    assert server.bodies("read")[0]["max_tokens"] == 99
    with pytest.raises(ConfigError, match=r"unknown option 'primes' of the linear reader; choose .*prime"):
        Memory.open(tmp_path / "memory", "linear", primes="off")


def test_a_model_is_not_asked_when_it_is_made(namespace: Namespace) -> None:
    with Memory(LinearReader(ChatVLLM(base_url="http://127.0.0.1:1/v1")), store=InMemoryStore()) as memory:
        assert memory.read(namespace, "?").text == NOTHING
