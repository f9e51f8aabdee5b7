"""The examples as functions, with a scripted model that calls tools; what it was given is looked into."""

from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import tool_call

import another_reader
import from_langmem
import hand_made_graph
import many_users
import three_lines
from evals.benchmarks import household
from linmem_langgraph import Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from tests.graphs.scripted import ScriptedChatModel, calling, scripted


def remembering(text: str, name: str = "manage_memory") -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name=name, args={"content": text}, id=f"call_{text}")])


def found(model: ScriptedChatModel, call: int) -> str:
    """What the tools had said before the model's call of this number."""
    messages = model.calls[call].messages
    return "\n".join(message.text for message in messages if isinstance(message, ToolMessage))


def test_three_lines_recall_what_was_captured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = scripted("Noted.", "You are allergic to nuts.", calling("allergy"), "Nobody told me.")

    three_lines.main(model, tmp_path)

    assert set(model.calls[0].tools) == {"opening_hours", "search_memory", "manage_memory"}
    assert "user: I am allergic to nuts" in model.calls[1].texts[0]
    assert "nuts" not in "".join(model.calls[2].texts + model.calls[3].texts)
    shown = capsys.readouterr().out
    assert "bob: What am I allergic to?\n  agent: Nobody told me.\n" in shown
    assert shown.endswith("  [3] assistant: You are allergic to nuts.\n")


def test_a_hand_made_graph_recalls_searches_and_remembers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = scripted("Noted.", calling("bicycle"), "In the blue shed.", calling("bicycle"), "I was not told.")

    hand_made_graph.main(model, tmp_path)

    assert "user: My bicycle is in the blue shed." in model.calls[1].texts[0]
    assert "user: My bicycle is in the blue shed." in found(model, 2)
    assert "shed" not in "".join(model.calls[3].texts + model.calls[4].texts)
    with Memory.open(tmp_path / "memory", embeddings=LexicalEmbeddings()) as memory:
        assert [record.text for record in memory.records(("users", "anna"))][2:] == [
            "user: Where is my bicycle?",
            "assistant: In the blue shed.",
        ]
    assert "  think: calls search_memory({'query': 'bicycle'})\n" in capsys.readouterr().out


def test_users_share_the_team_s_memory_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = AIMessage("", tool_calls=[*calling("nuts").tool_calls, *calling("nuts", name="search_team").tool_calls])
    model = scripted(
        *(remembering("Anna is allergic to nuts."), "Noted."),
        *(remembering("The bakery comes at six.", "manage_team"), "Noted."),
        *(remembering("Bob wants Fridays off."), "Noted."),
        *(calling("bakery", name="search_team"), "At six."),
        *(both, "Nobody told me."),
        *(both, "Anna."),
    )

    many_users.main(model, tmp_path)

    assert model.calls[0].tools == ["search_memory", "manage_memory", "search_team", "manage_team"]
    assert "The bakery comes at six." in found(model, 7)
    assert "Anna is allergic" not in found(model, 9)
    assert "Anna is allergic" in found(model, 11)
    shown = capsys.readouterr().out
    assert "Receipt for users/anna" in shown
    assert "records forgotten: 1, entries of the chroma index: 1\n" in shown
    assert shown.endswith("What is left:\n  teams/kitchen: 1 record(s)\n  users/bob: 1 record(s)\n  thread of bob\n")
    assert b"Anna" not in (tmp_path / "memory" / "log.sqlite").read_bytes()


def test_both_readers_answer_from_one_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [sample for sample in household.load().samples if sample.memory == another_reader.HOME]
    asked = [sample.question for sample in samples[: another_reader.QUESTIONS]]
    turns = [turn for question in asked * 2 for turn in (calling(question), f"as to {question}")]
    model, reads = scripted(*turns), scripted("Somewhere [3].", forever=True)

    another_reader.main(model, tmp_path, reads)

    last = 2 * len(asked)
    assert found(model, last - 1).startswith("[")
    assert found(model, last + 1) == "Somewhere [3]."
    assert len(reads.calls) == len(asked) + 1
    assert "[0] Leo enters the bathroom." in "".join(reads.calls[0].texts)
    shown = capsys.readouterr().out
    assert shown.count("as to") == last
    assert "read 115 records: " in shown


def test_langmem_s_memories_are_found_after_the_move(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = scripted(
        *(remembering("Anna lives in Oslo."), "Noted."),
        *(remembering("Bob lives in Bergen."), "Noted."),
        *(calling("Where does Anna live?"), "In Oslo."),
        *(calling("Where does Anna live?"), "I was not told."),
        *(calling("Where does Bob live?"), "In Bergen."),
    )

    from_langmem.main(model, tmp_path)

    assert model.calls[0].tools == model.calls[4].tools == ["manage_memory", "search_memory"]
    assert "Anna lives in Oslo." in found(model, 5)
    assert "Oslo" not in found(model, 7)
    assert "Bob lives in Bergen." in found(model, 9)
    assert "2 records imported\n" in capsys.readouterr().out
    assert (tmp_path / "memories.sqlite.before-import").is_file()
