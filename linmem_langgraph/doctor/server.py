"""A server that may serve models: what it answers, and what it tells about itself."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import httpx
from pydantic import BaseModel, PositiveInt, ValidationError

from linmem_langgraph.errors import ConfigError

Kind = Literal["linear", "hybrid", "softmax", "unknown"]

NO_KEY = "none"  # what is sent for a server that wants no key
LOOK = 10.0  # seconds for what a server knows without computing
CONNECT = 5.0
LARGEST = 2**22  # bytes of an answer that are read


class NoAnswer(Exception):
    """Nothing that speaks HTTP has answered in time."""


class Answer(NamedTuple):
    """What a server said, as far as it was read."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def said(self) -> str:
        """Status, content type and first words, on one line."""
        words = " ".join(self.body[:400].decode(errors="replace").split())[:200]
        where = f" to {self.headers['location']}" if "location" in self.headers else ""
        kind = self.headers.get("content-type", "no content type")
        return f"{self.status} {self.phrase}{where} ({kind}): {words or 'nothing'}"


class Model(BaseModel):
    """A model, as `/v1/models` lists it."""

    id: str
    root: str | None = None
    owned_by: str | None = None
    max_model_len: PositiveInt | None = None


class _Models(BaseModel):
    data: list[Model]


class _Version(BaseModel):
    version: str


@dataclass(frozen=True)
class Metrics:
    """What `/metrics` of a vLLM server tells; of another one nothing."""

    text: str = ""

    @property
    def of_vllm(self) -> bool:
        return "\nvllm:" in self.text

    @property
    def settings(self) -> dict[str, str]:
        """vLLM's cache configuration, as it resolved it."""
        found = re.search(r"^vllm:cache_config_info\{(.*)\} ", self.text, re.MULTILINE)
        return dict(re.findall(r'(\w+)="([^"]*)"', found[1])) if found else {}

    @property
    def kind(self) -> Kind:
        """vLLM gives a block size for recurrent states to every model that has some, and to no other."""
        settings = self.settings
        if "mamba_block_size" not in settings:
            return "unknown"
        if settings.get("is_attention_free") == "True":
            return "linear"
        return "softmax" if settings["mamba_block_size"] == "None" else "hybrid"

    @property
    def found_tokens(self) -> float | None:
        """Prompt tokens found again, of all prompts since the server's start."""
        counts = re.findall(r"^vllm:prefix_cache_hits_total\{.*\} ([\d.e+]+)$", self.text, re.MULTILINE)
        return sum(map(float, counts)) if counts else None


class Server:
    """What may be a model server: every request is bounded in time and in size.

    Args:
        url: its address, with or without `/v1`.
        api_key: sent with every request.
        timeout: seconds a chat completion may take.

    Raises:
        ConfigError: the address or the key is none.
    """

    def __init__(self, url: str, api_key: str, timeout: float) -> None:
        root = _parsed(url)
        if not api_key.isascii() or not api_key.isprintable():
            raise ConfigError("the API key has characters that no key has; give one of printable ASCII")
        self.url = str(root.copy_with(userinfo=b"")).rstrip("/") + "/v1"
        self.port, self.has_key = root.port, api_key != NO_KEY
        self._root, self._timeout = str(root).rstrip("/"), timeout
        headers = {"Authorization": f"Bearer {api_key}"}
        self._client = httpx.Client(headers=headers, trust_env=not _on_loopback(root.host))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Answer:
        """Raises `NoAnswer`."""
        return self._ask("GET", path, min(LOOK, self._timeout))

    def chat(self, body: dict[str, Any]) -> Answer:
        """Raises `NoAnswer`."""
        return self._ask("POST", "/v1/chat/completions", self._timeout, body)

    def version(self) -> str | None:
        try:
            return _Version.model_validate_json(self.get("/version").body).version
        except (NoAnswer, ValidationError):
            return None

    def metrics(self) -> Metrics:
        try:
            answer = self.get("/metrics")
        except NoAnswer:
            return Metrics()
        return Metrics(answer.body.decode(errors="replace") if answer.status == 200 else "")

    def _ask(self, method: str, path: str, limit: float, body: dict[str, Any] | None = None) -> Answer:
        timeout, start = httpx.Timeout(limit, connect=min(CONNECT, limit)), time.perf_counter()
        content = bytearray()
        try:
            with self._client.stream(method, self._root + path, json=body, timeout=timeout) as response:
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > LARGEST:
                        break
                    if time.perf_counter() - start > limit:  # piece by piece an answer may take for ever
                        raise httpx.ReadTimeout("")
        except (httpx.HTTPError, UnicodeError) as exc:  # the latter for a host name that no resolver takes
            raise NoAnswer(_cause(exc, limit)) from exc
        seconds = time.perf_counter() - start
        return Answer(response.status_code, response.reason_phrase, response.headers, bytes(content), seconds)


def models(answer: Answer) -> list[Model] | None:
    """The models listed, or None if that is no list of models."""
    try:
        return _Models.model_validate_json(answer.body).data if answer.status == 200 else None
    except ValidationError:
        return None


def _parsed(url: str) -> httpx.URL:
    try:
        root = httpx.URL(url if "://" in url else f"http://{url}")
    except httpx.InvalidURL as exc:
        raise ConfigError(f"{url!r} is no address of a server ({exc}); give one such as http://127.0.0.1:8000") from exc
    if root.scheme not in ("http", "https") or not root.host:
        raise ConfigError(f"{url!r} is no address of a server; give one such as http://127.0.0.1:8000")
    return root.copy_with(path=root.path.rstrip("/").removesuffix("/v1") or "/", query=None, fragment=None)


def _on_loopback(host: str) -> bool:
    """Whether a proxy would look for the server on the wrong machine."""
    try:
        address = ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _cause(exc: Exception, limit: float) -> str:
    if isinstance(exc, httpx.ConnectTimeout):
        return f"no connection within {min(CONNECT, limit):g} seconds"
    if isinstance(exc, httpx.TimeoutException):
        return f"no answer within {limit:g} seconds"
    if isinstance(exc, httpx.RemoteProtocolError | httpx.DecodingError):
        return f"what answers does not speak HTTP as it should: {exc}"
    return str(exc) or type(exc).__name__
