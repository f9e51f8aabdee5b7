"""The site is built without a warning, is whole by itself, and fits a telephone."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.docs.pages import DOCS
from tests.docs.site import broken, build, is_foreign, pages


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site").resolve()
    build(folder)
    return folder


def test_each_page_is_there(site: Path) -> None:
    assert {page.with_suffix(".html").name for page in DOCS.glob("*.md")} <= {file.name for file in pages(site)}
    assert not list(site.rglob("*.py"))


def test_links_and_anchors_lead_somewhere(site: Path) -> None:
    found = pages(site)
    assert sum(len(page.links) for page in found.values()) > 100
    assert broken(site, found) == []


def test_a_broken_link_is_found(site: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(site, tmp_path.resolve() / "copy")
    links = '<a href="gone.html">x</a><a href="concepts.html#gone">x</a><img src="gone.png"><a href="index.html">x</a>'
    (copy / "errors.html").write_text(links, encoding="utf-8")
    assert [wrong for wrong in broken(copy, pages(copy)) if wrong.startswith("errors.html")] == [
        "errors.html: gone.html",
        "errors.html: concepts.html#gone",
        "errors.html: gone.png",
    ]


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    assert [address for page in pages(site).values() for address in page.assets if is_foreign(address)] == []
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert [url for url in re.findall(r"url\(([^)]*)\)|@import ([^;]*)", styles) if is_foreign("".join(url))] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_asks_nobody_else_and_no_page_scrolls_sideways(site: Path, browser: Browser, width: int) -> None:
    asked, wide = list[str](), list[str]()
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.on("request", lambda request: asked.append(request.url))
    for file in pages(site):
        page = context.new_page()
        page.goto(file.as_uri())
        page.wait_for_load_state("networkidle")
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(file.name)
        page.close()
    context.close()
    assert asked
    assert [url for url in asked if is_foreign(url)] == []
    assert wide == []
