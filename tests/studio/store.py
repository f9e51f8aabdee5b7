"""The server's store: one that a reader answers for. `"store": {"path": "tests/studio/store.py:store"}`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, Memory, MemoryStore
from linmem_langgraph.embeddings import LexicalEmbeddings


@asynccontextmanager
async def store() -> AsyncIterator[MemoryStore]:
    memory = await asyncio.to_thread(
        lambda: Memory(ChromaReader(embeddings=LexicalEmbeddings()), store=InMemoryStore())
    )
    try:
        yield MemoryStore(memory)
    finally:
        await memory.aclose()
