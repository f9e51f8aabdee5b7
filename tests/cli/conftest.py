"""A small memory for the command."""

from pathlib import Path

import pytest

from linmem_langgraph import Memory, MemoryRecord
from linmem_langgraph.embeddings import LexicalEmbeddings

pytest.register_assert_rewrite("tests.cli.running")


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
