"""The doctor without vLLM: what may listen on a port, and a stand-in that keeps whole prompts as a state cache does."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest
import typer
from typer.testing import CliRunner

from linmem_langgraph import ConfigError
from linmem_langgraph.cli.doctor import doctor
from linmem_langgraph.doctor import Diagnosis, diagnose
from linmem_langgraph.doctor.probe import CachedTokens, Measured, Seconds
from linmem_langgraph.doctor.server import Metrics, Model
from linmem_langgraph.doctor.verdict import probed, reused
from linmem_langgraph.vllm import STATE_FLAGS

CHAT = "/v1/chat/completions"
HYBRID = {"is_attention_free": "False", "mamba_block_size": "640", "block_size": "640", "prefix_match_unit": "16"}
LINEAR = {"is_attention_free": "True", "mamba_block_size": "16"}
SOFTMAX = {"is_attention_free": "False", "mamba_block_size": "None", "enable_prefix_caching": "True"}

Answer = tuple[int, str, bytes]  # status, content type, body


def as_json(value: object, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(value).encode()


def served(*names: str, **fields: object) -> Answer:
    return as_json({"object": "list", "data": [{"id": name, "object": "model", **fields} for name in names]})


class StandIn:
    """Speaks OpenAI's protocol; a token is a character. A prompt that begins with an earlier one finds it again.

    `tells` that in its answers; `counts` it in its metrics, where `settings` are vLLM's labels. `answers` are given
    instead, by path.
    """

    def __init__(
        self,
        *,
        keeps: bool = True,
        tells: bool = True,
        counts: bool = False,
        settings: dict[str, str] | None = None,
        key: str | None = None,
        context: int | None = None,
        answers: dict[str, Answer] | None = None,
    ) -> None:
        self.keeps, self.tells, self.counts, self.settings = keeps, tells, counts, settings
        self.key, self.context = key, context
        self.answers = {"/v1/models": served("tiny", owned_by="someone"), **(answers or {})}
        self.bodies: list[dict[str, Any]] = []
        self.found = 0
        self._kept: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in._reply(self, None)

            def do_POST(self) -> None:
                stand_in._reply(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _reply(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        status, kind, content = self._answer(handler.path, handler.headers["authorization"], body)
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(content)))
        if status == 301:
            handler.send_header("location", "https://elsewhere.test/v1/models")
        handler.end_headers()
        with suppress(ConnectionError):
            handler.wfile.write(content)

    def _answer(self, path: str, authorization: str, body: Any) -> Answer:
        if self.key is not None and path.startswith("/v1") and authorization != f"Bearer {self.key}":
            return as_json({"error": "Unauthorized"}, 401)
        if path in self.answers:
            return self.answers[path]
        if path == "/metrics" and self.settings is not None:
            return 200, "text/plain", self._metrics().encode()
        return self._complete(body) if path == CHAT else as_json({"detail": "Not Found"}, 404)

    def _metrics(self) -> str:
        labels = ",".join(f'{name}="{value}"' for name, value in (self.settings or {}).items())
        hits = f'vllm:prefix_cache_hits_total{{engine="0",model_name="a}} b"}} {self.found}.0\n' * self.counts
        return f"# HELP of Python\npython_info 1.0\nvllm:cache_config_info{{{labels}}} 1.0\n{hits}"

    def _complete(self, body: dict[str, Any]) -> Answer:
        self.bodies.append(body)
        prompt = "\0".join(f"{message['role']}: {message['content']}" for message in body["messages"])
        if not body.get("continue_final_message"):
            prompt += "\0"
        if body.get("add_generation_prompt", True):
            prompt += "assistant: "
        if self.context and len(prompt) + body["max_tokens"] > self.context:
            return as_json({"error": {"message": f"the maximum context length is {self.context} tokens"}}, 400)
        salt = body["cache_salt"]
        found = max((len(kept) for of, kept in self._kept if of == salt and prompt.startswith(kept)), default=0)
        self.found += found
        if self.keeps:
            self._kept.add((salt, prompt))
        usage: dict[str, Any] = {"prompt_tokens": len(prompt), "completion_tokens": 1}
        if self.tells:
            usage["prompt_tokens_details"] = {"cached_tokens": found}
        return as_json({"choices": [{"message": {"role": "assistant", "content": "a"}}], "usage": usage})


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)


@pytest.fixture
def listen() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Something that does so with every connection it accepts, until the test ends."""
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(serve: Callable[[socket.socket], None]) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    sockets.append(connection)
                    with suppress(OSError):
                        serve(connection)

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
    for thread in threads:
        thread.join()


def probe(server: StandIn, **options: Any) -> Diagnosis:
    return diagnose(server.url, **{"tokens": 2_000, "repeats": 2, **options})


# Nothing there, or nothing that serves models


def test_a_closed_port_is_unreachable_and_the_command_names_it() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        diagnosis = diagnose(f"http://127.0.0.1:{port}")
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.server) == ("unreachable", False, None)
    assert diagnosis.url == f"http://127.0.0.1:{port}/v1"
    assert f"{diagnosis.url} cannot be reached: [Errno" in diagnosis.found
    assert diagnosis.command == " ".join(["vllm serve MODEL --port", str(port), *STATE_FLAGS])
    assert "linmem serve --list" in diagnosis.fix


def test_a_host_without_an_address_is_unreachable() -> None:
    assert diagnose(f"http://{'a' * 64}.test").verdict == "unreachable"


def test_a_server_that_accepts_and_says_nothing_is_unreachable(
    listen: Callable[[Callable[[socket.socket], None]], str],
) -> None:
    diagnosis = diagnose(listen(lambda connection: None), timeout=0.2)
    assert diagnosis.verdict == "unreachable"
    assert "no answer within 0.2 seconds" in diagnosis.found


def test_an_answer_that_comes_drop_by_drop_is_given_up(
    listen: Callable[[Callable[[socket.socket], None]], str],
) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            threading.Event().wait(0.02)

    diagnosis = diagnose(listen(drip), timeout=1.0)
    assert diagnosis.verdict == "unreachable"
    assert "no answer within 1 seconds" in diagnosis.found


def test_an_answer_without_end_is_read_only_so_far(
    listen: Callable[[Callable[[socket.socket], None]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<p>")
        while True:
            connection.sendall(b"more and more " * 1_000)

    monkeypatch.setattr("linmem_langgraph.doctor.server.LARGEST", 100_000)
    diagnosis = diagnose(listen(pour))
    assert diagnosis.verdict == "not-vllm"
    assert "200 OK (text/html): <p>more and more" in diagnosis.found
    assert len(diagnosis.found) < 300


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
def test_what_does_not_speak_http_is_unreachable(
    listen: Callable[[Callable[[socket.socket], None]], str], greeting: bytes
) -> None:
    def greet(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(greeting)
        connection.close()

    diagnosis = diagnose(listen(greet))
    assert diagnosis.verdict == "unreachable"
    assert "does not speak HTTP as it should" in diagnosis.found


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (200, "text/html", b"<!doctype html>\n <h1>It works!</h1>"),
            "200 OK (text/html): <!doctype html> <h1>It works!",
        ),
        (
            (404, "application/json", b'{"detail":"Not Found"}'),
            '404 Not Found (application/json): {"detail":"Not Found"}',
        ),
        ((301, "text/plain", b""), "301 Moved Permanently to https://elsewhere.test/v1/models (text/plain): nothing"),
        ((502, "text/html", b"Bad Gateway"), "502 Bad Gateway (text/html): Bad Gateway"),
    ],
)
def test_something_else_is_named_by_what_it_said(answer: Answer, said: str) -> None:
    with StandIn(answers={"/v1/models": answer}) as server:
        diagnosis = probe(server)
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.server) == ("not-vllm", False, None)
    assert said in diagnosis.found
    assert "URL of a vLLM server" in diagnosis.fix
    assert diagnosis.command is not None
    assert diagnosis.command.startswith("vllm serve MODEL --enable-prefix-caching")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"data": 3}',
        b'{"data": [{"id": null}]}',
        b'{"models": []}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_json_that_lists_no_models_is_something_else(body: bytes) -> None:
    with StandIn(answers={"/v1/models": (200, "application/json", body)}) as server:
        assert probe(server).verdict == "not-vllm"


def test_a_vllm_server_that_cannot_list_its_models_is_failing() -> None:
    with StandIn(settings=HYBRID, answers={"/v1/models": (503, "text/plain", b"overloaded")}) as server:
        diagnosis = probe(server)
    assert (diagnosis.verdict, diagnosis.server) == ("failing", "vLLM")
    assert "503 Service Unavailable (text/plain): overloaded" in diagnosis.found


# Keys and models


@pytest.mark.parametrize(("key", "word"), [(None, "wants an API key"), ("wrong", "refuses the API key")])
def test_a_wrong_or_missing_key_is_said(key: str | None, word: str) -> None:
    with StandIn(key="right", settings=HYBRID) as server:
        diagnosis = probe(server, api_key=key)
    assert (diagnosis.verdict, diagnosis.server) == ("unauthorized", "vLLM")
    assert f"{word} it was given: 401" in diagnosis.found or f"{word}: 401" in diagnosis.found
    assert "--api-key" in diagnosis.fix
    assert diagnosis.command == f"linmem doctor {server.url}/v1 --api-key KEY"


def test_the_key_is_the_given_one_or_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "right")
    with StandIn(key="right") as server:
        assert probe(server).verdict == "reuse"
        assert probe(server, api_key="wrong").verdict == "unauthorized"


def test_one_of_several_models_must_be_named() -> None:
    with StandIn(answers={"/v1/models": served("small", "large")}) as server:
        unnamed, unknown, named = probe(server), probe(server, model="huge"), probe(server, model="large")
    assert [each.verdict for each in (unnamed, unknown, named)] == ["no-model", "no-model", "reuse"]
    assert unnamed.found == "The server serves small, large."
    assert unnamed.command == f"linmem doctor {server.url}/v1 --model small"
    assert "and no huge" in unknown.found
    assert named.model == "large"
    assert {body["model"] for body in server.bodies} == {"large"}


def test_a_server_without_a_model_is_said() -> None:
    with StandIn(answers={"/v1/models": served()}) as server:
        diagnosis = probe(server)
    assert (diagnosis.verdict, diagnosis.found) == ("no-model", "The server serves no model.")


# What it measures


def test_a_server_that_keeps_what_it_read_is_fit() -> None:
    with StandIn() as server:
        diagnosis = probe(server)
    cached = diagnosis.cached_tokens
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.fix, diagnosis.command) == ("reuse", True, "", None)
    assert (diagnosis.server, diagnosis.kind, diagnosis.repeats) == ("OpenAI-compatible, not vLLM", "unknown", 2)
    assert cached == CachedTokens(cold=0, first=diagnosis.prompt_tokens or 0, second=diagnosis.prompt_tokens or 0)
    assert 1_800 < cached.first <= 2_000
    assert "(100.0%)" in diagnosis.found
    assert "cannot be told from outside" in diagnosis.found


def test_it_asks_as_a_linear_reader_does() -> None:
    with StandIn() as server:
        probe(server, repeats=1)
    cold, prime, first, second = server.bodies[-4:]
    system, memory = prime["messages"]
    assert [system["role"], memory["role"]] == ["system", "user"]
    assert prime == {
        "model": "tiny",
        "messages": [system, memory],
        "max_tokens": 1,
        "temperature": 0,
        "cache_salt": prime["cache_salt"],
        "add_generation_prompt": False,
        "continue_final_message": True,
    }
    for read in (first, second):
        assert read["messages"][0] == system
        assert read["messages"][1]["content"].startswith(memory["content"] + "\n\nQuestion: ")
        assert read["cache_salt"] == prime["cache_salt"]
        assert read.keys() == prime.keys() - {"add_generation_prompt", "continue_final_message"}
    assert first["messages"] != second["messages"]
    assert cold["cache_salt"] != prime["cache_salt"]
    assert cold["messages"][1]["content"][:64] != memory["content"][:64]


def test_a_server_that_keeps_nothing_is_not_fit() -> None:
    with StandIn(keeps=False) as server:
        diagnosis = probe(server)
    assert (diagnosis.verdict, diagnosis.ok) == ("no-reuse", False)
    assert diagnosis.cached_tokens == CachedTokens(cold=0, first=0, second=0)
    assert diagnosis.command == " ".join(["vllm serve tiny", *STATE_FLAGS])


@pytest.mark.parametrize(("keeps", "verdict"), [(True, "unreported"), (False, "no-reuse")])
def test_what_answers_do_not_tell_is_counted(keeps: bool, verdict: str) -> None:
    with StandIn(keeps=keeps, tells=False, counts=True, settings=HYBRID) as server:
        diagnosis = probe(server)
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.server) == (verdict, False, "vLLM")
    assert (diagnosis.kind, diagnosis.cached_tokens) == ("hybrid", None)
    assert "--enable-prompt-tokens-details" in (diagnosis.command or "")
    if keeps:
        total = f"{diagnosis.prompt_tokens:,}"
        assert f"about {total} of {total}" in diagnosis.found


@pytest.mark.parametrize(
    ("keeps", "command"), [(True, "linmem serve --list"), (False, "vllm serve tiny --enable-prefix")]
)
def test_a_softmax_model_is_a_baseline_whether_it_reuses_or_not(keeps: bool, command: str) -> None:
    with StandIn(keeps=keeps, settings=SOFTMAX) as server:
        diagnosis = probe(server)
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.kind) == ("softmax", keeps, "softmax")
    assert "baseline" in diagnosis.found
    assert "linear or hybrid model" in diagnosis.fix
    assert (diagnosis.command or "").startswith(command)
    assert "mamba" not in (diagnosis.command or "")


def test_the_probe_fits_into_the_context() -> None:
    listed = served("tiny", owned_by="vllm", max_model_len=1_500)
    with StandIn(context=1_500, answers={"/v1/models": listed}) as server:
        diagnosis = probe(server, tokens=4_000)
    assert (diagnosis.verdict, diagnosis.server, diagnosis.context_tokens) == ("reuse", "vLLM", 1_500)
    assert 1_000 < (diagnosis.prompt_tokens or 0) < 1_500


def test_a_context_that_is_not_told_and_too_short_is_said() -> None:
    with StandIn(context=1_500) as server:
        diagnosis = probe(server, tokens=4_000)
    assert (diagnosis.verdict, diagnosis.context_tokens) == ("failing", None)
    assert "maximum context length is 1500" in diagnosis.found
    assert "--tokens 1000" in (diagnosis.command or "")


def test_no_round_begins_after_enough_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linmem_langgraph.doctor.probe.ENOUGH", 0.0)
    with StandIn() as server:
        assert probe(server, repeats=5).repeats == 1


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        (as_json({"error": "EngineDeadError", "choices": []}, 500), "log tells why"),
        (as_json({"error": {"message": "Unrecognized request argument: cache_salt"}}, 400), "cache_salt"),
        (as_json({"detail": "Not Found"}, 404), "serve a chat model"),
        ((200, "text/html", b"<p>Sign in"), "serve a chat model"),
        (as_json({"usage": {}}), "serve a chat model"),
        (as_json({"choices": [], "usage": {"prompt_tokens": -1}}), "serve a chat model"),
    ],
)
def test_an_error_instead_of_a_completion_is_repeated(answer: Answer, fix: str) -> None:
    with StandIn(answers={CHAT: answer}) as server:
        diagnosis = probe(server)
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.model) == ("failing", False, "tiny")
    assert f"{answer[0]} " in diagnosis.found
    assert fix in diagnosis.fix


def test_answers_without_usage_leave_the_times() -> None:
    with StandIn(answers={CHAT: as_json({"choices": []})}) as server:
        diagnosis = probe(server)
    assert diagnosis.verdict in ("unreported", "no-reuse")  # which of them is left to the clock
    assert diagnosis.cached_tokens is None
    assert (diagnosis.prompt_tokens or 0) > 0


def test_a_server_that_stops_answering_is_failing(listen: Callable[[Callable[[socket.socket], None]], str]) -> None:
    models = served("tiny")[2]

    def answer_the_first(connection: socket.socket) -> None:
        if b"GET /v1/models" in connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(models))
            connection.sendall(models)

    diagnosis = diagnose(listen(answer_the_first), timeout=0.3)
    assert (diagnosis.verdict, diagnosis.model) == ("failing", "tiny")
    assert "no answer within 0.3 seconds" in diagnosis.found
    assert "--timeout 300" in (diagnosis.command or "")


# What is made of it


def measured(cached: tuple[int, int, int] | None = None, counted: float | None = None, ratio: float = 1.0) -> Measured:
    told = cached and CachedTokens(cold=cached[0], first=cached[1], second=cached[2])
    return Measured(1_000, 5, Seconds(cold=0.1 * ratio, primed=0.1), told or None, counted)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (measured((0, 1_000, 1_000)), True),
        (measured((0, 500, 500)), True),
        (measured((0, 499, 1_000), ratio=9.0), False),
        (measured((900, 900, 900)), False),  # a number that is always the same tells nothing
        (measured((0, 0, 0), counted=1_000, ratio=9.0), False),
        (measured(counted=1_000), True),
        (measured(counted=0, ratio=9.0), False),
        (measured(ratio=9.0), True),
        (measured(ratio=2.0), True),
        (measured(ratio=1.6), None),
        (measured(ratio=1.1), False),
        (measured(ratio=0.5), False),
    ],
)
def test_tokens_decide_before_counts_before_times(of: Measured, expected: bool | None) -> None:
    assert reused(of) is expected


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({**HYBRID, "enable_prefix_caching": "False"}, "Prefix caching is off"),
        ({**HYBRID, "prefix_match_unit": "None"}, "ends of blocks of 640 tokens"),
        ({**HYBRID, "prefix_match_unit": "320"}, "ends of blocks of 320 tokens"),
        (HYBRID, "issues on hybrids"),
        ({}, "prefix caching on"),
    ],
)
def test_the_fix_goes_by_the_settings(settings: dict[str, str], fix: str) -> None:
    metrics = Metrics(StandIn(settings=settings)._metrics())
    finding = probed(Model(id="tiny", root="a/b c"), "hybrid", metrics, measured((0, 0, 0)))
    assert fix in finding.fix
    assert finding.command == " ".join(["vllm serve 'a/b c'", *STATE_FLAGS])


def test_a_read_that_only_follows_a_read_is_said() -> None:
    finding = probed(Model(id="tiny"), "hybrid", Metrics(), measured((0, 100, 990)))
    assert finding.verdict == "no-reuse"
    assert "The next one finds 990" in finding.found


def test_a_coarse_reuse_is_one_with_advice() -> None:
    coarse = probed(Model(id="tiny"), "hybrid", Metrics(), measured((0, 640, 640)))
    assert (coarse.verdict, coarse.ok) == ("reuse", True)
    assert "360 tokens" in coarse.fix
    assert "--prefix-match-unit 16" in coarse.fix
    assert probed(Model(id="tiny"), "hybrid", Metrics(), measured((0, 984, 984))).fix == ""


@pytest.mark.parametrize(
    ("settings", "kind"),
    [(HYBRID, "hybrid"), (LINEAR, "linear"), (SOFTMAX, "softmax"), ({"block_size": "16"}, "unknown"), ({}, "unknown")],
)
def test_the_kind_is_read_from_the_metrics(settings: dict[str, str], kind: str) -> None:
    assert Metrics(StandIn(settings=settings)._metrics()).kind == kind


def test_the_kind_of_a_known_model_needs_no_metrics() -> None:
    with StandIn(answers={"/v1/models": served("mine", root="Qwen/Qwen3.5-4B")}) as server:
        assert probe(server).kind == "hybrid"


# Arguments


@pytest.mark.parametrize("url", ["", "http://", "ftp://127.0.0.1", "http://[::1", "http://\0"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"is no address of a server.* http://127\.0\.0\.1:8000"):
        diagnose(url)


@pytest.mark.parametrize(
    "option", [{"tokens": 0}, {"repeats": -1}, {"timeout": float("nan")}, {"timeout": float("inf")}, {"tokens": 10**9}]
)
def test_numbers_have_bounds(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(option))}=.*above 0"):
        diagnose("127.0.0.1", **option)


@pytest.mark.parametrize("key", ["naïve", "two\nlines"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="API key") as caught:
        diagnose("127.0.0.1", api_key=key)
    assert key not in str(caught.value)


def test_an_address_may_have_a_path_v1_and_a_name() -> None:
    with StandIn() as server:
        server.answers["/gateway/v1/models"] = served("one", "two")
        port = server.url.rpartition(":")[2]
        for url in (
            f"{server.url}/gateway",
            f"localhost:{port}/gateway/v1/",
            f"http://me:secret@localhost:{port}/gateway",
        ):
            diagnosis = diagnose(url)
            assert (diagnosis.verdict, diagnosis.url[-11:]) == ("no-model", "/gateway/v1")
            assert "secret" not in diagnosis.model_dump_json()


def test_no_proxy_stands_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with StandIn() as server:
        assert probe(server).verdict == "reuse"


# The command


@pytest.fixture
def run() -> Callable[..., tuple[int, str]]:
    app = typer.Typer()
    app.command()(doctor)

    def invoke(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--repeats", "1", "--tokens", "1000"])
        return result.exit_code, result.stdout

    return invoke


@pytest.mark.parametrize(
    ("server", "code", "verdict"),
    [
        (StandIn(), 0, "reuse"),
        (StandIn(settings=SOFTMAX), 0, "softmax"),
        (StandIn(settings=SOFTMAX, keeps=False), 1, "softmax"),
        (StandIn(keeps=False), 1, "no-reuse"),
        (StandIn(answers={"/v1/models": (200, "text/html", b"\x1b[31mred")}), 1, "not-vllm"),
        (StandIn(answers={"/v1/models": served("one", "two")}), 2, "no-model"),
    ],
)
def test_both_outputs_and_the_exit_code_agree(
    run: Callable[..., tuple[int, str]], server: StandIn, code: int, verdict: str
) -> None:
    with server:
        told, document = run(server.url, "--json")
        again, text = run(server.url)
    diagnosis = Diagnosis.model_validate_json(document)
    assert (told, again, diagnosis.verdict) == (code, code, verdict)
    assert f"{verdict}: " in text
    assert "\x1b" not in text + document
    for line in (diagnosis.fix, diagnosis.command or ""):
        assert line in text
    if diagnosis.prompt_tokens:
        assert f"{diagnosis.prompt_tokens:,} tokens" in text


def test_options_reach_the_server(run: Callable[..., tuple[int, str]]) -> None:
    with StandIn(key="right", answers={"/v1/models": served("one", "two")}) as server:
        assert run(server.url, "--api-key", "right", "--model", "two")[0] == 0
        assert run(server.url, "--api-key", "wrong")[0] == 1
