"""What can go wrong between a reader and its server."""

import json
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, ContextOverflow, LinearReader, Memory, ReaderUnavailable
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.vllm import ChatVLLM
from tests.http1 import Request
from tests.model_server import CHAT, MODELS, TOKENIZE, ModelServer, kind
from tests.proxy import HTML, NOT_JSON, OTHER_JSON, Fault, Proxy
from tests.readers.linear.conftest import Remember
from tests.readers.linear.words import entries, everything
from tests.servers import free_port

LONG = "Anna waters the plants in the kitchen. " * 40


def asks(path: str) -> Any:
    return lambda request: request.path == path


def is_read(request: Request) -> bool:
    return request.path == CHAT and kind(request) == "read"


@pytest.fixture
def proxy(server: ModelServer) -> Iterator[Proxy]:
    with Proxy(server.base_url) as proxy:
        yield proxy


@pytest.fixture
def store(namespace: Namespace) -> InMemoryStore:
    """With a memory that any reader can read."""
    store = InMemoryStore()
    with Memory(LinearReader(ChatVLLM(base_url="http://127.0.0.1:1/v1"), prime="off"), store=store) as memory:
        memory.write(namespace, ["Anna lives in Oslo", "Bert sleeps"])
    return store


def over(remember: Remember, base_url: str, store: InMemoryStore, *, max_retries: int = 0, **options: Any) -> Memory:
    return remember(model=ChatVLLM(base_url=base_url, max_retries=max_retries), store=store, **options)


@pytest.mark.parametrize("prime", ["auto", "off"])
def test_a_closed_port_is_named_with_the_command_that_starts_a_server(
    remember: Remember, store: InMemoryStore, namespace: Namespace, prime: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    memory = over(remember, url, store, prime=prime)
    with pytest.raises(ReaderUnavailable, match=rf"{url} .*Start it with: vllm serve MODEL .*--enable-prefix-caching"):
        memory.read(namespace, "?")
    named = remember(model=ChatVLLM(base_url=url, model="qwen", max_retries=0), store=store, prime=prime)
    with pytest.raises(ReaderUnavailable, match=rf"{url} .*vllm serve qwen --enable-prefix-caching"):
        named.read(namespace, "?")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500),
        Fault("status", status=503),
        Fault("status", status=429),
        Fault("status", status=401),
        Fault("status", status=404),
        Fault("garbage", body=HTML),
        Fault("garbage", body=NOT_JSON),
        Fault("garbage", body=OTHER_JSON),
        Fault("garbage", body=b""),
        Fault("garbage", body=b"[]"),
        Fault("garbage", body=b"null"),
        Fault("garbage", body=b'{"choices": []}'),
        Fault("garbage", body=b'{"choices": [{"index": 0, "message": null}]}'),
        Fault("drop"),
        Fault("drop_answer"),
        Fault("cut", after=20),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status or fault.body or ''}",
)
@pytest.mark.parametrize("path", [CHAT, MODELS])
def test_whatever_is_wrong_is_an_error_that_names_the_server(
    server: ModelServer,
    remember: Remember,
    proxy: Proxy,
    store: InMemoryStore,
    namespace: Namespace,
    fault: Fault,
    path: str,
) -> None:
    says_no_model = fault.body == OTHER_JSON and path == MODELS
    memory = over(remember, proxy.base_url, store)
    again = Fault(fault.kind, status=fault.status, body=fault.body, after=fault.after, when=asks(path))
    proxy.faults.append(again)
    with pytest.raises(ConfigError if says_no_model else ReaderUnavailable, match=proxy.base_url):
        memory.read(namespace, "?")
    assert again.hits == 1
    proxy.faults.clear()
    assert memory.read(namespace, "?").text == server.says


@pytest.mark.parametrize("context", ["large", [8_000]])
def test_a_context_that_is_no_number_is_an_error_that_names_the_server(
    server: ModelServer, remember: Remember, store: InMemoryStore, namespace: Namespace, context: Any
) -> None:
    server.context = context
    server.refuses_long_prompts = False
    with pytest.raises(ReaderUnavailable, match=server.base_url):
        remember(store=store).read(namespace, "?")


@pytest.mark.parametrize(
    "fault", [Fault("status", status=500), Fault("garbage", body=OTHER_JSON), Fault("garbage", body=b'{"count": null}')]
)
def test_a_tokenizer_that_fails_is_an_error_that_names_the_server(
    remember: Remember, proxy: Proxy, store: InMemoryStore, namespace: Namespace, fault: Fault
) -> None:
    proxy.faults.append(Fault(fault.kind, status=fault.status, body=fault.body, when=asks(TOKENIZE)))
    with pytest.raises(ReaderUnavailable, match=proxy.base_url):
        over(remember, proxy.base_url, store).read(namespace, "?")


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("path", [CHAT, MODELS, TOKENIZE])
def test_a_request_is_repeated_as_often_as_the_model_says(
    server: ModelServer,
    remember: Remember,
    proxy: Proxy,
    store: InMemoryStore,
    namespace: Namespace,
    status: int,
    path: str,
) -> None:
    fault = Fault("status", status=status, retry_after=0.01, times=2, when=asks(path))
    proxy.faults.append(fault)
    assert over(remember, proxy.base_url, store, max_retries=2).read(namespace, "?").text == server.says
    assert fault.hits == 2
    fault.hits = 0
    with pytest.raises(ReaderUnavailable):
        over(remember, proxy.base_url, store, max_retries=1).read(namespace, "?")
    assert fault.hits == 2


def test_a_dropped_connection_is_opened_again(
    server: ModelServer, remember: Remember, proxy: Proxy, store: InMemoryStore, namespace: Namespace
) -> None:
    proxy.faults.append(Fault("drop", times=1, when=is_read))
    assert over(remember, proxy.base_url, store, max_retries=1).read(namespace, "?").text == server.says


def test_a_server_that_does_not_answer_in_time(
    server: ModelServer, remember: Remember, store: InMemoryStore, namespace: Namespace
) -> None:
    memory = remember(store=store, timeout=0.3)
    server.holds = is_read
    with pytest.raises(ReaderUnavailable, match=rf"{server.base_url} .*[Tt]ime"):
        memory.read(namespace, "?")
    server.wait_until(lambda: server.asked("read")[0].cancelled)
    server.release()
    assert memory.read(namespace, "?").text == server.says


def test_a_server_that_is_started_anew_is_found_again(
    server: ModelServer, remember: Remember, store: InMemoryStore, namespace: Namespace
) -> None:
    memory = remember(store=store)
    for _ in range(2):
        assert memory.read(namespace, "?").text == server.says
        server.stop()
        with pytest.raises(ReaderUnavailable):
            memory.read(namespace, "?")
        memory.write(namespace, LONG)
        with pytest.raises(ReaderUnavailable):
            memory.flush()
        server.start()
    assert memory.read(namespace, "?").text == server.says
    assert len(memory.records(namespace)) == 4


def test_a_server_that_is_started_anew_with_a_shorter_context(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    server.says = everything
    memory = remember(max_tokens=40)
    memory.write(namespace, [f"{place:<300}|" for place in range(6)])
    memory.flush()
    assert len(memory.read(namespace, "?").records) == 6
    server.stop()
    server.context = 2_400
    server.start()
    server.clear()
    server.says = lambda message: f"[{entries(message)[0][0]}]" if entries(message) else everything(message)
    assert [hit.record.position for hit in memory.read(namespace, "?").records] == [0, 2, 4]
    assert len(server.asked("models")) == 1
    server.context = 1_400
    with pytest.raises(ConfigError, match=r"context of 1,400 tokens is too small"):
        memory.read(namespace, "?")


def test_reads_that_were_under_way_find_out_that_the_context_is_shorter(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    memory = remember(max_tokens=40, prime="off")
    memory.write(namespace, [f"{place:<300}|" for place in range(6)])
    memory.read(namespace, "?")
    server.clear()
    server.holds = lambda request: kind(request) == "read"
    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(memory.read, namespace, "?") for _ in range(2)]
        server.wait_until(lambda: len(server.under_way("read")) == 2)
        server.context = 2_400  # as after a restart, of which these two have heard nothing
        first = server.asked("read")[0].content
        second = server.asked("read")[1]
        assert second.content == first
        server.holds = lambda request: request is second
        done, _ = wait(reads, 60, return_when=FIRST_COMPLETED)
        server.release()
        assert {read.result(60).text for read in reads} == {server.says}
        assert len(done) == 1


def test_a_prime_finds_out_that_the_context_is_shorter(
    server: ModelServer, remember: Remember, namespace: Namespace
) -> None:
    memory = remember(max_tokens=40)
    memory.write(namespace, [f"{place:<300}|" for place in range(6)])
    memory.flush()
    server.stop()
    server.context = 2_400
    server.start()
    memory.write(namespace, [f"{place:<300}|" for place in range(6, 8)])
    memory.flush()


def test_a_prompt_the_server_finds_too_long_is_no_reason_to_start_it(
    remember: Remember, proxy: Proxy, store: InMemoryStore, namespace: Namespace
) -> None:
    said = {"error": {"message": "This model's maximum context length is 9 tokens. However, ...", "code": 400}}
    fault = Fault("status", status=400, body=json.dumps(said).encode(), when=is_read)
    memory = over(remember, proxy.base_url, store)
    memory.read(namespace, "?")
    proxy.faults.append(fault)
    with pytest.raises(
        ContextOverflow, match=rf"{proxy.base_url}.*maximum context length is 9 tokens.*--max-model-len"
    ):
        memory.read(namespace, "?")
    assert fault.hits == 1  # the context is what it was: no second try


def test_a_closed_reader_says_so(server: ModelServer, remember: Remember, store: InMemoryStore) -> None:
    reader = LinearReader(ChatVLLM(base_url=server.base_url))
    memory = Memory(reader, store=store)
    log = memory._log(("a",))
    memory.write(("a",), "x")
    memory.close()
    memory.close()
    reader.close()
    with pytest.raises(ConfigError, match="closed"):
        memory.read(("a",), "?")
    again = Memory(reader, store=store)
    with pytest.raises(ConfigError, match="this LinearReader is closed: make another"):
        again.read(("a",), "?")
    with pytest.raises(ConfigError, match="this LinearReader is closed: make another"):
        reader.rebuild(log)
