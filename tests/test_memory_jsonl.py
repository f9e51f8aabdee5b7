"""Export and import: a namespace comes back byte for byte, or not at all."""

import json
from pathlib import Path

import pytest
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ChromaReader, Memory, MemoryRecord, RecordError
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace
from tests.stores import HostileStore


def test_a_namespace_comes_back_from_jsonl_byte_for_byte(tmp_path: Path, namespace: Namespace) -> None:
    there, back = tmp_path / "there.jsonl", tmp_path / "back.jsonl"
    with Memory(ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256)), store=HostileStore()) as memory:
        given = [
            MemoryRecord(text="咖啡\nline \u2028 x", position=3, metadata={"who": "anna", "n": [1, 2.5, None]}),
            MemoryRecord(text="b", position=3, kind="semantic", key="a key"),
            MemoryRecord(text="c", position=1, created_at="2023-05-08T13:56:00+02:00"),
            MemoryRecord(text="d"),
        ]
        memory.write(namespace, given)
        assert memory.export_jsonl(namespace, there) == 4
        other = (*namespace, "other")
        keys = memory.import_jsonl(other, there)
        assert keys == [record.key for record in memory.records(namespace)]
        assert memory.records(other) == memory.records(namespace)
        memory.export_jsonl(other, back)
        assert back.read_bytes() == there.read_bytes()
        assert memory.import_jsonl(namespace, back) == keys
        assert memory.records(other) == memory.records(namespace)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": "cut o', r"line 2.*cut off"),
        ('{"position": 1}', r"line 2.*text"),
        ('{"text": "x", "position": -1}', r"line 2.*position"),
        ('{"text": "x", "speaker": "anna"}', r"line 2.*speaker"),
        ("[]", "line 2"),
        (json.dumps({"text": "x\x00"}), "line 2.*NUL"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_imported(tmp_path: Path, row: str, message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"text": "good"}}\n{row}\n')
    with Memory(ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256)), store=InMemoryStore()) as memory:
        with pytest.raises(RecordError, match=message):
            memory.import_jsonl(("a",), file)
        assert memory.records(("a",)) == []
