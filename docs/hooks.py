"""What mkdocs does beside its plugins: pictures and texts that lie elsewhere, and what a command says of itself."""

import re
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.testing import CliRunner

from linmem_langgraph.cli import app

ROOT = Path(__file__).parents[1]

PICTURES = ("graphs/m3_agent.png",)

HELP = re.compile(r"^<!-- help: (linmem(?: [a-z-]+)*) -->$", re.MULTILINE)


FILE = re.compile(r"^<!-- file: (\S+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put pictures of the repository beside the pages."""
    for path in PICTURES:
        files.append(File.generated(config, Path(path).name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put what a command's `--help` prints in the place of `<!-- help: linmem ... -->`, a file in that of `file:`."""
    shown = FILE.sub(lambda found: f"```text\n{(ROOT / found[1]).read_text(encoding='utf-8').rstrip()}\n```", markdown)
    return HELP.sub(lambda found: _folded(found[1], help_of(found[1])), shown)


def help_of(command: str) -> str:
    """What a command says of itself."""
    name, *words = command.split()
    done = CliRunner().invoke(app, [*words, "--help"], prog_name=name, env={"COLUMNS": "80"}, catch_exceptions=False)
    if done.exit_code:
        raise typer.BadParameter(f"{command!r} is no command: {done.output}")
    return done.stdout.strip("\n")


def _folded(command: str, text: str) -> str:
    lines = [f'??? note "{command} --help"', "", "    ```text", *(f"    {line}".rstrip() for line in text.splitlines())]
    return "\n".join([*lines, "    ```"])
