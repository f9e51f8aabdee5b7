"""Two servers for all tests: the checkout's own `langgraph.json`, and the same with authentication."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.studio.server import DevServer

HERE = Path(__file__).parent
GUARDED = {"auth": {"path": f"{HERE / 'auth.py'}:auth"}, "store": {"path": f"{HERE / 'store.py'}:store"}}

Start = Callable[..., DevServer]


@pytest.fixture(scope="session")
def langgraph_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Begin a server, with these changes of `langgraph.json` and variables of the environment; ended with the session.

    It is ready when its `wait` returns.
    """
    with ExitStack() as started:

        def start(changes: dict[str, Any] | None = None, **environment: str) -> DevServer:
            folder = tmp_path_factory.mktemp("langgraph-dev")
            return started.enter_context(DevServer(folder, changes, environment))

        yield start


@pytest.fixture(scope="session")
def starting(langgraph_dev: Start) -> tuple[DevServer, DevServer]:
    """Both at once, since starting takes a while."""
    return langgraph_dev(), langgraph_dev(GUARDED)


@pytest.fixture(scope="session")
def server(starting: tuple[DevServer, DevServer]) -> DevServer:
    """As it comes: nobody is authenticated, and a run says whose memory it works with."""
    starting[0].wait()
    return starting[0]


@pytest.fixture(scope="session")
def guarded(starting: tuple[DevServer, DevServer]) -> DevServer:
    """One whose users are authenticated, and whose store is a `MemoryStore`."""
    starting[1].wait()
    return starting[1]
