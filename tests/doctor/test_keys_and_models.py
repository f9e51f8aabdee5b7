"""API keys, and which of the served models is probed."""

import pytest

from tests.doctor.stand_in import HYBRID, StandIn, probe, served


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
