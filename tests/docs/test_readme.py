"""The README's code runs as it stands there, and what it names exists."""

import re
from typing import Any

from langchain_core.messages import AIMessage

from tests.docs.conftest import SAYS
from tests.docs.pages import ROOT
from tests.docs.running import ran
from tests.graphs.scripted import ScriptedChatModel, calling

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_the_python_blocks_run_one_after_the_other(server: str) -> None:
    turns = [calling("Where does Anna live?"), AIMessage("In Oslo.")]
    model = ScriptedChatModel(replies=[*turns, AIMessage("Noted."), *turns])
    names: dict[str, Any] = {"model": model}
    run = {"configurable": {"user_id": "anna"}}
    steps = ran(README, names, server)

    assert "create_search_memory_tool" in next(steps).code
    state = names["agent"].invoke({"messages": [("user", "Where does Anna live?")]}, run)
    assert "Anna lives in Oslo." in state["messages"][2].text
    assert state["messages"][-1].text == "In Oslo."

    assert "MemoryMiddleware" in next(steps).code
    names["agent"].invoke({"messages": [("user", "Oslo has a new harbour.")]}, run)
    assert "[1] Anna lives in Oslo." in model.calls[-1].texts[0]
    remembered = [record.text for record in names["memory"].records(("users", "anna"))]
    assert remembered[2:] == ["user: Oslo has a new harbour.", "assistant: Noted."]

    assert "LinearReader" in next(steps).code
    assert names["reading"].text == SAYS
    assert [hit.record.text for hit in names["reading"].records] == ["Anna is allergic to nuts."]

    assert [step.code for step in steps][-1].startswith("from graphs.m3_agent")
    assert len(model.calls) == 5


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(((?!https?:|#)[^)]+)\)", TEXT) + re.findall(r'src="([^"]+)"', TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", TEXT, flags=re.MULTILINE))
    assert {"demo", "test", "check", "help", "bench"} <= named
    assert named <= targets
