"""From `linmem write` to an import elsewhere, each step in a process of its own."""

import json
from pathlib import Path

from tests.cli.running import HOSTILE, LEXICAL, document, invoke, kept, linmem


def test_a_round_trip(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"

    written = linmem("write", folder, "users/anna", "Anna lives in Oslo.", "Anna läuft. 咖啡 [3]", "--json", *LEXICAL)
    keys = document(written)["keys"]
    reading = document(
        linmem("read", folder, "users/anna", "Where does Anna live?", "--limit", "1", "--json", *LEXICAL)
    )
    listed = document(linmem("records", folder, "users/anna", "--json"))
    receipt = document(linmem("forget", folder, "users/anna", keys[0], "--json", *LEXICAL))
    added = linmem("write", folder, "users/anna", "--position", "7", "--kind", "semantic", *LEXICAL, "--", "-5 °C")
    exported = linmem("export", folder, "users/anna", first)
    imported = linmem("import", tmp_path / "elsewhere", "copies/a", first, *LEXICAL)
    again = linmem("export", tmp_path / "elsewhere", "copies/a", second)
    found = linmem("read", tmp_path / "elsewhere", "copies/a", "咖啡", *LEXICAL)

    assert [written.returncode, written.stderr] == [0, b""]
    assert reading["text"] == "[0] Anna lives in Oslo."
    assert [hit["record"]["key"] for hit in reading["records"]] == keys[:1]
    assert [(row["key"], row["position"]) for row in listed] == [(keys[0], 0), (keys[1], 1)]
    assert (receipt["forgotten"], receipt["from_log"], receipt["from_index"]) == (keys[:1], 1, 1)
    assert [added.returncode, added.stderr] == [0, b""]
    assert exported.stdout.decode() == f"2 records in {first}\n"
    assert imported.stdout == b"2 records in copies/a\n"
    assert again.returncode == 0
    assert first.read_bytes() == second.read_bytes()
    assert [json.loads(row)["text"] for row in first.read_text("utf-8").splitlines()] == [
        "Anna läuft. 咖啡 [3]",
        "-5 °C",
    ]
    assert "[1] Anna läuft. 咖啡 [3]" in found.stdout.decode()


def test_an_export_to_stdout_is_the_file_to_the_byte_and_can_be_piped(anna: Path, tmp_path: Path) -> None:
    invoke("write", anna, "users/anna", HOSTILE.replace("\x9b", "é"), *LEXICAL)
    invoke("export", anna, "users/anna", tmp_path / "anna.jsonl")

    piped = linmem("export", anna, "users/anna", "-")
    imported = linmem("import", anna, "copy", "-", *LEXICAL, stdin=piped.stdout)

    assert piped.stdout == (tmp_path / "anna.jsonl").read_bytes()
    assert piped.stderr == imported.stderr == b""
    assert kept(anna, "copy") == kept(anna)
