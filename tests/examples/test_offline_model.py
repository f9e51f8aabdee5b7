"""The rules that stand in for a model."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool

from offline_model import UNKNOWN, OfflineModel, chosen_model

KEPT: list[str] = []


@tool
def search_memory(query: str) -> str:
    """Search."""
    return "[0] The mug is red.\n[1] The mug is blue.\nids: [0] mug"


@tool
def manage_memory(content: str) -> str:
    """Remember."""
    KEPT.append(content)
    return "created memory 1"


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("Which mug?", "The mug is blue."),
        ("Who likes ids?", UNKNOWN),
        ("Remember: The cup is green.", "Noted."),
        ("The mug is red.", "I see."),
    ],
)
def test_a_rule(said: str, answered: str) -> None:
    agent: Any = create_agent(OfflineModel(), [search_memory, manage_memory])

    assert agent.invoke({"messages": [("user", said)]})["messages"][-1].text == answered
    assert ["The cup is green."] * said.startswith("Remember") == KEPT
    KEPT.clear()


def test_a_named_model_is_taken_instead(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["three_lines.py", "openai:some-model"])
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    assert chosen_model()._get_ls_params()["ls_model_name"] == "some-model"
    assert capsys.readouterr().out == "The model: openai:some-model.\n\n"


def test_a_key_means_openai_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["three_lines.py"])
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert isinstance(chosen_model(), OfflineModel)

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert chosen_model()._get_ls_params()["ls_provider"] == "openai"
