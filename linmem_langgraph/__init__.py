"""Long-term memory for LangGraph: one log, many readers.

Names are loaded when they are first used: importing this package opens nothing and reads no environment.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linmem_langgraph.errors import (
        ConfigError,
        ContextOverflow,
        LinmemError,
        NamespaceError,
        ReaderUnavailable,
        RecordError,
        UnsafeFile,
    )
    from linmem_langgraph.memory import Memory
    from linmem_langgraph.middleware import MemoryMiddleware as MemoryMiddleware
    from linmem_langgraph.nodes import recall_node, remember_node
    from linmem_langgraph.readers.base import Reader
    from linmem_langgraph.readers.chroma import ChromaReader
    from linmem_langgraph.readers.delta import DeltaReader
    from linmem_langgraph.readers.hybrid import HybridReader
    from linmem_langgraph.readers.linear import LinearReader
    from linmem_langgraph.readers.rolling import RollingReader
    from linmem_langgraph.records import ForgetReceipt, MemoryRecord, Reading, ScoredRecord
    from linmem_langgraph.store import MemoryStore
    from linmem_langgraph.tools import create_manage_memory_tool, create_search_memory_tool

_HOMES = {
    "errors": "ConfigError ContextOverflow LinmemError NamespaceError ReaderUnavailable RecordError UnsafeFile",
    "memory": "Memory",
    "middleware": "MemoryMiddleware",
    "nodes": "recall_node remember_node",
    "readers.base": "Reader",
    "readers.chroma": "ChromaReader",
    "readers.delta": "DeltaReader",
    "readers.hybrid": "HybridReader",
    "readers.linear": "LinearReader",
    "readers.rolling": "RollingReader",
    "records": "ForgetReceipt MemoryRecord Reading ScoredRecord",
    "store": "MemoryStore",
    "tools": "create_manage_memory_tool create_search_memory_tool",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

# `MemoryMiddleware` is not among them: it needs langchain, which `import *` must not.
__all__ = [
    "ChromaReader",
    "ConfigError",
    "ContextOverflow",
    "DeltaReader",
    "ForgetReceipt",
    "HybridReader",
    "LinearReader",
    "LinmemError",
    "Memory",
    "MemoryRecord",
    "MemoryStore",
    "NamespaceError",
    "Reader",
    "ReaderUnavailable",
    "Reading",
    "RecordError",
    "RollingReader",
    "ScoredRecord",
    "UnsafeFile",
    "create_manage_memory_tool",
    "create_search_memory_tool",
    "recall_node",
    "remember_node",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
