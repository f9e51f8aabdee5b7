"""Filters on records, in the operators of LangGraph's stores, and `$in`: one of several strings.

`{"speaker": "Anna", "position": {"$gte": 3}}`: every condition must hold. A name is a field of the record (`key`,
`kind`, `position`, `created_at`) or else a name in its metadata; a plain value means `$eq`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.records import MemoryRecord

Filter = Mapping[str, Any]

_FIELDS = ("key", "kind", "position", "created_at")


def _is_choice(value: Any) -> bool:
    # A frozenset comes from the library itself, and may be large.
    return isinstance(value, frozenset) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _same(found: Any, wanted: Any) -> bool:
    return bool(isinstance(found, bool) == isinstance(wanted, bool) and found == wanted)


def _order(found: Any, wanted: Any) -> int | None:
    """-1, 0 or 1 for two numbers, strings or instants; None where they have no order."""
    for kinds in ((int, float), (str,), (datetime,)):
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
    "$in": lambda found, wanted: isinstance(found, str) and found in wanted,
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
        if str(name).startswith("$"):
            raise ConfigError(f"a filter has no {name!r}: every condition must hold; give names of fields or metadata")
        operators = wanted if isinstance(wanted, Mapping) and any(str(key).startswith("$") for key in wanted) else None
        for operator, value in (operators or {"$eq": wanted}).items():
            if operator not in _OPERATORS:
                raise ConfigError(
                    f"unknown operator {operator!r} in filter on {name!r}; choose {', '.join(_OPERATORS)}"
                )
            if operator == "$in" and not _is_choice(value):
                raise ConfigError(f"$in on {name!r} has {value!r}: give a list of strings")
            triples.append((name, operator, _instant(value) if name == "created_at" else value))
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
    return _instant(found) if name == "created_at" else found


def _instant(value: Any) -> datetime | None:
    """A date as an instant; without a time zone it is taken for UTC."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found and (found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, AttributeError) as exc:
        raise ConfigError(f"created_at is compared with {value!r}: give a date such as '2026-11-20T09:30:00Z'") from exc
