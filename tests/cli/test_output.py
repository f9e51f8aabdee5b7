"""What a terminal is shown: every character of a text, and nothing it would obey."""

import re
from pathlib import Path

import pytest

from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.embeddings import LexicalEmbeddings
from tests.cli.running import HOSTILE, LEXICAL, document, invoke, linmem, on_terminal


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
