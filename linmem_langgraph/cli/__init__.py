"""The `linmem` command. What a command does not need is not imported."""

import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO, TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from linmem_langgraph.cli import memory, records
from linmem_langgraph.cli.doctor import doctor
from linmem_langgraph.cli.import_langmem import import_langmem
from linmem_langgraph.cli.output import report
from linmem_langgraph.cli.recommend import recommend
from linmem_langgraph.cli.serve import serve
from linmem_langgraph.errors import ConfigError, LinmemError

_INTERRUPTED = 130


class _Commands(TyperGroup):
    """An error of ours is one line and an exit code, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LinmemError as exc:
            report("error", exc)
            raise typer.Exit(2 if isinstance(exc, ConfigError) else 1) from exc
        except BrokenPipeError:  # typer ends quietly
            raise
        except OSError as exc:
            report("error", exc)
            raise typer.Exit(1) from exc


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=(
        "Results go to stdout, with --json as one JSON document; errors and warnings are lines on stderr, always. "
        "Exit codes: 0 done, 1 the reader or its server failed, 2 wrong arguments or set-up, 130 interrupted."
    ),
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"linmem {version('linmem-langgraph')}")
        except PackageNotFoundError:
            typer.echo("linmem, from a checkout that is not installed")
        raise typer.Exit


@app.callback()
def _linmem(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A long-term memory in a folder: one log, many readers.

    \b
    linmem write my_memory users/anna "Anna lives in Oslo." --set embeddings=lexical
    linmem read my_memory users/anna "Where does Anna live?" --set embeddings=lexical
    """


app.command()(memory.write)
app.command()(memory.read)
app.command()(records.records)
app.command()(memory.forget)
app.command()(records.export)
app.command("import")(memory.import_)
app.command()(import_langmem)
app.command()(memory.rebuild)
app.command()(serve)
app.command()(doctor)
app.command()(recommend)


class _Warnings(logging.Handler):
    """What the library warns of, as lines of a command's."""

    def emit(self, record: logging.LogRecord) -> None:
        report("warning", record.getMessage())


def main() -> None:
    """Run the command."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Warnings()])
    if sys.stdin is None:  # closed by whoever started it
        sys.stdin = TextIOWrapper(BytesIO())
    if isinstance(sys.stdout, TextIOWrapper):
        # Where the terminal's encoding lacks a character, an escape sequence is better than a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            # Python would first wait for the threads of a reader.
            os._exit(_INTERRUPTED)
        raise
