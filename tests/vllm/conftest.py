"""Real vLLM servers, each started when a test first asks for it and shared by all that follow."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from evals.vllm_cpu.server import Unavailable, VllmServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that asks for a server waits for its installation and its start."""
    for item in items:
        if "vllm_servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def vllm_servers(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[..., VllmServer]]:
    """The server with these options, which are those of `VllmServer`; the test is skipped where there can be none."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(message: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{message}", flush=True)

    servers: dict[str, VllmServer] = {}
    with ExitStack() as running:

        def get(model: str = "hybrid", **options: object) -> VllmServer:
            key = repr((model, sorted(options.items())))
            if key not in servers:
                server = VllmServer(tmp_path_factory.mktemp("vllm"), model, **options)  # type: ignore[arg-type]
                try:
                    server.start(say=say)
                except Unavailable as reason:
                    pytest.skip(str(reason))
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
