"""The servers that are measured: one that is running, or tiny ones on this machine, started and ended here."""

import re
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx

from evals.tiny.chat import MODELS
from evals.vllm_cpu.server import Unavailable, VllmServer, install
from linmem_langgraph.errors import ConfigError

Kind = Literal["reuse", "recompute", "small", "linmem-tiny", "linmem-tiny-recompute"]
"""Keeps states; computes every prompt from its first token; keeps states, but has no room for many; the first two with
the model that really reads.
"""

READING: tuple[Kind, ...] = ("linmem-tiny", "linmem-tiny-recompute")

MATCH = ("--prefix-match-unit", "64")
"""A state is kept where the kernels of gated-delta layers end a chunk of 64 tokens: going on from there rounds as
computing it all does. Within a chunk (16) answers are as good, but differ as often as those of a busy server do."""

SAMPLE = "Anna puts the red mug on the shelf. Bob looks for the old map near the window sill. " * 10


class Server:
    """A running server, seen from outside; its address is given with or without /v1."""

    def __init__(self, url: str) -> None:
        self._root = url.rstrip("/").removesuffix("/v1")
        self.base_url = f"{self._root}/v1"

    def facts(self) -> dict[str, Any]:
        """Its model, version and context, as far as it tells.

        Raises:
            ConfigError: nothing answers there, or something that is not vLLM.
        """
        try:
            model = self._get("/v1/models").json()["data"][0]
            version = self._get("/version").json()["version"]
        except (httpx.HTTPError, LookupError, ValueError, TypeError) as exc:
            raise ConfigError(
                f"{self.base_url} is not a vLLM server that answers ({exc!r}): give another --url"
            ) from exc
        return {"url": self.base_url, "model": model["id"], "context": model.get("max_model_len"), "vllm": version}

    def characters_per_token(self) -> float:
        """Of plain English; 1.0 where a token is a byte."""
        body = {"model": self.facts()["model"], "prompt": SAMPLE, "add_special_tokens": False}
        answer = httpx.post(f"{self._root}/tokenize", json=body, timeout=30, trust_env=False).raise_for_status()
        return len(SAMPLE) / int(answer.json()["count"])

    def counters(self) -> tuple[int, int]:
        """Prompt tokens that were looked up in the prefix cache since the server started, and those found there."""
        text = self._get("/metrics").text
        return counter(text, "vllm:prefix_cache_queries_total"), counter(text, "vllm:prefix_cache_hits_total")

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(self._root + path, timeout=30, trust_env=False).raise_for_status()


def counter(metrics: str, name: str) -> int:
    """The sum of a counter over its labels, in Prometheus' text format; 0 if it is not there."""
    values = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", metrics, flags=re.MULTILINE)
    return int(sum(map(float, values)))


@contextmanager
def tiny_servers(
    kinds: Collection[Kind], folder: Path, *, cache_blocks: int, say: Callable[[str], None]
) -> Iterator[dict[Kind, Server]]:
    """These kinds of servers over the tiny hybrid, started side by side, ended in the end.

    Raises:
        ConfigError: vLLM cannot be installed on this machine.
    """
    made = {kind: _tiny(kind, folder / kind, cache_blocks) for kind in kinds}
    with ExitStack() as running:
        try:
            install(say)
        except Unavailable as exc:
            raise ConfigError(f"{exc}: give the --url of a running server") from exc
        for server in made.values():
            running.callback(server.stop)
        with ThreadPoolExecutor(len(made)) as starting:
            list(starting.map(lambda server: server.start(say=say), made.values()))
        yield {kind: Server(server.base_url) for kind, server in made.items()}


def _tiny(kind: Kind, folder: Path, cache_blocks: int) -> VllmServer:
    folder.mkdir(parents=True)
    if kind == "recompute":
        return VllmServer(folder, prefix_caching=False)
    if kind == "reuse":
        return VllmServer(folder, arguments=MATCH)
    if kind in READING:
        reuses = kind == "linmem-tiny"
        weights, arguments = MODELS / "hybrid", MATCH if reuses else ()
        return VllmServer(folder, weights=weights, prefix_caching=reuses, max_model_len=32_768, arguments=arguments)
    # One prompt of the longest kind must fit into the cache.
    few = ("--num-gpu-blocks-override", str(cache_blocks))
    return VllmServer(folder, max_model_len=16_384, arguments=(*MATCH, *few))
