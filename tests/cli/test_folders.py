"""Folders that are no memory: they are not taken for one, and nothing is put there."""

from pathlib import Path

import pytest

from tests.cli.running import LEXICAL, error_of, invoke


@pytest.mark.parametrize(
    "arguments",
    [
        ("read", "users/anna", "query"),
        ("records",),
        ("records", "users/anna"),
        ("export", "users/anna", "-"),
        ("forget", "users/anna", "--all"),
        ("rebuild", "users/anna"),
    ],
)
def test_only_write_and_import_make_a_memory(folder: Path, arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    missing = invoke(name, folder, *rest)
    folder.mkdir()
    empty = invoke(name, folder, *rest)

    for done in (missing, empty):
        assert done.exit_code == 2
        assert f"there is no memory in {folder}: check the path" in error_of(done)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["write", "records"])
@pytest.mark.parametrize("given", ["", " "])
def test_an_unset_variable_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(name, given, "users/anna", *(["text"] if name == "write" else []))

    assert done.exit_code == 2
    assert f"the folder is {given!r}" in error_of(done)
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")

    for arguments in (("write", tmp_path, "a", "text", *LEXICAL), ("import", tmp_path, "a", "-", *LEXICAL)):
        done = invoke(*arguments, stdin='{"text": "text"}')
        assert done.exit_code == 2
        assert "is not the folder of a memory: it holds 'thesis.txt'" in error_of(done)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]
