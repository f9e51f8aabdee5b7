"""A small memory of clips, read by position as the M3-Agent's is, without a model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.tools import BaseTool
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, Memory, MemoryRecord, create_search_memory_tool
from linmem_langgraph.embeddings import LexicalEmbeddings

NAMESPACE = ("video", "kitchen_99")
CLIPS = {
    0: ["Lily puts the red mug on the table.", "Lily says: good morning."],
    1: ["Jack takes the red mug.", "咖啡机在窗边。 The coffee machine is near the window."],
    2: ["Anna hangs a blue coat on the rack."],
    4: ["Jack washes the red mug in the sink."],
}


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    reader = ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(), by="position", limit=1, threshold=0.2)
    with Memory(reader, store=InMemoryStore()) as memory:
        memory.write(
            NAMESPACE, [MemoryRecord(text=text, position=clip) for clip, texts in CLIPS.items() for text in texts]
        )
        yield memory


@pytest.fixture
def search(memory: Memory) -> BaseTool:
    return create_search_memory_tool(memory, namespace=NAMESPACE)
