"""Real vLLM servers, each started when a test first asks for it; one takes 2 GB, so few are kept running."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph import Memory
from tests.proxy import Proxy
from tests.vllm.reading import in_front_of, remembering


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that asks for a server waits for its installation and its start."""
    for item in items:
        if "vllm_serving" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(600))


Get = Callable[..., VllmServer]
Serving = Callable[[], AbstractContextManager[Get]]


@pytest.fixture(scope="session")
def vllm_serving(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Serving:
    """Servers that run while a context lasts; the test is skipped where there can be none."""

    @contextmanager
    def serving() -> Iterator[Get]:
        servers: dict[str, VllmServer] = {}
        with ExitStack() as running:

            def get(model: str = "hybrid", **options: object) -> VllmServer:
                key = repr((model, sorted(options.items())))
                if key not in servers:
                    server = VllmServer(tmp_path_factory.mktemp("vllm"), model, **options)  # type: ignore[arg-type]
                    server.start(say=say)
                    running.callback(server.stop)
                    servers[key] = server
                return servers[key]

            yield get

    return serving


@pytest.fixture(scope="module")
def vllm_servers(vllm_serving: Serving) -> Iterator[Get]:
    """The server with these options, which are those of `VllmServer`, for the tests of this module."""
    with vllm_serving() as get:
        yield get


@pytest.fixture(scope="session")
def vllm_server(vllm_serving: Serving) -> Iterator[VllmServer]:
    """A gated-delta hybrid that reuses its states, for all tests."""
    with vllm_serving() as get:
        yield get()


@pytest.fixture(scope="session")
def vllm_server_without_reuse(vllm_serving: Serving) -> Iterator[VllmServer]:
    """The same model, every prompt computed from its first token."""
    with vllm_serving() as get:
        yield get(prefix_caching=False)


@pytest.fixture
def proxy(vllm_server: VllmServer) -> Iterator[Proxy]:
    """In front of the server: it replaces the words of the model, which mean nothing."""
    with in_front_of(vllm_server) as proxy:
        yield proxy


@pytest.fixture
def memory(proxy: Proxy) -> Iterator[Memory]:
    """Read by that model."""
    with remembering(proxy.base_url) as memory:
        yield memory
