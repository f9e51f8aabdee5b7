"""python -m evals: `runs`, `tables`, `readers` and `data` have the commands."""

import sys

import typer

from evals.cli import data, readers, runs, tables
from linmem_langgraph.errors import LinmemError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Drive the M3-Agent loop over a benchmark.")
for module in (runs, tables, readers, data):
    app.add_typer(module.commands)


def main() -> None:
    """Run the command; an error of ours is one line, not a traceback."""
    try:
        app()
    except LinmemError as exc:
        print(f"error: {' '.join(str(exc).split())}", file=sys.stderr)
        raise SystemExit(2) from exc
