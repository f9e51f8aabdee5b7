"""Real vLLM servers, each started when a test first asks for it and shared by all that follow."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph import Memory
from tests.proxy import Proxy
from tests.vllm.reading import in_front_of, remembering


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that asks for a server waits for its installation and its start."""
    for item in items:
        if "vllm_servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def vllm_servers(
    vllm_python: Path, tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]
) -> Iterator[Callable[..., VllmServer]]:
    """The server with these options, which are those of `VllmServer`; the test is skipped where there can be none."""
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


@pytest.fixture(scope="session")
def vllm_server(vllm_servers: Callable[..., VllmServer]) -> VllmServer:
    """A gated-delta hybrid that reuses its states."""
    return vllm_servers()


@pytest.fixture(scope="session")
def vllm_server_without_reuse(vllm_servers: Callable[..., VllmServer]) -> VllmServer:
    """The same model, every prompt computed from its first token."""
    return vllm_servers(prefix_caching=False)


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
