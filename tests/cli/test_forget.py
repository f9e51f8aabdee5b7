"""`linmem forget`: its receipt, what it asks first, and what it did not clean."""

import re
from pathlib import Path

import pytest

from tests.cli.running import CTRL_C, LEXICAL, document, error_of, invoke, kept, on_terminal


def test_the_receipt_for_people(anna: Path) -> None:
    done = invoke("forget", anna, "users/anna", "home", "nuts", "nobody", *LEXICAL)

    rows = dict(re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines()[3:] if line.strip())
    assert done.stderr == ""
    assert rows.pop("at").startswith("20")
    assert rows == {
        "forgotten": "home, nuts",
        "unknown": "nobody",
        "from the log": "2",
        "from the chroma reader": "2",
        "files scrubbed": "yes",
    }
    assert [record.key for record in kept(anna)] == ["cake"]


def test_all_is_the_namespace_and_not_those_below(anna: Path) -> None:
    invoke("write", anna, "users/anna/work", "Anna welds.", *LEXICAL)

    receipt = document(invoke("forget", anna, "users/anna", "--all", "--json", *LEXICAL))

    assert set(receipt["forgotten"]) == {"home", "nuts", "cake"}
    assert document(invoke("records", anna, "--json")) == [{"namespace": ["users", "anna", "work"], "records": 1}]


@pytest.mark.parametrize("arguments", [(), ("home", "--all")])
def test_forget_wants_either_keys_or_all(anna: Path, arguments: tuple[str, ...]) -> None:
    done = invoke("forget", anna, "users/anna", *arguments, "--yes", *LEXICAL)

    assert done.exit_code == 2
    assert "give the keys of records, or --all for the whole namespace, and not both" in error_of(done)
    assert len(kept(anna)) == 3


def test_forget_says_what_it_did_not_clean(anna: Path) -> None:
    (anna / "linear").mkdir()

    done = invoke("forget", anna, "users/anna", "home", *LEXICAL)

    assert done.stderr == "warning: what the linear reader keeps was not cleaned: do the same with --reader linear\n"


def test_forget_asks_on_a_terminal(anna: Path) -> None:
    refused = on_terminal("forget", anna, "users/anna", "--all", *LEXICAL, typed=b"n\n")
    assert refused[0] == 1
    assert b"Forget everything of users/anna for good? [y/N]" in refused[1]
    assert len(kept(anna)) == 3

    interrupted = on_terminal("forget", anna, "users/anna", "--all", *LEXICAL, typed=CTRL_C)
    assert interrupted[0] == 130
    assert len(kept(anna)) == 3

    agreed = on_terminal("forget", anna, "users/anna", "home", "nuts", *LEXICAL, typed=b"y\n")
    assert agreed[0] == 0
    assert b"Forget 2 key(s) of users/anna for good? [y/N]" in agreed[1]
    assert [record.key for record in kept(anna)] == ["cake"]

    unasked = on_terminal("forget", anna, "users/anna", "--all", "--yes", *LEXICAL)
    assert unasked[0] == 0
    assert b"[y/N]" not in unasked[1]
    assert kept(anna) == []
