"""The README's code runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from tests.graphs.scripted import ScriptedChatModel, calling
from tests.readme import README, python_blocks


def test_the_python_blocks_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tools, middleware, loop = [block for block in python_blocks() if "LinearReader" not in block]
    turns = [calling("Where does Anna live?"), AIMessage("In Oslo.")]
    model = ScriptedChatModel(replies=[*turns, AIMessage("Noted."), *turns])
    names: dict[str, Any] = {"model": model}
    run = {"configurable": {"user_id": "anna"}}

    exec(compile(tools, "README.md", "exec"), names)
    state = names["agent"].invoke({"messages": [("user", "Where does Anna live?")]}, run)
    assert "Anna lives in Oslo." in state["messages"][2].text
    assert state["messages"][-1].text == "In Oslo."

    exec(compile(middleware, "README.md", "exec"), names)
    names["agent"].invoke({"messages": [("user", "Oslo has a new harbour.")]}, run)
    assert "[1] Anna lives in Oslo." in model.calls[-1].texts[0]
    remembered = [record.text for record in names["memory"].records(("users", "anna"))]
    assert remembered[2:] == ["user: Oslo has a new harbour.", "assistant: Noted."]

    exec(compile(loop, "README.md", "exec"), names)
    assert capsys.readouterr().out == "[1] Anna lives in Oslo.\nIn Oslo.\n"
    names["memory"].close()


def test_its_commands_are_targets_of_the_makefile() -> None:
    targets = set(
        re.findall(
            r"^([a-z]+):", (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
        )
    )
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, flags=re.MULTILINE))
    assert {"demo", "test", "check", "help", "bench"} <= named
    assert named <= targets


def test_its_links_lead_somewhere() -> None:
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\(((?!https?:|#)[^)]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    assert links
    assert [link for link in links if not (root / link).exists()] == []
