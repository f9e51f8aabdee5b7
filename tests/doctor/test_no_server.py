"""Nothing listens, or something that does not serve models: each is named by what it said."""

import socket
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from linmem_langgraph.doctor import diagnose
from linmem_langgraph.vllm import STATE_FLAGS
from tests.doctor.stand_in import HYBRID, Answer, StandIn, probe


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
