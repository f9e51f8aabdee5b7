"""What the doctor asks of a server that serves models, what it measures, and answers that it cannot use."""

import socket
from collections.abc import Callable

import pytest

from linmem_langgraph.doctor import diagnose
from linmem_langgraph.doctor.probe import CachedTokens
from linmem_langgraph.vllm import STATE_FLAGS
from tests.doctor.stand_in import CHAT, HYBRID, SOFTMAX, Answer, StandIn, as_json, probe, served


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
