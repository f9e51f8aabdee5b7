"""python -m evals.fuzz: damaged files, given to every loader.

Each is read, or refused in words that name it. Anything else ends the run with another status than 0: another error,
something read that is not valid, an import, a file elsewhere, a process or a socket (`sys.addaudithook`), a class
changed, more memory than the limit, more time than the limit. The file that did it is kept and named.

Files are written in the folder for temporary ones: `TMPDIR=/dev/shm` is several times as fast as some disks.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from evals.fuzz import benchmarks, graphs, rows
from evals.fuzz.run import limit_memory, read_damaged


def main(
    graph: Annotated[list[Path] | None, typer.Option(help="A memory graph to damage; repeatable.")] = None,
    files: Annotated[int, typer.Option(min=1, help="How many damaged ones of each kind are read.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Another seed: other damage.")] = 0,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; repeatable.", show_default="all")] = None,
) -> None:
    """Read damaged annotations, memories, LoCoMo and household files, run files, and, if given, memory graphs."""
    with TemporaryDirectory() as folder:
        known = benchmarks.targets(Path(folder)) | rows.targets(Path(folder))
        if graph:
            known["graphs"] = graphs.target(graph)
        if unknown := set(kind or ()) - set(known):
            raise typer.BadParameter(f"unknown kind {min(unknown)!r}; choose {', '.join(known)} (graphs needs --graph)")
        limit_memory()
        for name in kind or known:
            print(read_damaged(name, known[name], files, seed), flush=True)


if __name__ == "__main__":
    typer.run(main)
