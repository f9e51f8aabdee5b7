"""`linmem read`: a reading for people and for programs, and what a read can be told."""

import re
from pathlib import Path

import pytest

from linmem_langgraph import MemoryRecord, Reading, ScoredRecord
from linmem_langgraph.cli.output import print_reading
from linmem_langgraph.records import Usage
from tests.cli.running import LEXICAL, document, error_of, invoke


def test_a_reading_for_people(anna: Path) -> None:
    done = invoke("read", anna, "users/anna", "Where does Anna live?", "--limit", 2, *LEXICAL)

    lines = done.stdout.splitlines()
    assert lines[:2] == ["[1] Anna lives in Oslo.", "[2] Anna is allergic to nuts."]
    assert re.search(r"^ +0\.\d{3} +1 +home +episodic *$", done.stdout, re.MULTILINE)
    assert re.fullmatch(r"chroma, \d+\.\d{3} s", lines[-1])
    assert done.stderr == ""


def test_a_model_s_reading_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    record = MemoryRecord(text="Anna lives in Oslo.", position=1, key="home")
    usage = Usage(prompt_tokens=120, cached_tokens=96, completion_tokens=9)
    hits = (ScoredRecord(record=record),)

    print_reading(
        Reading(text="In \x1bOslo [1].", records=hits, usage=usage, reader="linear", model="tiny", invented=2)
    )

    said, *table, cost = capsys.readouterr().out.splitlines()
    assert said == "In \\x1bOslo [1]."
    assert "  1          home   episodic   Anna lives in Oslo.  " in table
    assert cost == "linear, 0.000 s, tiny, 120 prompt tokens (96 of them cached), 9 written, positions it invented: 2"


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ((), {"home", "nuts", "cake"}),
        (("--limit", 1), {"nuts"}),
        (("--until", 2), {"home", "nuts"}),
        (("--until", -1), set()),
        (("--exclude", 2), {"home", "cake"}),
        (("--exclude", "cake", "--exclude", '"2"', "--exclude", 1), {"nuts"}),
        (("--filter", '{"kind": "semantic"}'), {"nuts"}),
        (("--filter", '{"speaker": "Bert", "position": {"$gte": 3}}'), {"cake"}),
        (("--set", "limit=2"), {"nuts", "home"}),
        (("--set", "by=position", "--set", "limit=1", "--set", "neighbours=1"), {"home", "nuts", "cake"}),
        (("--set", "threshold=0.9"), {"nuts"}),
    ],
)
def test_a_read_takes_what_the_library_takes(anna: Path, arguments: tuple[object, ...], keys: set[str]) -> None:
    done = invoke("read", anna, "users/anna", "Anna is allergic to nuts", *arguments, "--json", *LEXICAL)

    assert {hit["record"]["key"] for hit in document(done)["records"]} == keys


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("",), "the query is ''"),
        (("q", "--limit", 0), "limit is 0"),
        (("q", "--filter", "kind"), "--filter 'kind' is not a JSON object"),
        (("q", "--filter", '{"kind": {"$like": "x"}}'), "unknown operator '$like'"),
        (("q", "--set", "embeddings=default"), "was built with the embedding 'langchain:LexicalEmbeddings:1024'"),
    ],
)
def test_wrong_arguments_of_read(anna: Path, arguments: tuple[object, ...], problem: str) -> None:
    done = invoke("read", anna, "users/anna", *LEXICAL, *arguments)

    assert done.exit_code == 2
    assert problem in error_of(done)
