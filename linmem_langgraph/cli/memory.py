"""The commands that need a reader: write, read, forget, import, rebuild."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linmem_langgraph.cli import output
from linmem_langgraph.cli.arguments import (
    Filter,
    Folder,
    Json,
    Namespace,
    Options,
    ReaderName,
    Until,
    format_namespace,
    parse_exclude,
    parse_namespace,
    parse_object,
)
from linmem_langgraph.cli.folders import existing, opened, other_readers
from linmem_langgraph.errors import ConfigError

if TYPE_CHECKING:
    from linmem_langgraph.records import MemoryRecord


def write(
    folder: Folder,
    namespace: Namespace,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="A text; after -- if it begins with a dash. - alone is stdin."),
    ] = None,
    file: Annotated[str | None, typer.Option(metavar="FILE", help="A file with a record a line.")] = None,
    position: Annotated[int | None, typer.Option(metavar="POSITION", help="Place in time; else the next one.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="A known key replaces its record.")] = None,
    kind: Annotated[str | None, typer.Option(metavar="LABEL", help='"episodic" unless given.')] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="Values by name, in an object.")] = None,
    created_at: Annotated[str | None, typer.Option(metavar="DATE", help="When it happened, in ISO 8601.")] = None,
    reader: ReaderName = "chroma",
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Remember texts, and print their keys.

    Lines of a file or of stdin are texts; if the first begins with a brace, all are records as `export` writes them.
    Either every record is written or none. The folder is made if it is not there.

    Ends when the reader has followed. If that fails, the log has the records all the same, a warning says what failed,
    and the next read tries again.

    \b
    linmem write my_memory users/anna "Anna lives in Oslo." --set embeddings=lexical
    """
    fields = {
        "position": position,
        "key": key,
        "kind": kind,
        "metadata": parse_object("--metadata", metadata),
        "created_at": created_at,
    }
    records = _given(texts or [], file, {name: value for name, value in fields.items() if value is not None})
    if key is not None and len(records) > 1:
        raise ConfigError(f"--key {key!r} names one record, but {len(records)} were given: write them one by one")
    keys, warning = _write(folder, namespace, records, reader, options)
    if as_json:
        output.print_json({"keys": keys, "warning": warning})
    else:
        output.print_lines(keys)


def import_(
    folder: Folder,
    namespace: Namespace,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A JSON Lines file; - is stdin.")],
    reader: ReaderName = "chroma",
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Write the records of a file that `export` made.

    Like `write --file`, but every line must be a record. Importing a file again changes nothing.

    \b
    linmem import my_memory users/anna anna.jsonl --set embeddings=lexical
    """
    from linmem_langgraph import jsonl
    from linmem_langgraph.cli import rows

    records = jsonl.from_rows(*rows.read_source(file))
    keys, warning = _write(folder, namespace, records, reader, options)
    if as_json:
        output.print_json({"keys": keys, "warning": warning})
    else:
        output.print_lines([f"{len(keys)} records in {namespace}"])


def read(
    folder: Folder,
    namespace: Namespace,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question or a search text.")],
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most so many; else the reader's own.")] = None,
    until: Until = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="POSITION|KEY", help="Leave out a position, or a key. Repeatable."),
    ] = None,
    filter: Filter = None,
    reader: ReaderName = "chroma",
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Answer a query from the memory.

    \b
    linmem read my_memory users/anna "Where does Anna live?" --limit 1 --set embeddings=lexical
    """
    place, conditions = parse_namespace(namespace), parse_object("--filter", filter)
    seen = parse_exclude(exclude or ())
    with existing(folder, reader, options) as memory:
        reading = memory.read(place, query, limit=limit, until=until, exclude=seen, filter=conditions)
    if as_json:
        output.print_json(reading.model_dump(mode="json"))
    else:
        output.print_reading(reading)


def forget(
    folder: Folder,
    namespace: Namespace,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY", help="The keys of records.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole namespace; not those below it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reader: ReaderName = "chroma",
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Forget records for good, and print a receipt.

    They go from the log and from what the reader keeps. On a terminal it asks first.

    \b
    linmem forget my_memory users/anna 0c5ab47b9fd34ae5a2a8
    """
    place = parse_namespace(namespace)
    if everything == bool(keys):
        raise ConfigError("what to forget: give the keys of records, or --all for the whole namespace, and not both")
    with existing(folder, reader, options) as memory:
        if not yes and sys.stdin.isatty():
            what = "everything" if everything else f"{len(keys or ())} key(s)"
            _confirm(f"Forget {what} of {output.visible(format_namespace(place))} for good?")
        receipt = memory.forget(place, None if everything else keys)
    for other in other_readers(folder, reader):
        output.report("warning", f"what the {other} reader keeps was not cleaned: do the same with --reader {other}")
    if as_json:
        output.print_json(receipt.model_dump(mode="json"))
    else:
        output.print_receipt(receipt)


def rebuild(
    folder: Folder,
    namespace: Namespace,
    reader: ReaderName = "chroma",
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Derive what the reader keeps anew from the log.

    \b
    linmem rebuild my_memory users/anna --set embeddings=lexical
    """
    place = parse_namespace(namespace)
    with existing(folder, reader, options) as memory:
        memory.rebuild(place)
        count = len(memory.records(place))
    if as_json:
        output.print_json({"namespace": place, "reader": reader, "records": count})
    else:
        output.print_lines([f"the {reader} reader has read {count} records of {namespace} anew"])


def _given(texts: list[str], file: str | None, fields: dict[str, Any]) -> "list[MemoryRecord]":
    from linmem_langgraph.cli import rows

    if bool(texts) == (file is not None):
        raise ConfigError("what to write: give texts, - for stdin, or --file FILE, one of them")
    source = rows.STREAM if texts == [rows.STREAM] else file
    return rows.from_texts(texts, fields) if source is None else rows.from_lines(*rows.read_source(source), fields)


def _write(
    folder: str, namespace: str, records: "list[MemoryRecord]", reader: str, options: list[str] | None
) -> tuple[list[str], str | None]:
    """Write, and wait for the reader: the keys, and what kept it from following."""
    from linmem_langgraph import updates

    place = parse_namespace(namespace)
    with opened(folder, reader, options) as memory, _silent(updates.logger):
        keys = memory.write(place, records)
        try:
            memory.flush()
        except Exception as exc:  # whatever a reader raises
            warning = f"the log has the records, but the {reader} reader could not follow, the next read tries again: "
            warning += str(exc)
            output.report("warning", warning)
            return keys, warning
    return keys, None


def _confirm(question: str) -> None:
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort as exc:  # typer's word for Ctrl-C at a question
        raise typer.Exit(130) from exc
    if not agreed:
        raise typer.Exit(1)


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """While a command tells itself what would be logged."""
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False
