"""The pages of the documentation, README.md among them, and the code blocks in them."""

import doctest
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

OUTPUT = 'title="Output"'
"""In the head of a block with what the block before it prints; `...` stands for anything."""


FILES = ("yaml", "json")
"""Languages of blocks whose title is the name of a file with that content."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins at, its title, and what it is said to print, if so."""

    language: str
    code: str
    line: int
    title: str = ""
    output: str | None = None

    def compiled(self, page: Path) -> str:
        """The code, in the lines that it has on its page, so that a traceback tells which."""
        return "\n" * self.line + self.code


def blocks(page: Path, *languages: str) -> list[Block]:
    """The page's blocks in these languages."""
    return [block for block in _blocks(page.read_text(encoding="utf-8")) if block.language in languages]


def put_files(page: Path, folder: Path) -> None:
    """Write the blocks that are called like a file into it."""
    for block in blocks(page, *FILES):
        if block.title:
            (folder / block.title).write_text(block.code, encoding="utf-8")


def prints(block: Block, printed: str) -> None:
    """Fail unless the block printed what it is said to.

    Raises:
        AssertionError: it did not.
    """
    if block.output is None:
        return
    wanted, got = (_tidy(text) for text in (block.output, printed))
    if not doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS):
        raise AssertionError(f"the block at line {block.line + 1} printed\n{got}\ninstead of\n{wanted}")


def commands(code: str) -> Iterator[list[str]]:
    """The words of each command of a block, without comments, variables set before it, and an environment's folder."""
    for line in code.replace("\\\n", " ").replace("|\n", "| ").splitlines():
        yield from _piped(shlex.split(line, comments=True))


def _piped(words: list[str]) -> Iterator[list[str]]:
    while words:
        end = words.index("|") if "|" in words else len(words)
        yield from _bare(words[:end])
        words = words[end + 1 :]


def _bare(words: list[str]) -> Iterator[list[str]]:
    while words and (words[0] == "export" or "=" in words[0]):
        words = words[1:]
    if words:
        yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def _blocks(text: str) -> Iterator[Block]:
    fences = [token for token in MarkdownIt().parse(_unfolded(text)) if token.type == "fence" and token.map]
    for fence, following in zip_longest(fences, fences[1:]):
        assert fence.map is not None
        output = following.content if following and OUTPUT in following.info else None
        language, _, rest = fence.info.partition(" ")
        title = rest.strip().removeprefix('title="').removesuffix('"')
        yield Block(language, fence.content, fence.map[0] + 1, title, output)


def _unfolded(text: str) -> str:
    """Without the indentation of what stands in an admonition, which Markdown would take for something else."""
    lines, inside = list[str](), False
    for line in text.splitlines():
        inside = line.startswith(("!!! ", "??? ", "=== ")) or (inside and (not line.strip() or line.startswith("    ")))
        lines.append(line.removeprefix("    ") if inside else line)
    return "\n".join(lines)


def _tidy(text: str) -> str:
    """Without what tables have at the ends of their lines."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"
