"""The commands that need the log alone: records, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linmem_langgraph.cli import output
from linmem_langgraph.cli.arguments import (
    Filter,
    Folder,
    Json,
    Labels,
    Namespace,
    Until,
    format_namespace,
    parse_namespace,
    parse_object,
)
from linmem_langgraph.cli.folders import log_store
from linmem_langgraph.errors import ConfigError

if TYPE_CHECKING:
    from linmem_langgraph.records import MemoryRecord


def records(
    folder: Folder,
    namespace: Annotated[
        str | None, typer.Argument(metavar="NAMESPACE", help="Whose memory; without it, namespaces are listed.")
    ] = None,
    until: Until = None,
    filter: Filter = None,
    as_json: Json = False,
) -> None:
    """List the records, or without a NAMESPACE the namespaces.

    Reads the log alone: no reader is needed.

    \b
    linmem records my_memory users/anna --until 31
    """
    if namespace is None:
        if until is not None or filter is not None:
            raise ConfigError("--until and --filter choose among the records of a namespace: name one")
        _show_namespaces(_namespaces(folder), as_json)
        return
    found = _logged(folder, namespace, until, parse_object("--filter", filter))
    if as_json:
        output.print_json([record.model_dump(mode="json") for record in found])
    elif found:
        output.print_records(found)


def export(
    folder: Folder,
    namespace: Namespace,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A JSON Lines file; - is stdout.")],
    as_json: Json = False,
) -> None:
    """Write all records to a JSON Lines file.

    Reads the log alone: no reader is needed. Imported elsewhere and exported again, the file is the same to the byte.

    \b
    linmem export my_memory users/anna anna.jsonl
    """
    from linmem_langgraph import jsonl
    from linmem_langgraph.cli import rows

    if file == rows.STREAM and as_json:
        raise ConfigError("--json and an export to - would both print to stdout: leave out one")
    found = _logged(folder, namespace)
    if file == rows.STREAM:
        typer.echo(jsonl.to_rows(found), nl=False)
    elif as_json:
        output.print_json({"records": jsonl.write_jsonl(Path(file), found), "file": file})
    else:
        output.print_lines([f"{jsonl.write_jsonl(Path(file), found)} records in {file}"])


def _logged(
    folder: str, namespace: str, until: int | None = None, filter: dict[str, Any] | None = None
) -> "list[MemoryRecord]":
    from linmem_langgraph.log import Log

    with log_store(folder) as store:
        log = Log(store, parse_namespace(namespace))
        found = log.records(until=until, filter=filter)
        if not log.head().count:
            output.report("warning", f"{namespace} has no records; without a namespace, linmem records lists them all")
    return found


def _namespaces(folder: str) -> dict[Labels, int]:
    """All namespaces, and how many records each has."""
    from linmem_langgraph.log import counts

    with log_store(folder) as store:
        return counts(store)


def _show_namespaces(counts: dict[Labels, int], as_json: bool) -> None:
    if as_json:
        output.print_json([{"namespace": labels, "records": count} for labels, count in counts.items()])
    elif counts:
        output.print_table({"namespace": list(map(format_namespace, counts)), "records": list(counts.values())})
    else:
        output.report("warning", "the memory is empty")
