"""Values are read from pickles without running them, and what is no memory graph is refused."""

import os
import pickletools
import struct
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from evals.fuzz.graphs import damaged_graph
from evals.m3_graphs.graph import read_graph
from evals.m3_graphs.pickled import Made, values
from linmem_langgraph.errors import UnsafeFile
from tests.evals.m3_graphs.pickles import Harm, VideoGraph, graph, node, pickled

SMALL = graph([node(0, "img"), node(1, "episodic", "<face_0> sits."), node(2, "semantic", "It is hot.")], [(0, 1)])


def plain(value: Any) -> Any:
    """What `pickle` would give, but for graphs, nodes and arrays, which become dicts and lists."""
    if isinstance(value, Made):
        return plain(value.fields)
    if isinstance(value, VideoGraph | VideoGraph.Node):
        return plain(vars(value))
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        parts = [[*each] if isinstance(each, np.ndarray) else [plain(each)] for each in value]
        return [each for part in parts for each in part]
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize(
    "value",
    [
        SMALL,
        {"a": [1, -1, 2**40, True, None, "x", "\u20ac", b"bytes"], (1, 2): [0.5], "b": [0.5] * 2_500 + ["x", 1.5, 2.5]},
        [[], (), {}, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [(0.5, "x")], -(2**70)],
        [np.float32(0.25), np.float64(0.1), np.int64(7)],
    ],
)
def test_it_reads_what_pickle_reads(protocol: int, value: Any) -> None:
    assert plain(values(pickled(value, protocol), "file")) == plain(value)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i4", "|u1"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (0,)])
def test_it_reads_arrays(protocol: int, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for given in (array, np.asfortranarray(array)):
        first, second = values(pickled([given, given], protocol), "file")
        assert first is second
        assert first.fields.dtype == array.dtype
        assert np.array_equal(first.fields.reshape(shape), array)


def test_what_is_meant_twice_is_one() -> None:
    shared = ["x"]
    first, second = values(pickled([shared, shared]), "file")
    assert first is second


@pytest.mark.parametrize(
    "value",
    [
        Harm(os.system, "true"),
        Harm(eval, "1"),
        Harm(getattr, VideoGraph, "Node"),
        Harm(Harm.called.append, "x"),
        os.system,
        OrderedDict(a=1),
        {frozenset()},
        {(1, (2, 3)): 1},
        {1.5: 1},
        [1, Harm(VideoGraph)],
        np.array(["text"]),
        np.array([{"an": "object"}]),
        np.zeros((1, 1, 1)),
        np.datetime64("2026-01-01"),
        complex(1, 2),
    ],
    ids=repr,
)
@pytest.mark.parametrize("protocol", range(6))
def test_anything_else_is_refused(value: Any, protocol: int) -> None:
    with pytest.raises(UnsafeFile, match=r"file is refused: [A-Z_0-9]+ at byte [0-9]+: "):
        values(pickled(value, protocol), "file")
    assert Harm.called == []


@pytest.mark.parametrize("protocol", range(6))
def test_bytes_alone_are_no_graph(protocol: int) -> None:
    for value in (b"x", bytearray(b"x")):
        with pytest.raises(UnsafeFile, match="file is refused: "):
            read_graph(pickled(value, protocol), "file")


@pytest.mark.parametrize(
    "opcode", [opcode for opcode in pickletools.opcodes if opcode.name not in ("STOP", "PROTO", "FRAME")]
)
def test_an_opcode_that_nothing_leads_up_to_is_refused(opcode: Any) -> None:
    for rest in (b"", b"\x00" * 20, b"\xff" * 20, b"1\n2\n."):
        with pytest.raises(UnsafeFile):
            read_graph(b"\x80\x04" + opcode.code.encode("latin-1") + rest, "file")


def test_every_beginning_of_a_file_is_refused() -> None:
    content = pickled(SMALL)
    for length in range(len(content)):
        with pytest.raises(UnsafeFile, match="at byte"):
            values(content[:length], "file")
    with pytest.raises(UnsafeFile, match="1 bytes follow"):
        values(content + b".", "file")


@pytest.mark.parametrize("code", [b"X", b"B", b"\x8d", b"\x8e", b"\x96", b"\x8a", b"C", b"\x8c"])
def test_what_is_longer_than_the_file_takes_no_memory(code: bytes) -> None:
    tracemalloc.start()
    for size in (b"\xff" * 8, b"\xff\xff\xff\x7f" + b"\x00" * 4):
        with pytest.raises(UnsafeFile):
            values(b"\x80\x04" + code + size, "file")
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def bombs() -> dict[str, bytes]:
    """Small files that mean much, or are hard to walk through."""
    head, fields = b"\x80\x04", pickled(SMALL)
    nested = b"]\x94" + b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"e\x94" for n in range(60))
    tuples = b")\x94" + b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86\x94" for n in range(60))
    number = b"G" + struct.pack(">d", 0.5)
    return {
        "lists of lists": head + nested + b".",
        "a key of tuples": head + b"}" + tuples + b"Ks" + b".",
        "a deep list": head + b"]" * 10**6 + b"a" * (10**6 - 1) + b".",
        "a list in itself": head + b"]\x94h\x00a.",
        "fields of a class": head + b"\x8c\x12mmagent.videograph\x8c\x0aVideoGraph\x93}\x8c\x01aK\x01sb.",
        "fields twice": fields[:-1] + b"}b.",
        "floats for keys": head + b"}(" + number * 4 + b"u.",
        "floats for arguments": head + b"\x8c\x12mmagent.videograph\x8c\x0aVideoGraph\x93" + number * 3 + b"\x81.",
        "floats for fields": fields[:-1] + number * 3 + b"b.",
        "floats for all": head + number * 3 + b".",
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused_at_once(name: str) -> None:
    content = bombs()[name]
    tracemalloc.start()
    with pytest.raises(UnsafeFile):
        read_graph(content, "file")
    assert tracemalloc.get_traced_memory()[1] < 50 * len(content) + 10**6
    tracemalloc.stop()


def aliased(part: str) -> Any:
    """A graph in which very many nodes mean the same large part."""
    first = node(0, "episodic", "x" * 20_000, vectors=((0.5,) * 2_000,))
    vectors, texts = {
        "vector": (first.embeddings * 20, ["x"]),
        "vectors": (first.embeddings * 200, ["x"]),
        "empty": ([[]] * 20_000, ["x"]),
        "text": (first.embeddings, first.metadata["contents"] * 40),
    }[part]
    nodes = [first, *(node(number, "episodic") for number in range(1, 3_000))]
    for each in nodes[1:]:
        each.embeddings, each.metadata = vectors, {"contents": texts, "timestamp": 0}
    return graph(nodes)


@pytest.mark.parametrize("part", ["vector", "vectors", "empty", "text"])
def test_what_is_meant_often_is_not_unrolled(part: str) -> None:
    content = pickled(aliased(part))
    with pytest.raises(UnsafeFile, match="larger than its file"):
        read_graph(content, "file")


def test_no_class_is_changed() -> None:
    before = {kind: dict(vars(kind)) for kind in (VideoGraph, VideoGraph.Node, Made, np.ndarray)}
    for seed in range(300):
        try:
            read_graph(damaged_graph(pickled(SMALL), Random(seed)), "file")
        except UnsafeFile:
            continue
    assert before == {kind: dict(vars(kind)) for kind in before}


@pytest.mark.timeout(300)
def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "graph.pkl").write_bytes(pickled(SMALL))
    command = [sys.executable, "-m", "evals.fuzz", "--kind", "graphs"]
    done = subprocess.run(
        [*command, "--graph", str(tmp_path / "graph.pkl"), "--files", "3000", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert "3,000 files" in done.stdout


@pytest.mark.timeout(120)
def test_a_large_graph_is_read_in_little_memory() -> None:
    vector = tuple(np.random.default_rng(0).standard_normal(3_072).tolist())
    content = pickled(graph(node(n, "episodic", "x", vectors=((*vector, float(n)),)) for n in range(500)))
    tracemalloc.start()
    found = read_graph(content, "file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.texts) == 500
    assert peak < 3 * len(content)
