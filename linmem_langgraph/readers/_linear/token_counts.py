"""How many tokens each record is: asked of the model's server once and kept, in a file if the reader has a folder."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Protocol

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.namespaces import Namespace


class Counter(Protocol):
    """Who counts: a model by its name. `counts` says whether the last figures were counted, not estimated."""

    @property
    def name(self) -> str: ...

    @property
    def counts(self) -> bool: ...

    async def count(self, texts: Sequence[str]) -> list[int]: ...


_BATCH = 500
"""Records per statement, and per round of questions to the server: what is counted is kept even if the next fails."""


class TokenCounts:
    """Token counts by namespace and key. Namespaces, keys and texts are kept as hashes.

    Args:
        folder: where the file lies, made when the first count is kept; None = in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / "tokens.sqlite" if folder else None
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()

    async def of(self, namespace: Namespace, lines: Mapping[str, str], model: Counter) -> dict[str, int]:
        """The tokens of each line, by its record's key; `model` is asked for those that are not kept."""
        tokens: dict[str, int] = {}
        for start in range(0, len(lines), _BATCH):
            batch = list(lines)[start : start + _BATCH]
            rows = {key: (_hash(*namespace), _hash(key), _hash(model.name, lines[key])) for key in batch}
            tokens |= self._kept(rows)
            missing = [key for key in batch if key not in tokens]
            if missing:
                counted = dict(zip(missing, await model.count([lines[key] for key in missing]), strict=True))
                tokens |= counted
                if model.counts:
                    self._keep([(*rows[key], counted[key]) for key in missing])
        return {key: tokens[key] for key in lines}

    def forget(self, namespace: Namespace, keys: Collection[str] | None) -> int:
        """Drop the counts of those keys, or of all; how many there were."""
        if self._connection is None and not (self._file and self._file.exists()):
            return 0
        place = _hash(*namespace)
        with self._opened() as connection:
            if keys is None:
                return connection.execute("DELETE FROM counts WHERE place = ?", [place]).rowcount
            rows = [(place, _hash(key)) for key in keys]
            return max(connection.executemany("DELETE FROM counts WHERE place = ? AND key = ?", rows).rowcount, 0)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _kept(self, rows: Mapping[str, tuple[str, str, str]]) -> dict[str, int]:
        query = "SELECT tokens FROM counts WHERE place = ? AND key = ? AND digest = ?"
        with self._opened() as connection:
            found = {key: connection.execute(query, row).fetchone() for key, row in rows.items()}
        return {key: hit[0] for key, hit in found.items() if hit}

    def _keep(self, rows: list[tuple[str, str, str, int]]) -> None:
        with self._opened() as connection:
            connection.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?)", rows)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                self._connection = self._connection or self._connect()
                with self._connection:
                    yield self._connection
        except (sqlite3.Error, OSError) as exc:
            raise ConfigError(f"{self._file} cannot be used ({exc}): delete it, it is made again from the log") from exc

    def _connect(self) -> sqlite3.Connection:
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._file or ":memory:", check_same_thread=False, timeout=30)
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS counts "
            "(place TEXT, key TEXT, digest TEXT, tokens INTEGER, PRIMARY KEY (place, key)) WITHOUT ROWID"
        )
        return connection


def _hash(*parts: str) -> str:
    return sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()[:32]
