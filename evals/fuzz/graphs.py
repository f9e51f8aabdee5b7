"""Memory graphs of M3-Agent: pickles, read as one or refused with `UnsafeFile`."""

import pickletools
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from evals.fuzz.damage import damaged
from evals.fuzz.run import Target
from evals.m3_graphs.convert import records
from evals.m3_graphs.graph import Graph, TextNode, read_graph
from evals.m3_graphs.pickled import Made, Named
from linmem_langgraph.errors import UnsafeFile

SNIPPETS = (
    b"cos\nsystem\n",
    b"\x8c\x02os\x8c\x06system\x93",
    b"cbuiltins\neval\n",
    b"(S'id'\ntR",
    b"\x8c\x11mmagent.videograph\x8c\nVideoGraph\x93",
    b")\x81}b",
    b"\x94h\x00h\x00\x86",
    b"](h\x00h\x00e",
    b"\x8e" + b"\xff" * 8,
    b"G\x7f\xf8" + b"\x00" * 6,
    b"\x8a\xff" + b"\x7f" * 255,
    b"(" * 200,
    *(opcode.code.encode("latin-1") for opcode in pickletools.opcodes),
)

damaged_graph = partial(damaged, snippets=SNIPPETS)


def target(files: Sequence[Path]) -> Target:
    """Damaged copies of memory graphs."""
    classes = (Made, Named, Graph, TextNode, np.ndarray, dict, list, object)
    return Target([file.read_bytes() for file in files], damaged_graph, _read, classes)


def _read(content: bytes) -> bool:
    try:
        records(read_graph(content, "damaged"), Counter())
    except UnsafeFile:
        return False
    return True
