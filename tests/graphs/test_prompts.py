"""Other wordings from a file."""

from pathlib import Path

import pytest

from graphs.prompts import M3, PROMPTS, TOOL_CALLS, Prompts, load_prompts
from linmem_langgraph import ConfigError


def test_a_file_gives_the_wordings(tmp_path: Path) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text("system: 'Frage: {question}'\ninstruction: Überlege.\nfinal: Antworte.\n", encoding="utf-8")
    prompts = load_prompts(file)
    assert prompts == Prompts(system="Frage: {question}", instruction="Überlege.", final="Antworte.")
    assert prompts.empty


@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
def test_ours_survive_a_file(tmp_path: Path, prompts: Prompts) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text(prompts.model_dump_json(), encoding="utf-8")  # JSON is YAML
    assert load_prompts(file) == prompts


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"system: a\ninstruction: b\n", "final"),
        (b"system: a\ninstruction: b\nfinal: c\nfinale: d\n", "finale"),
        (b"system: [a]\ninstruction: b\nfinal: c\n", "system"),
        (b"- a\n- b\n", "dictionary"),
        (b"", "dictionary"),
        (b"system: 'a\n", "quoted scalar"),
        (b"system: \xff\n", "utf-8"),
        (b"!!python/object/apply:os.getcwd []\n", "python/object"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, content: bytes, named: str) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=named) as caught:
        load_prompts(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml.*No such file"):
        load_prompts(tmp_path / "absent.yaml")


def test_the_wordings_hold_the_words_the_controller_was_trained_on() -> None:
    for wording in (M3.instruction, M3.final):
        assert "Action: [Answer]" in wording
        assert "Content: " in wording
    assert "[Search]" in M3.instruction
    assert "[Search]" not in M3.final
    assert "{question}" in M3.system
    assert "{" not in TOOL_CALLS.system
