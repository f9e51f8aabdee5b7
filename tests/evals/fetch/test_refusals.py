"""A hub that is away, refuses, or is none is one line with the remedy."""

import re
import sys
from typing import Any

import pytest

from evals.hub import data_set
from linmem_langgraph.errors import ConfigError
from tests.evals.fetch.data_set import DATA, use
from tests.evals.fetch.hub_server import Hub


def test_a_hub_that_is_away_is_one_line_with_the_remedy(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub({}) as gone:
        endpoint = gone.endpoint
    use(monkeypatch, endpoint)
    done = fetch("--yes")

    assert done.code == 2
    assert re.fullmatch(
        rf"error: {endpoint} does not say what ByteDance-Seed/M3-Bench holds: .*: "
        r"check the connection and HF_ENDPOINT, or give a local copy with --from\n",
        done.err,
    )
    assert not DATA.exists()


def test_what_may_not_be_had_is_said_in_the_hub_s_words(hub: Hub, fetch: Any) -> None:
    hub.forbidden = "Access to dataset ByteDance-Seed/M3-Bench is restricted."
    done = fetch("--yes")

    assert done.code == 2
    assert re.match(r"error: the download of robot.json stopped: 403 .* is restricted", done.err)


def test_a_data_set_that_is_not_there_is_said(hub: Hub) -> None:
    with pytest.raises(ConfigError, match=r"does not say what nobody/nothing holds: .*404.*: check the connection"):
        data_set("nobody/nothing", hub.endpoint)


@pytest.mark.parametrize("info", [{"sha": "1"}, [1], {"id": "a/b", "siblings": [{"rfilename": "robot.json"}]}, "text"])
def test_a_reply_that_is_no_hub_s_is_said(hub: Hub, info: Any) -> None:
    hub.info = info
    with pytest.raises(ConfigError, match="its reply is not understood"):
        data_set("ByteDance-Seed/M3-Bench", hub.endpoint)


@pytest.mark.parametrize("endpoint", ["nonsense", "http://", "http://127.0.0.1:port"])
def test_an_address_that_is_none_is_said(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="check the connection and HF_ENDPOINT"):
        data_set("ByteDance-Seed/M3-Bench", endpoint)


def test_without_the_library_the_extra_is_named(fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    assert fetch("--yes").err == "error: downloads need huggingface-hub: pip install 'linmem-langgraph[evals]'\n"
