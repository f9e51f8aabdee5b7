"""`linmem rebuild`."""

import shutil
from pathlib import Path

from tests.cli.running import LEXICAL, document, invoke


def test_rebuild_changes_what_the_index_was_built_with(anna: Path) -> None:
    smaller = ("--set", 'hnsw={"max_neighbors": 8}', *LEXICAL)

    shown = invoke("rebuild", anna, "users/anna", *smaller)
    as_json = invoke("rebuild", anna, "users/anna", "--json", *smaller)

    assert shown.stdout == "the chroma reader has read 3 records of users/anna anew\n"
    assert document(as_json) == {"namespace": ["users", "anna"], "reader": "chroma", "records": 3}


def test_rebuild_mends_a_lost_index(anna: Path) -> None:
    shutil.rmtree(anna / "chroma")
    invoke("rebuild", anna, "users/anna", *LEXICAL)

    receipt = document(invoke("forget", anna, "users/anna", "--all", "--json", *LEXICAL))
    assert (receipt["from_log"], receipt["from_index"]) == (3, 3)
