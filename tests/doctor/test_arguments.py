"""Addresses, numbers, keys and proxies: what the doctor takes and what it refuses."""

from typing import Any

import pytest

from linmem_langgraph import ConfigError
from linmem_langgraph.doctor import diagnose
from tests.doctor.stand_in import StandIn, probe, served


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
