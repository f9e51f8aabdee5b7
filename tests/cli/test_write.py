"""`linmem write`: texts, lines and rows, as `linmem import` takes them too; and a reader that cannot follow."""

import re
from pathlib import Path

import pytest

from linmem_langgraph.records import MAX_TEXT
from tests.cli.running import LEXICAL, document, error_of, invoke, kept, linmem


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
