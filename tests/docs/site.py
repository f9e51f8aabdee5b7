"""A built site: its pages, what they are made of and where they lead."""

import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.docs.pages import ROOT

ASSETS = {"img": "src", "script": "src", "source": "src", "iframe": "src", "video": "src", "object": "data"}
ABOUT = {"canonical", "next", "prev", "alternate"}
"""Links of a page's head that load nothing."""


def build(folder: Path) -> None:
    """Build the site into `folder`, strictly.

    Raises:
        AssertionError: mkdocs warned of something.
    """
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@dataclass
class Html(HTMLParser):
    """One page: the ids in it, what it loads, and where it leads."""

    file: Path
    ids: set[str] = field(default_factory=set)
    assets: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of it."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ABOUT:
            self.assets.append(given["href"])
        if ASSETS.get(tag) in given:
            self.assets.append(given[ASSETS[tag]])


def pages(site: Path) -> dict[Path, Html]:
    """All pages, by file."""
    return {file: Html(file) for file in sorted(site.rglob("*.html"))}


def is_foreign(address: str) -> bool:
    """Whether it names a host."""
    return bool(urlsplit(address).netloc)


def broken(site: Path, found: dict[Path, Html]) -> list[str]:
    """The links and assets of all pages that lead nowhere within the site, each with its page."""
    wrong = []
    for file, page in found.items():
        for address in (*page.links, *page.assets):
            parts = urlsplit(address)
            if parts.netloc or parts.scheme in ("data", "mailto"):
                continue
            base = site if parts.path.startswith("/") else file.parent
            target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            anchors = found[target].ids if target in found else set()
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in anchors):
                wrong.append(f"{file.name}: {address}")
    return wrong
