"""langmem's own tools over a `MemoryStore`, unchanged."""

import warnings
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, LinearReader, Memory, Reader
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.store import MemoryStore
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import ModelServer
from tests.readers.linear.words import everything


def langmem_tools(store: MemoryStore) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langmem import create_manage_memory_tool, create_search_memory_tool

    namespace = ("memories", "{langgraph_user_id}")
    return (
        create_manage_memory_tool(namespace=namespace, store=store),
        create_search_memory_tool(namespace=namespace, store=store),
    )


@pytest.mark.parametrize("reads", ["chroma", "linear"])
def test_a_reader_answers_langmems_search(reads: str) -> None:
    with ModelServer(everything) as server:
        reader: Reader = (
            ChromaReader(embeddings=LexicalEmbeddings())
            if reads == "chroma"
            else LinearReader(ChatVLLM(base_url=server.base_url))
        )
        with Memory(reader, store=InMemoryStore()) as memory:
            manage, search = langmem_tools(MemoryStore(memory, answers=True))
            anna, bert = ({"configurable": {"langgraph_user_id": user}} for user in ("anna", "bert"))
            made = manage.invoke({"content": "Anna likes tea."}, anna)
            manage.invoke({"content": "Bert likes coffee."}, bert)
            found = search.invoke({"query": "What does she like?"}, anna)
            assert "Anna likes tea." in found
            assert "coffee" not in found
            assert ("reading" in found) == (reads == "linear")
            manage.invoke({"content": "Anna likes milk.", "action": "update", "id": made.rpartition(" ")[2]}, anna)
            found = search.invoke({"query": "What does she like?"}, anna)
            assert "milk" in found
            assert "tea" not in found
            manage.invoke({"action": "delete", "id": made.rpartition(" ")[2]}, anna)
            assert "milk" not in search.invoke({"query": "milk"}, anna)
