"""`linmem records` and `linmem export`: what is in the log."""

import re
import shutil
from pathlib import Path

import pytest

from linmem_langgraph import Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from tests.cli.running import LEXICAL, document, error_of, invoke


def test_records_for_people(anna: Path) -> None:
    done = invoke("records", anna, "users/anna")

    rows = [re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines() if line.strip()]
    assert rows[0] == ["position", "key", "kind", "metadata", "text"]
    assert rows[2:] == [
        ["1", "home", "episodic", "Anna lives in Oslo."],
        ["2", "nuts", "semantic", "Anna is allergic to nuts."],
        ["3", "cake", "episodic", '{"speaker": "Bert"}', "Bert bakes a nut cake."],
    ]


def test_records_are_those_up_to_a_position_that_match(anna: Path) -> None:
    def keys(*arguments: object) -> list[str]:
        return [row["key"] for row in document(invoke("records", anna, "users/anna", "--json", *arguments))]

    assert keys() == ["home", "nuts", "cake"]
    assert keys("--until", 2) == ["home", "nuts"]
    assert keys("--until", 2, "--filter", '{"kind": "episodic"}') == ["home"]


def test_without_a_namespace_all_are_listed(anna: Path) -> None:
    others = [("users", "anna", "work"), ("a/b", "c.d%e"), ("[x]",), ("咖啡\x1b",)]
    with Memory.open(anna, embeddings=LexicalEmbeddings()) as memory:
        for namespace in others:
            memory.write(namespace, "text")
        memory.write(("gone",), "text")
        memory.forget(("gone",))

    listed = document(invoke("records", anna, "--json"))
    shown = [re.split(r" {2,}", line.strip()) for line in invoke("records", anna).stdout.splitlines() if line.strip()]

    expected = sorted([(("users", "anna"), 3), *((namespace, 1) for namespace in others)])
    assert [(tuple(row["namespace"]), row["records"]) for row in listed] == expected
    assert shown[2:] == [
        ['["[x]"]', "1"],
        ['["a/b", "c.d%e"]', "1"],
        ["users/anna", "3"],
        ["users/anna/work", "1"],
        ["咖啡\\x1b", "1"],
    ]


def test_the_log_alone_is_enough_to_list_and_to_export(anna: Path, tmp_path: Path) -> None:
    shutil.rmtree(anna / "chroma")

    assert len(document(invoke("records", anna, "users/anna", "--json"))) == 3
    assert len(document(invoke("records", anna, "--json"))) == 1
    exported = invoke("export", anna, "users/anna", tmp_path / "anna.jsonl", "--json")
    assert document(exported) == {"records": 3, "file": str(tmp_path / "anna.jsonl")}
    assert not (anna / "chroma").exists()


def test_a_namespace_without_records_is_said_to_have_none(anna: Path, tmp_path: Path) -> None:
    for arguments in (("records", anna, "users/ana"), ("export", anna, "users/ana", tmp_path / "ana.jsonl")):
        done = invoke(*arguments)
        assert done.exit_code == 0
        assert done.stderr.startswith("warning: users/ana has no records")
    assert (tmp_path / "ana.jsonl").read_bytes() == b""
    assert invoke("records", anna, "users/anna", "--until", 0).stderr == ""


def test_an_empty_memory_is_said_to_be_empty(anna: Path) -> None:
    invoke("forget", anna, "users/anna", "--all", *LEXICAL)

    assert invoke("records", anna).stderr == "warning: the memory is empty\n"
    assert document(invoke("records", anna, "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("records", "--until", 3), "name one"),
        (("records", "users/anna", "--filter", "[]"), "--filter '[]' is not a JSON object"),
        (("export", "users/anna", "-", "--json"), "leave out one"),
        (("export", "users/anna", "/no/such/folder/file"), "cannot write /no/such/folder/file"),
    ],
)
def test_wrong_arguments_of_records_and_export(anna: Path, arguments: tuple[object, ...], problem: str) -> None:
    name, *rest = arguments
    done = invoke(name, anna, *rest)

    assert done.exit_code == 2
    assert problem in error_of(done)
