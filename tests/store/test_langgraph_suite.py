"""LangGraph's own tests of its store, unmodified, over a `MemoryStore`.

They are not part of LangGraph's wheel: name a checkout of its repository, `LANGGRAPH_CHECKOUT=... pytest tests/store`,
and install pytest-mock.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

OURS = """
import langgraph.store.memory as stores

from linmem_langgraph import ChromaReader, Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.store import MemoryStore

InMemoryStore = stores.InMemoryStore


class Ours(MemoryStore):
    def __init__(self, *, index=None):
        reader = ChromaReader(embeddings=index["embed"] if index else LexicalEmbeddings())
        super().__init__(Memory(reader, store=InMemoryStore()), fields=(index or {}).get("fields") or ["$"])
        self.index_config = index


stores.InMemoryStore = Ours
"""


def test_langgraphs_tests_pass(tmp_path: Path) -> None:
    checkout = os.environ.get("LANGGRAPH_CHECKOUT")
    if not checkout or find_spec("pytest_mock") is None:
        pytest.skip("set LANGGRAPH_CHECKOUT to a checkout of LangGraph and install pytest-mock")
    theirs = Path(checkout) / "libs" / "checkpoint" / "tests"
    (tmp_path / "tests").mkdir()
    for name in ("__init__.py", "embed_test_utils.py", "test_store.py"):
        shutil.copy(theirs / name, tmp_path / "tests" / name)
    (tmp_path / "conftest.py").write_text(OURS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--asyncio-mode=auto", "tests"]
    here = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | here, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
