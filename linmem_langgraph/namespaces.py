"""Whose memory it is: checking namespaces, encoding them for a store, filling templates at run time."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from linmem_langgraph.errors import NamespaceError

Namespace = tuple[str, ...]

ITEMS = "linmem.items"
"""The first label of the namespaces in which a `MemoryStore` keeps its items' texts; no run may name one of them."""

_FIELD = re.compile(r"\{([^{}]*)\}")


def check(namespace: Namespace) -> Namespace:
    """`namespace` itself if it is a valid one.

    Raises:
        NamespaceError: it is not a non-empty tuple of non-empty strings, or it begins with "langgraph".
    """
    if not isinstance(namespace, tuple) or not namespace:
        raise NamespaceError(
            f"a namespace is a non-empty tuple of strings such as ('users', 'anna'), not {namespace!r}"
        )
    for label in namespace:
        if not isinstance(label, str):
            raise NamespaceError(f"namespace label {label!r} in {namespace!r} is not a string: write {str(label)!r}")
        if not label.strip():
            raise NamespaceError(f"namespace {namespace!r} has an empty label: every label needs a visible character")
        try:
            label.encode()
        except UnicodeEncodeError:
            raise NamespaceError(f"namespace label {label!r} has a lone surrogate: decode it as UTF-8 first") from None
    if namespace[0] == "langgraph":
        raise NamespaceError(
            f"namespace {namespace!r} begins with 'langgraph', which LangGraph reserves: choose another"
        )
    return namespace


def encode(namespace: Namespace) -> Namespace:
    """`namespace` in labels every LangGraph store takes: `%`, `.` and NUL percent-encoded; one to one."""
    return tuple(label.replace("%", "%25").replace(".", "%2E").replace("\x00", "%00") for label in check(namespace))


def decode(labels: Namespace) -> Namespace:
    """The namespace that `encode` turned into `labels`."""
    return tuple(unquote(label) for label in labels)


class NamespaceTemplate:
    """A namespace with fields to be filled at run time: `("users", "{user_id}")`, `("user-{user_id}",)`.

    A field's value comes from the run-time context, else from `config["configurable"]`, else from the user whom a
    LangGraph server has authenticated (its attributes; `user_id` also means its `identity`). Clients of a server set
    context and configurable: where the authenticated user has a value, another one there is refused; what the user has
    no value for, and everything where nobody is authenticated, is theirs to choose. Strings, integers and UUIDs are
    values; there is no default.

    Raises:
        NamespaceError: a label is empty, or a brace is not part of a `{field}`.
    """

    def __init__(self, labels: Namespace | str) -> None:
        self.labels = check((labels,) if isinstance(labels, str) else labels)
        self.fields = tuple(dict.fromkeys(field for label in self.labels for field in _FIELD.findall(label)))
        for label in self.labels:
            rest = _FIELD.sub("", label)
            if "{" in rest or "}" in rest or "{}" in label:
                raise NamespaceError(f"namespace label {label!r} has a brace that names no field: write '{{user_id}}'")
            if len(_FIELD.findall(label)) > 1:
                # "{org}-{user}" would be the same namespace for (a-b, c) and (a, b-c).
                raise NamespaceError(
                    f"namespace label {label!r} has two fields: write two labels, so that they stay apart"
                )

    def fill(
        self, *, context: Any = None, configurable: Mapping[str, Any] | None = None, user: Any = None
    ) -> Namespace:
        """The namespace of this run.

        Raises:
            NamespaceError: a field has no value, one that cannot name a namespace, or another than the authenticated
                user's; or the namespace is one of a `MemoryStore`'s own.
        """
        values = {field: _value(field, context, configurable or {}, user) for field in self.fields}
        filled = check(tuple(_FIELD.sub(lambda match: values[match[1]], label) for label in self.labels))
        if filled[0] == ITEMS:
            raise NamespaceError(f"namespace {filled!r} begins with {ITEMS!r}, where a MemoryStore keeps its own")
        return filled


def authenticated(user: Any) -> bool:
    """Whether `user`, as a LangGraph server gives it, is somebody: without authentication its identity is empty."""
    return bool(_look_up(user, "identity"))


def _value(field: str, context: Any, configurable: Mapping[str, Any], user: Any) -> str:
    given = _look_up(context, field)
    given = configurable.get(field) if given is None else given
    own = _of_user(user, field) if authenticated(user) else None
    if own is not None:
        return _own(field, own, given, user)
    if given is None:
        raise NamespaceError(f"the namespace needs {{{field}}}, and this run gives none: {_fix(field)}")
    return _as_label(field, given)


def _own(field: str, own: Any, given: Any, user: Any) -> str:
    value = _as_label(field, own)
    # A server puts the user's identity, or that of the thread's first user, into configurable as `user_id`.
    names = {value, str(_look_up(user, "identity"))} if field == "user_id" else {value}
    if given is not None and _as_label(field, given) not in names:
        raise NamespaceError(
            f"{{{field}}} is {given!r}, but the authenticated user's is {value!r}: leave it out of context and "
            "configurable, and let every user have threads of their own; a server that acts for other users needs a "
            "field that its own user has not, such as {end_user_id}"
        )
    return value


def _fix(field: str) -> str:
    return f"pass context={{{field!r}: ...}} or config={{'configurable': {{{field!r}: ...}}}}"


def _look_up(source: Any, field: str) -> Any:
    if isinstance(source, Mapping):
        return source.get(field)
    return getattr(source, field, None)


def _of_user(user: Any, field: str) -> Any:
    found = _look_up(user, field)
    return _look_up(user, "identity") if found is None and field == "user_id" else found


def _as_label(field: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID)):
        raise NamespaceError(f"{{{field}}} is {value!r}: a namespace is named by a string, an integer or a UUID")
    if not str(value).strip():
        raise NamespaceError(
            f"{{{field}}} is empty ({value!r}), and would be shared by everyone without a name: {_fix(field)}"
        )
    return str(value)
