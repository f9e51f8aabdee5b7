"""The `linmem` command on a memory's folder: what a shell, a script and a person see."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import typer
from filelock import FileLock
from hypothesis import given
from typer.testing import CliRunner, Result

from linmem_langgraph import Memory, MemoryRecord, NamespaceError, Reading, ScoredRecord
from linmem_langgraph.cli import app
from linmem_langgraph.cli.arguments import format_namespace, parse_exclude, parse_namespace, parse_options
from linmem_langgraph.cli.output import print_reading
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.records import MAX_TEXT, Usage
from tests import strategies

Run = subprocess.CompletedProcess[bytes]
Argument = str | bytes | Path

LEXICAL = ("--set", "embeddings=lexical")
COMMANDS = ("write", "read", "records", "forget", "export", "import", "rebuild")

HOSTILE = "red \x1b[31m, bell \x07, C1 \x9b2J, return \r, tab \t, \u202eturned, \u2028line"


def command(*arguments: Argument) -> list[Argument]:
    return [sys.executable, "-W", "error", "-m", "linmem_langgraph", *arguments]


def linmem(*arguments: Argument, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Run:
    """The command, in a process of its own."""
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(command(*arguments), input=stdin, capture_output=True, env=variables, timeout=60)


def invoke(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """The command, in this process; whatever would be a traceback is raised."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], stdin, catch_exceptions=False)


def document(done: Run | Result) -> Any:
    """What `--json` printed; it printed nothing else."""
    text = done.stdout if isinstance(done.stdout, str) else done.stdout.decode("ascii")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return json.loads(text)


def error_of(done: Run | Result) -> str:
    """The one line on stderr; nothing is on stdout."""
    text = done.stderr if isinstance(done.stderr, str) else done.stderr.decode()
    assert done.stdout in ("", b"")
    assert re.fullmatch(r"error: .*\n", text), text
    return text


def kept(folder: Path, *namespace: str) -> list[MemoryRecord]:
    with Memory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        return memory.records(namespace or ("users", "anna"))


@pytest.fixture
def anna(folder: Path) -> Path:
    """A memory of three records."""
    with Memory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        memory.write(
            ("users", "anna"),
            [
                MemoryRecord(text="Anna lives in Oslo.", key="home", position=1),
                MemoryRecord(text="Anna is allergic to nuts.", key="nuts", position=2, kind="semantic"),
                MemoryRecord(text="Bert bakes a nut cake.", key="cake", position=3, metadata={"speaker": "Bert"}),
            ],
        )
    return folder


# --- a round trip, each step in a process of its own


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


# --- write


def test_write_prints_a_key_a_line(folder: Path) -> None:
    done = invoke("write", folder, "users/anna", "one", "two", *LEXICAL)

    assert done.stdout.split() == [record.key for record in kept(folder)]
    assert done.stderr == ""


def test_a_record_s_fields_are_given_as_options(folder: Path) -> None:
    fields = ("--position", 4, "--key", "k", "--kind", "semantic", "--created-at", "2024-05-08T13:56:00Z")
    invoke("write", folder, "users/anna", "text", *fields, "--metadata", '{"speaker": "Anna", "n": 1}', *LEXICAL)

    (record,) = kept(folder)
    assert (record.position, record.key, record.kind) == (4, "k", "semantic")
    assert record.created_at is not None
    assert record.created_at.isoformat() == "2024-05-08T13:56:00+00:00"
    assert record.metadata == {"speaker": "Anna", "n": 1}


@pytest.mark.parametrize("source", ["-", "--file"])
def test_lines_are_texts(folder: Path, tmp_path: Path, source: str) -> None:
    data = "\ufeffone\r\n\n  \ntwo {brace}\n{not json\n咖啡\u2028still the same line".encode()
    (tmp_path / "lines").write_bytes(data)
    given = ("-",) if source == "-" else ("--file", tmp_path / "lines")

    done = invoke("write", folder, "users/anna", *given, "--kind", "semantic", *LEXICAL, stdin=data)

    assert done.exit_code == 0
    texts = ["one", "two {brace}", "{not json", "咖啡\u2028still the same line"]
    assert [(record.text, record.kind) for record in kept(folder)] == [(text, "semantic") for text in texts]


def test_lines_are_records_if_the_first_begins_with_a_brace(folder: Path) -> None:
    rows = '{"text": "one", "position": 3, "key": "a"}\n\n{"text": "two", "metadata": {"x": [1, null]}}'

    done = invoke("write", folder, "users/anna", "-", "--json", *LEXICAL, stdin=rows)

    assert document(done)["keys"][0] == "a"
    assert [(record.text, record.position, record.metadata) for record in kept(folder)] == [
        ("one", 3, {}),
        ("two", 4, {"x": [1, None]}),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "Anna is aller', "not JSON, perhaps cut off"),
        (b'{"text": "a\x00b"}', "not JSON"),
        (b'{"text": "a\\u0000b"}', "NUL character at offset 1"),
        (b'{"text": "\\ud800"}', "lone surrogate"),
        (b'{"text": "\xff\xfe"}', "not JSON"),
        (b'{"text": " "}', "field 'text': Value error, the text is empty"),
        (b'{"text": "a", "text2": 1}', "field 'text2': Extra inputs are not permitted"),
        (b'{"text": "a", "position": "1"}', "field 'position'"),
        (b'{"text": "a", "metadata": ' + b'{"a":' * 2000 + b"1" + b"}" * 2001, "recursion"),
        (b'{"text": "a", "metadata": ' + b'{"a":' * 500 + b"1" + b"}" * 501, "Recursion error"),
        (b'{"text": "' + b"x" * 20_000_000 + b'"}', "holds at most 100,000: split it"),
        (b"[1, 2]", "field 'record'"),
        (b"null", "field 'record'"),
    ],
)
@pytest.mark.parametrize("subcommand", ["write", "import"])
def test_a_wrong_row_writes_nothing(folder: Path, subcommand: str, line: bytes, problem: str) -> None:
    rows = b'{"text": "first"}\n' + line + b"\n"

    done = invoke(subcommand, folder, "users/anna", "-", *LEXICAL, stdin=rows)

    assert done.exit_code == 2
    assert problem in error_of(done)
    assert "stdin, line 2" in done.stderr
    assert "nothing was written" in done.stderr
    assert len(done.stderr) < 500
    assert not folder.exists()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"a\x00b", "NUL character at offset 1"),
        (b"\xff\xfea\x00", "not UTF-8 (invalid start byte at byte 0)"),
        (b"x" * (MAX_TEXT + 1), "the text has 100,001 characters"),
    ],
)
def test_a_wrong_line_writes_nothing(folder: Path, tmp_path: Path, line: bytes, problem: str) -> None:
    (tmp_path / "lines").write_bytes(b"first\n" + line)

    done = invoke("write", folder, "users/anna", "--file", tmp_path / "lines", *LEXICAL)

    assert done.exit_code == 2
    assert problem in error_of(done)
    assert f"{tmp_path / 'lines'}, line 2" in done.stderr
    assert not folder.exists()


def test_the_longest_text_is_written_and_listed(folder: Path) -> None:
    invoke("write", folder, "users/anna", "-", *LEXICAL, stdin="x" * MAX_TEXT)

    assert len(kept(folder)[0].text) == MAX_TEXT
    assert invoke("records", folder, "users/anna").stdout.count("x") == MAX_TEXT + "text".count("x")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "give texts, - for stdin, or --file"),
        (("text", "--file", "lines"), "one of them"),
        (("",), "the text is empty"),
        ((" \n",), "the text is empty"),
        (("x" * 200_000,), "holds at most 100,000"),
        (("one", "two", "--key", "k"), "--key 'k' names one record, but 2 were given"),
        (("one", "--key", ""), "field 'key'"),
        (("one", "--kind", ""), "field 'kind'"),
        (("one", "--position", "-1"), "greater than or equal to 0"),
        (("one", "--position", str(2**53)), "less than or equal"),
        (("one", "--metadata", "{"), "--metadata '{' is not a JSON object"),
        (("one", "--metadata", "[1]"), "is not a JSON object"),
        (("one", "--metadata", '{"x": NaN}'), "metadata must be JSON"),
        (("one", "--created-at", "yesterday"), "field 'created_at'"),
        (("--file", "/no/such/file"), "cannot read /no/such/file: No such file or directory"),
        (("--file", "/"), "cannot read /: Is a directory"),
        (("one", "--reader", "chrom"), "unknown reader 'chrom'; choose chroma"),
        (("one", "--set", "limt=3"), "unknown option 'limt' of the chroma reader; choose "),
        (("one", "--set", "limit"), "--set 'limit' is not NAME=VALUE"),
        (("one", "--set", "=3"), "--set '=3' is not NAME=VALUE"),
        (("one", "--set", "embeddings=lexica"), "unknown embeddings 'lexica'; choose "),
        (("one", "--set", "limit=0"), "limit is 0"),
    ],
)
def test_wrong_arguments_of_write_make_no_folder(
    folder: Path, arguments: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    done = invoke("write", folder, "users/anna", *arguments)

    assert done.exit_code == 2
    assert problem in error_of(done)
    assert not folder.exists()


def test_fields_are_refused_for_json_lines(folder: Path) -> None:
    done = invoke("write", folder, "a", "-", "--kind", "x", "--position", 3, *LEXICAL, stdin='{"text": "one"}\n')

    assert done.exit_code == 2
    assert "stdin is JSON Lines, where each row has its own fields: leave out position, kind" in error_of(done)


def test_a_write_succeeds_though_the_reader_cannot_follow(folder: Path) -> None:
    folder.mkdir()
    invoke("write", folder, "users/anna", "Bert sleeps.", *LEXICAL)
    (folder / "chroma").rename(folder.parent / "aside")
    (folder / "chroma").write_text("not a folder")

    done = linmem("write", folder, "users/anna", "Anna lives in Oslo.", *LEXICAL)
    as_json = linmem("write", folder, "users/anna", "Bert sings.", "--json", *LEXICAL)
    unread = invoke("read", folder, "users/anna", "Oslo", *LEXICAL)
    (folder / "chroma").unlink()
    reading = invoke("read", folder, "users/anna", "Where does Anna live?", "--limit", 1, *LEXICAL)

    assert done.returncode == as_json.returncode == 0
    warning = done.stderr.decode()
    assert re.fullmatch(r"warning: the log has the records, but the chroma reader could not follow.*\n", warning)
    assert f"Chroma cannot open {folder / 'chroma'}" in warning
    assert f"warning: {document(as_json)['warning']}\n" == as_json.stderr.decode()
    assert [record.key for record in kept(folder)][1:] == [done.stdout.decode().strip(), *document(as_json)["keys"]]
    assert unread.exit_code == 1
    assert f"Chroma cannot open {folder / 'chroma'}" in error_of(unread)
    assert "[1] Anna lives in Oslo." in reading.stdout


def test_a_write_succeeds_though_the_model_server_is_down(folder: Path) -> None:
    linear = ("--reader", "linear", "--set", "base_url=http://127.0.0.1:9/v1")

    done = linmem("write", folder, "users/anna", "Anna lives in Oslo. " * 20, "--json", *linear)
    unread = linmem("read", folder, "users/anna", "Where does Anna live?", *linear)

    assert done.returncode == 0
    assert document(done)["keys"] == [record.key for record in kept(folder)]
    *logged, last = done.stderr.decode().splitlines()
    assert all(line.startswith("warning: ") for line in logged)
    assert last == f"warning: {document(done)['warning']}"
    assert "but the linear reader could not follow, the next read tries again: http://127.0.0.1:9/v1 " in last
    assert unread.returncode == 1
    assert "http://127.0.0.1:9/v1 " in error_of(unread)


# --- read


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


# --- records, export


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


# --- forget


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


# --- folders that are no memory


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


# --- arguments


@given(strategies.namespaces)
def test_a_namespace_is_read_back_as_it_was_shown(namespace: tuple[str, ...]) -> None:
    assert parse_namespace(format_namespace(namespace)) == namespace


@pytest.mark.parametrize(
    ("text", "namespace"),
    [
        ("anna", ("anna",)),
        ("users/anna", ("users", "anna")),
        ('["users", "a/b"]', ("users", "a/b")),
        ("a.b/%c", ("a.b", "%c")),
        ('{"a": 1}', ('{"a": 1}',)),
    ],
)
def test_namespaces(text: str, namespace: tuple[str, ...]) -> None:
    assert parse_namespace(text) == namespace


@pytest.mark.parametrize(
    "text", ["", "/", "users/", "/users", "a//b", "[", "[]", "[1]", '["a", ""]', '["\\ud800"]', "langgraph/a", "\udcff"]
)
def test_what_is_no_namespace(text: str) -> None:
    with pytest.raises(NamespaceError):
        parse_namespace(text)


def test_options_are_json_or_text() -> None:
    pairs = [
        "a=3",
        "b=0.5",
        "c=true",
        "d=null",
        'e={"x": [1]}',
        'f="3"',
        "prime=off",
        "model=vllm:",
        "url=http://h/?a=b",
    ]

    assert parse_options([*pairs, "empty=", "a=4", "deep=" + "[" * 100_000]) == {
        "a": 4,
        "b": 0.5,
        "c": True,
        "d": None,
        "e": {"x": [1]},
        "f": "3",
        "prime": "off",
        "model": "vllm:",
        "url": "http://h/?a=b",
        "empty": "",
        "deep": "[" * 100_000,
    }


def test_positions_and_keys_are_told_apart() -> None:
    digits = "12345678901234567890"

    assert parse_exclude(["3", '"3"', "home", "true", "1e5", "0012", digits]) == {
        3,
        "3",
        "home",
        "true",
        "1e5",
        "0012",
        digits,
    }


# --- the terminal


@pytest.mark.parametrize("text", [HOSTILE, "[red]not red[/red] [3] :smile: [link=http://x]", "back\\slash \\x1b"])
def test_texts_are_shown_and_not_obeyed(folder: Path, text: str) -> None:
    with Memory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        memory.write(("a\x1b",), MemoryRecord(text=text, key=f"key {text}", kind=text[:64], metadata={text: text}))

    shown = [
        invoke("records", folder, "a\x1b"),
        invoke("read", folder, "a\x1b", "red", *LEXICAL),
        invoke("records", folder),
        invoke("forget", folder, "a\x1b", f"key {text}", f"unknown {text}", *LEXICAL),
        invoke("records", folder, "b\x1b"),
        invoke("read", folder, "a\x1b/\x1b/", "red", *LEXICAL),
    ]

    for done in shown:
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", done.stdout + done.stderr)
    assert "a\\x1b" in shown[2].stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, r"red \x1b[31m, bell \x07, C1 \x9b2J, return \r, tab \t, \u202eturned, \u2028line"),
        (
            "[red]no[/red] [3] [/] [link=x] :smile: http://x 3.14",
            "[red]no[/red] [3] [/] [link=x] :smile: http://x 3.14",
        ),
        ("ひらがな\u3000👩\u200d🔬 e\u0301 \xa0", "ひらがな\u3000👩\u200d🔬 e\u0301"),
    ],
)
def test_a_text_is_shown_literally(folder: Path, text: str, shown: str) -> None:
    invoke("write", folder, "a", "--", text, *LEXICAL)

    row = invoke("records", folder, "a").stdout.splitlines()[3]
    assert re.split(r" {2,}", row.strip(" "))[3].rstrip() == shown


def test_json_is_exact_and_escapes_what_a_terminal_would_obey(folder: Path) -> None:
    with Memory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        memory.write(("a",), HOSTILE)

    done = linmem("records", folder, "a", "--json")

    assert document(done)[0]["text"] == HOSTILE
    assert set(done.stdout) <= set(range(0x20, 0x7F)) | {0x0A}


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_a_table_folds_and_loses_nothing(folder: Path, columns: int) -> None:
    words = [f"{number}咖啡é" for number in range(400)]
    with Memory.open(folder, embeddings=LexicalEmbeddings()) as memory:
        memory.write(("a",), MemoryRecord(text=" ".join(words), key="k" * 512, metadata={"m" * 300: "v" * 300}))

    for shown in (on_terminal("records", folder, "a", columns=columns)[1], linmem("records", folder, "a").stdout):
        text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
        assert "…" not in text
        assert text.count("k") - text[: text.index("─")].count("k") == 512
        assert (text.count("m"), text.count("v")) == (301, 300)
        lines = [re.split(r" {2,}", line.rstrip())[-1].strip() for line in text.splitlines()]
        assert "".join(words) in "".join(lines).replace(" ", "")


Terminal = tuple[int, bytes]

CTRL_C = b"\x03"


def on_terminal(*arguments: Argument, typed: bytes = b"", columns: int = 80) -> Terminal:
    """The exit code and the output on a terminal, where `typed` answers the first question; Ctrl-C is a signal."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    process = subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with process:
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # Linux's way to say that the other side is closed
                break
            if not piece:
                break
            shown += piece
            if typed and b"[y/N]" in shown:
                if typed == CTRL_C:
                    time.sleep(0.5)  # a signal that comes just before the line is read is noticed after it
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(ours, typed)
                typed = b""
        os.close(ours)
    return process.returncode, shown


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


# --- the process


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_any_locale_will_do(folder: Path, environment: dict[str, str]) -> None:
    text = "Anna trinkt Kaffee, 咖啡, é"
    assert linmem("write", folder, "a", "-", *LEXICAL, stdin=text.encode(), environment=environment).returncode == 0

    shown = linmem("records", folder, "a", environment=environment)
    listed = linmem("records", folder, "a", "--json", environment=environment)
    exported = linmem("export", folder, "a", "-", environment=environment)

    assert shown.stderr == listed.stderr == exported.stderr == b""
    assert "Anna trinkt Kaffee" in shown.stdout.decode()
    assert document(listed)[0]["text"] == text
    assert text in exported.stdout.decode()


def test_bytes_that_are_no_utf_8_are_refused(anna: Path) -> None:
    for arguments in (
        ("write", anna, "a\udcff", "text"),
        ("write", anna, "a", "text", "--key", "\udcff"),
        ("read", anna, "users/anna", "a\udcff"),
        ("records", anna, "\udcff"),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2
        assert re.search("lone surrogate|unicode string", error_of(done))

    assert "lone surrogate" in error_of(linmem("write", anna, "users/anna", b"a\xff"))
    assert document(linmem("forget", anna, "users/anna", b"\xff", "--json", *LEXICAL))["unknown"] == ["\udcff"]
    missing = linmem("records", os.fsencode(anna) + b"\xff\x1b", "a")
    assert error_of(missing).startswith(f"error: there is no memory in {anna}\\udcff\\x1b: ")


@pytest.mark.parametrize(
    "arguments", [("records",), ("records", "users/anna", "--json"), ("export", "users/anna", "-")]
)
def test_a_pipe_that_nobody_reads_is_left_quietly(anna: Path, arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    with subprocess.Popen(command(name, anna, *rest), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(anna: Path) -> None:
    for arguments in (
        ("records", anna, "users/anna"),
        ("records", anna, "--json"),
        ("export", anna, "users/anna", "-"),
    ):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert done.stderr == b"error: [Errno 28] No space left on device\n"


def test_closed_streams_are_no_error(anna: Path) -> None:
    shell = ["sh", "-c", '"$@" <&- >&-', "sh"]
    for arguments in (("records", anna, "users/anna"), ("forget", anna, "users/anna", "home", *LEXICAL)):
        done = subprocess.run([*shell, *command(*arguments)], stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (0, b"")
    assert len(kept(anna)) == 2


@pytest.fixture
def busy_index(anna: Path) -> Iterator[None]:
    """While another program holds the index."""
    with FileLock(anna / "chroma" / "linmem.lock"):
        yield


@pytest.mark.usefixtures("busy_index")
def test_ctrl_c_ends_a_write_that_waits_and_the_log_has_it(anna: Path) -> None:
    arguments = command("write", anna, "users/anna", "Anna sings.", *LEXICAL)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while document(linmem("records", anna, "--json"))[0]["records"] == 3:
            assert process.poll() is None
        time.sleep(0.5)  # it is waiting for the index now
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == process.stderr.read() == b""

    assert "Anna sings." in linmem("records", anna, "users/anna").stdout.decode()


def test_two_processes_write_at_once(folder: Path) -> None:
    with ExitStack() as started:
        processes = [
            started.enter_context(subprocess.Popen(command("write", folder, "a", f"text {number}", *LEXICAL)))
            for number in range(3)
        ]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert {record.text for record in kept(folder, "a")} == {"text 0", "text 1", "text 2"}


# --- help, version, imports


def imported_by(*arguments: Argument) -> set[str]:
    """The packages loaded when the command has ended."""
    source = (
        "import sys\nfrom linmem_langgraph.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", source, *arguments], capture_output=True)
    assert done.returncode == 0
    return set(done.stderr.decode().split())


def test_help_loads_next_to_nothing() -> None:
    heavy = {"chromadb", "openai", "langchain_openai", "langchain_core", "langgraph", "numpy", "rich", "yaml", "httpx"}
    assert imported_by("--help") & heavy == set()
    assert imported_by("write", "--help") & heavy == set()
    assert "pydantic" not in imported_by("--help")


def test_the_log_s_commands_load_no_reader(anna: Path) -> None:
    heavy = {"chromadb", "onnxruntime", "openai", "langchain_openai", "httpx"}
    for arguments in (("records", anna), ("records", anna, "users/anna"), ("export", anna, "users/anna", "-")):
        assert imported_by(*arguments) & heavy == set()


def test_the_probe_sees_what_is_imported(anna: Path) -> None:
    assert "chromadb" in imported_by("read", anna, "users/anna", "Oslo", *LEXICAL)


def test_help_names_every_command() -> None:
    shown = linmem("--help")

    assert shown.returncode == 0
    for name in (*COMMANDS, "serve", "doctor"):
        assert re.search(rf"^  {name} +\w", shown.stdout.decode(), re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_s_help_has_an_example_that_is_parsed(name: str) -> None:
    done = invoke(name, "--help")

    (example,) = re.findall(rf"^  linmem {name} (.*)$", done.stdout, re.MULTILINE)
    assert typer.main.get_command(app).commands[name].make_context(name, shlex.split(example))  # type: ignore[attr-defined]


def test_the_version_is_the_package_s() -> None:
    try:
        expected = f"linmem {version('linmem-langgraph')}\n"
    except PackageNotFoundError:
        expected = "linmem, from a checkout that is not installed\n"

    assert invoke("--version").stdout == expected


@pytest.mark.parametrize("arguments", [("wrote",), ("read",), ("read", "f", "n", "q", "--limit", "x"), ("--nope",)])
def test_wrong_usage_is_exit_code_2_on_stderr(arguments: tuple[str, ...]) -> None:
    done = invoke(*arguments)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr
