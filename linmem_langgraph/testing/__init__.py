"""For the tests of agents that have a memory, and of those who extend it; install the extra `testing`.

- `ReaderConformance`: what every reader must do. `StoreConformance`: what every LangGraph store must do, other users'
  items and texts that are gone above all. Let pytest explain their assertions: in a `conftest.py`,
  `pytest.register_assert_rewrite("linmem_langgraph.testing")`.
- `langsmith_server`: a fixture, a LangSmith of your own on loopback that shows which runs were traced.

Names load when they are first used: some of them need pytest, some Hypothesis.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linmem_langgraph.testing.langsmith import LangSmithServer, TracedRun, langsmith_server
    from linmem_langgraph.testing.readers import ReaderConformance, ReaderHarness
    from linmem_langgraph.testing.stores import StoreConformance, StoreHarness

_HOMES = {
    "langsmith": "LangSmithServer TracedRun langsmith_server",
    "readers": "ReaderConformance ReaderHarness",
    "stores": "StoreConformance StoreHarness",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "LangSmithServer",
    "ReaderConformance",
    "ReaderHarness",
    "StoreConformance",
    "StoreHarness",
    "TracedRun",
    "langsmith_server",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
