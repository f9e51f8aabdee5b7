"""The doctor's verdicts over real servers."""

import json
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph.cli.doctor import doctor
from linmem_langgraph.doctor import Diagnosis, diagnose
from linmem_langgraph.doctor.probe import CachedTokens
from linmem_langgraph.vllm import STATE_FLAGS

MATCH_UNIT = 16
BLOCK = 128  # of the softmax model's cache, on CPU


def probe(server: VllmServer, *, tokens: int = 3_000, api_key: str | None = None) -> Diagnosis:
    return diagnose(server.base_url, tokens=tokens, repeats=2, api_key=api_key)


@pytest.fixture
def strict_server(vllm_servers: Callable[..., VllmServer]) -> VllmServer:
    """Wants a key, has a short context, and does not tell what it found again."""
    arguments = ("--api-key", "right", "--no-enable-prompt-tokens-details")
    return vllm_servers(max_model_len=2_048, arguments=arguments)


@pytest.mark.parametrize("tokens", [300, 3_000])
def test_a_hybrid_with_prefix_caching_reuses_its_states(vllm_server: VllmServer, tokens: int) -> None:
    diagnosis = probe(vllm_server, tokens=tokens)
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.fix) == ("reuse", True, "")
    assert (diagnosis.server, diagnosis.model, diagnosis.kind) == ("vLLM", "tiny-hybrid", "hybrid")
    assert (diagnosis.context_tokens, diagnosis.repeats) == (65_536, 2)
    assert diagnosis.version is not None
    assert diagnosis.prompt_tokens is not None
    assert diagnosis.cached_tokens is not None
    assert tokens * 0.8 < diagnosis.prompt_tokens <= tokens
    assert diagnosis.cached_tokens.cold == 0
    for found in (diagnosis.cached_tokens.first, diagnosis.cached_tokens.second):
        assert diagnosis.prompt_tokens - MATCH_UNIT <= found <= diagnosis.prompt_tokens


def test_without_prefix_caching_the_flags_are_named(vllm_server_without_reuse: VllmServer) -> None:
    diagnosis = probe(vllm_server_without_reuse)
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.kind) == ("no-reuse", False, "hybrid")
    assert diagnosis.cached_tokens == CachedTokens(cold=0, first=0, second=0)
    assert "Prefix caching is off" in diagnosis.fix
    folder = vllm_server_without_reuse.folder / "tiny-hybrid"
    assert diagnosis.command == " ".join(["vllm serve", str(folder), *STATE_FLAGS])


def test_a_softmax_model_is_a_baseline(vllm_servers: Callable[..., VllmServer]) -> None:
    diagnosis = probe(vllm_servers("softmax"))
    assert (diagnosis.verdict, diagnosis.ok, diagnosis.kind) == ("softmax", True, "softmax")
    assert diagnosis.cached_tokens is not None
    assert diagnosis.cached_tokens.cold == 0
    assert 0 <= (diagnosis.prompt_tokens or 0) - diagnosis.cached_tokens.first < BLOCK
    assert "linear or hybrid model" in diagnosis.fix


def test_what_the_server_does_not_tell_is_asked_for(strict_server: VllmServer) -> None:
    diagnosis = probe(strict_server, api_key="right")
    assert (diagnosis.verdict, diagnosis.ok) == ("unreported", False)
    assert (diagnosis.cached_tokens, diagnosis.context_tokens) == (None, 2_048)
    assert 1_500 < (diagnosis.prompt_tokens or 0) < 2_048
    assert "By the server's own count" in diagnosis.found
    assert "--enable-prompt-tokens-details" in diagnosis.fix


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_wrong_or_missing_key_is_said(
    strict_server: VllmServer, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    diagnosis = probe(strict_server, api_key=key)
    assert (diagnosis.verdict, diagnosis.server) == ("unauthorized", "vLLM")
    assert "401 Unauthorized" in diagnosis.found


def test_a_model_that_is_not_served_is_said(vllm_server: VllmServer) -> None:
    diagnosis = diagnose(vllm_server.base_url, model="tiny-mamba")
    assert (diagnosis.verdict, diagnosis.found) == ("no-model", "The server serves tiny-hybrid, and no tiny-mamba.")


def test_the_command_prints_one_verdict(vllm_server: VllmServer) -> None:
    app = typer.Typer()
    app.command()(doctor)
    arguments = [vllm_server.base_url.removesuffix("/v1"), "--tokens", "1000", "--repeats", "1"]
    text, document = (CliRunner().invoke(app, [*arguments, *more]) for more in ([], ["--json"]))
    assert (text.exit_code, document.exit_code) == (0, 0)
    assert "reuse: A read finds" in text.stdout
    assert json.loads(document.stdout)["verdict"] == "reuse"
