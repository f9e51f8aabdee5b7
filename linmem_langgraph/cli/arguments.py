"""What is typed on the command line, as the library takes it."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from linmem_langgraph.errors import ConfigError, NamespaceError

Labels = tuple[str, ...]

Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="The memory's folder.")]
Namespace = Annotated[
    str, typer.Argument(metavar="NAMESPACE", help='Whose memory: users/anna, or as JSON: \'["users", "a/b"]\'.')
]
ReaderName = Annotated[str, typer.Option("--reader", metavar="NAME", help="The reader, by name.")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="An option of the reader; the value is JSON, or else text. Repeatable."
    ),
]
Until = Annotated[int | None, typer.Option(metavar="POSITION", help="As of this position, inclusive.")]
Filter = Annotated[
    str | None, typer.Option(metavar="JSON", help='Conditions on fields and metadata: \'{"kind": "semantic"}\'.')
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def parse_namespace(text: str) -> Labels:
    """`users/anna`, or a JSON array for labels that hold a slash: `["users", "a/b"]`.

    Raises:
        NamespaceError: it is neither.
    """
    from linmem_langgraph.namespaces import check

    if not text.startswith("["):
        return check(tuple(text.split("/")))
    labels = _json(text, None)
    if not isinstance(labels, list):
        raise NamespaceError(
            f'the namespace {text!r} begins with "[" and is no JSON array: write users/anna or ["users", "a/b"]'
        )
    return check(tuple(labels))


def format_namespace(namespace: Labels) -> str:
    """What `parse_namespace` reads back."""
    text = "/".join(namespace)
    plain = not text.startswith("[") and tuple(text.split("/")) == namespace
    return text if plain else json.dumps(namespace, ensure_ascii=False)


def parse_options(pairs: Iterable[str]) -> dict[str, Any]:
    """`name=value` each; a value is JSON, or else text.

    Raises:
        ConfigError: one has no name or no `=`.
    """
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {pair!r} is not NAME=VALUE, such as embeddings=lexical")
        # Not YAML, which reads "off" as false and "vllm:" as a mapping.
        options[name] = _json(value, value)
    return options


def parse_exclude(values: Iterable[str]) -> frozenset[int | str]:
    """Positions and keys; a key that looks like a position is written as a JSON string: `'"12"'`."""
    from linmem_langgraph.records import MAX_POSITION

    found: set[int | str] = set()
    for value in values:
        parsed = _json(value, value)
        # A made key can be all digits; it is too large for a position then.
        is_position = type(parsed) is int and parsed <= MAX_POSITION
        found.add(parsed if is_position or isinstance(parsed, str) else value)
    return frozenset(found)


def parse_object(option: str, text: str | None) -> dict[str, Any] | None:
    """The JSON object given for `option`; None where nothing was.

    Raises:
        ConfigError: it is something else.
    """
    if text is None:
        return None
    parsed = _json(text, None)
    if not isinstance(parsed, dict):
        raise ConfigError(f'{option} {text!r:.200} is not a JSON object: write it as \'{{"speaker": "Anna"}}\'')
    return parsed


def _json(text: str, otherwise: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise
