"""Opening a memory's folder for one command."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from linmem_langgraph.cli.arguments import parse_options
from linmem_langgraph.errors import ConfigError

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from linmem_langgraph.memory import Memory


@contextmanager
def opened(folder: str, reader: str, options: Iterable[str] | None) -> "Iterator[Memory]":
    """The memory in `folder`, made if it is not there.

    Raises:
        ConfigError: the folder is not a memory, or the reader or an option is unknown.
    """
    from linmem_langgraph.memory import Memory

    memory = Memory.open(_named(folder), reader, **parse_options(options or ()))
    try:
        yield memory
    except KeyboardInterrupt:
        # Closing would wait for the reader. The log has what was written, and the next read catches up.
        raise
    except BaseException:
        memory.close()
        raise
    memory.close()


@contextmanager
def existing(folder: str, reader: str, options: Iterable[str] | None) -> "Iterator[Memory]":
    """The memory in `folder`.

    Raises:
        ConfigError: there is none, or as `opened`.
    """
    _find(folder)
    with opened(folder, reader, options) as memory:
        yield memory


@contextmanager
def log_store(folder: str) -> "Iterator[BaseStore]":
    """The store of the log in `folder`; no reader is made.

    Raises:
        ConfigError: there is no memory.
    """
    from linmem_langgraph.folder import Folder

    found = Folder(_find(folder))
    try:
        yield found.store
    finally:
        found.close()


def other_readers(folder: str, reader: str) -> list[str]:
    """The readers but `reader` that keep something in `folder`."""
    from linmem_langgraph.folder import resolved
    from linmem_langgraph.readers import READERS

    return [name for name in READERS if name != reader and (resolved(folder) / name).exists()]


def _find(folder: str) -> Path:
    from linmem_langgraph.folder import resolved

    path = resolved(_named(folder))
    if not (path / "log.sqlite").is_file():
        raise ConfigError(f"there is no memory in {path}: check the path, or make one with linmem write")
    return path


def _named(folder: str) -> str:
    if not folder.strip():
        raise ConfigError(f"the folder is {folder!r}: name it; the current one is .")
    return folder
