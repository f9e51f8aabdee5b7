"""A reader may refuse records before they are written."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, ContextOverflow, Memory, MemoryRecord, RecordError
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace


class Refusing(ChromaReader):
    """Refuses long texts; counts what it is shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, embeddings=LexicalEmbeddings(256))
        self.checked: list[MemoryRecord] = []

    def check(self, records: Sequence[MemoryRecord]) -> None:
        self.checked += records
        if any(len(record.text) > 9 for record in records):
            raise ContextOverflow("too long")


def test_what_the_reader_refuses_is_not_written(tmp_path: Path, namespace: Namespace) -> None:
    reader = Refusing(tmp_path)
    with Memory(reader, store=InMemoryStore()) as memory:
        memory.write(namespace, "short")
        before = memory.records(namespace)
        for write in (memory.write, lambda *given: asyncio.run(memory.awrite(*given))):
            with pytest.raises(ContextOverflow, match="too long"):
                write(namespace, ["short, too", MemoryRecord(text="much too long", key="long")])
        assert memory.records(namespace) == before
        memory.flush()
        assert [record.text for record in reader.checked] == ["short", *["short, too", "much too long"] * 2]


def test_a_reader_is_shown_valid_records_only(tmp_path: Path, namespace: Namespace) -> None:
    reader = Refusing(tmp_path)
    with Memory(reader, store=InMemoryStore()) as memory:
        with pytest.raises(RecordError):
            memory.write(namespace, ["short", " "])
        assert reader.checked == []
        keys = memory.write(namespace, (text for text in ("a", "b")))
        assert [record.text for record in reader.checked] == ["a", "b"]
        assert [record.key for record in memory.records(namespace)] == keys


def test_an_import_that_the_reader_refuses_is_not_written(tmp_path: Path, namespace: Namespace) -> None:
    rows = tmp_path / "rows.jsonl"
    with Memory(ChromaReader(tmp_path / "other", embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        memory.write(namespace, ["short", "much too long"])
        memory.export_jsonl(namespace, rows)
    with Memory(Refusing(tmp_path / "chroma"), store=InMemoryStore()) as memory:
        with pytest.raises(ContextOverflow):
            memory.import_jsonl(namespace, rows)
        assert memory.records(namespace) == []
