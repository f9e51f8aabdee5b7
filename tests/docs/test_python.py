"""The Python of every page runs as it stands there, in order, and prints what the page says."""

from pathlib import Path

import pytest

from graphs.extractive import ExtractiveChatModel
from tests.docs.pages import PAGES, blocks, put_files
from tests.docs.running import ran

WITH_PYTHON = [page for page in PAGES if page.name != "README.md" and blocks(page, "python")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_a_page_runs(page: Path, server: str, tmp_path: Path) -> None:
    put_files(page, tmp_path)
    names = {"model": ExtractiveChatModel(), "__name__": page.stem}
    assert len(list(ran(page, names, server))) == len(blocks(page, "python"))
