"""Filters on records, in the operators of LangGraph's stores.

`{"speaker": "Anna", "position": {"$gte": 3}}`: every condition must hold. A name is a field of the record (`key`,
`kind`, `position`, `created_at`) or else a name in its metadata; a plain value means `$eq`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord

Filter = Mapping[str, Any]

_FIELDS = ("key", "kind", "position", "created_at")


def _same(found: Any, wanted: Any) -> bool:
    return bool(isinstance(found, bool) == isinstance(wanted, bool) and found == wanted)


def _order(found: Any, wanted: Any) -> int | None:
    """-1, 0 or 1 for two numbers or two strings; None where they have no order."""
    for kinds in ((int, float), (str,)):
        if all(isinstance(value, kinds) and not isinstance(value, bool) for value in (found, wanted)):
            return int(found > wanted) - int(found < wanted)
    return None


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _same,
    "$ne": lambda found, wanted: not _same(found, wanted),
    "$gt": lambda found, wanted: _order(found, wanted) == 1,
    "$gte": lambda found, wanted: _order(found, wanted) in (0, 1),
    "$lt": lambda found, wanted: _order(found, wanted) == -1,
    "$lte": lambda found, wanted: _order(found, wanted) in (0, -1),
}


def conditions(filter: Filter | None) -> list[tuple[str, str, Any]]:
    """`filter` as (name, operator, value) triples.

    Raises:
        ConfigError: it is not a mapping, or an operator is unknown.
    """
    if not isinstance(filter, Mapping | None):
        raise ConfigError(f"a filter is a mapping such as {{'kind': 'semantic'}}, not {filter!r}")
    triples = []
    for name, wanted in (filter or {}).items():
        operators = wanted if isinstance(wanted, Mapping) and any(str(key).startswith("$") for key in wanted) else None
        for operator, value in (operators or {"$eq": wanted}).items():
            if operator not in _OPERATORS:
                raise ConfigError(
                    f"unknown operator {operator!r} in filter on {name!r}; choose {', '.join(_OPERATORS)}"
                )
            triples.append((name, operator, value))
    return triples


def matches(record: MemoryRecord, filter: Filter | None) -> bool:
    """Whether every condition of `filter` holds for `record`; None matches all.

    Raises:
        ConfigError: an operator is unknown.
    """
    return all(_OPERATORS[operator](_find(record, name), value) for name, operator, value in conditions(filter))


def _find(record: MemoryRecord, name: str) -> Any:
    if name not in _FIELDS:
        return record.metadata.get(name)
    found = getattr(record, name)
    return found.isoformat() if name == "created_at" and found else found
