"""What the pages list is what there is, and their figures are the README's."""

import re

import linmem_langgraph
from linmem_langgraph import errors
from linmem_langgraph.cli import app
from linmem_langgraph.readers import READERS
from tests.docs.pages import DOCS, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def headings(name: str, level: int = 2) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+?)(?: \{{.*\}})?$", page(name), flags=re.MULTILINE)


def test_every_error_has_a_section_and_no_other() -> None:
    classes = [name for name, value in vars(errors).items() if isinstance(value, type)]
    assert headings("errors") == classes


def test_the_tree_of_errors_is_as_drawn() -> None:
    (tree,) = re.findall(r"```text\n(LinmemError\n.*?)```", page("errors"), flags=re.DOTALL)
    drawn = {name: len(indent) // 4 for indent, name in re.findall(r"^([ │├└─]*)(\w+)", tree, flags=re.MULTILINE)}
    bases = {name: getattr(errors, name).__mro__.index(errors.LinmemError) for name in drawn}
    assert drawn == bases


def test_every_reader_has_a_section_and_a_row() -> None:
    sections = [heading.casefold() for heading in headings("readers")]
    rows = re.findall(r"^\| \[\w+\]\(#(\w+)\) \|.*\| `(\w+)` \|$", page("readers"), flags=re.MULTILINE)
    assert [name for _, name in rows] == list(READERS)
    assert [anchor for anchor, _ in rows] == [heading for heading in sections if heading in READERS]


def test_the_reference_has_every_public_name() -> None:
    named = re.findall(r"^::: ([\w.]+)$", page("api"), flags=re.MULTILINE)
    assert len(named) == len(set(named))
    public = {f"linmem_langgraph.{name}" for name in dir(linmem_langgraph)}
    assert {name for name in named if name.count(".") == 1} == public


def test_every_command_has_a_section_with_its_help() -> None:
    commands = [
        str(command.name or command.callback.__name__).replace("_", "-")
        for command in app.registered_commands
        if command.callback
    ]
    assert headings("cli") == [f"linmem {name}" for name in commands]
    helped = re.findall(r"^<!-- help: linmem ([\w-]+) -->$", page("cli"), flags=re.MULTILINE)
    assert helped == commands


def test_figures_are_the_readme_s() -> None:
    for name in ("index", "readers"):
        rows = [line for line in page(name).splitlines() if line.startswith("|") and re.search(r"\d\.\d|\d ms", line)]
        assert len(rows) >= 4
        for row in rows:
            missing = [cell for cell in map(str.strip, row.split("|")) if re.search(r"\d", cell) and cell not in README]
            assert missing == [], f"{name}: {row}"
