"""After a write: a reader's derived state follows the log in the background, in order per namespace."""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Condition

from linmem_langgraph.log import Change, Log, joined
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.base import Reader

logger = logging.getLogger(__name__)


class Updates:
    """Hands changes to `reader.update`: one worker a namespace at a time, changes that follow each other as one."""

    def __init__(self, reader: Reader, *, workers: int = 4) -> None:
        self._reader = reader
        self._workers = workers
        self._executor: ThreadPoolExecutor | None = None
        self._state = Condition()
        self._pending: dict[Namespace, list[tuple[Log, Change]]] = {}
        self._busy: set[Namespace] = set()
        self._errors: list[Exception] = []

    def submit(self, log: Log, change: Change) -> None:
        """Return at once; `change` is applied later."""
        with self._state:
            self._pending.setdefault(log.namespace, []).append((log, change))
            if log.namespace in self._busy:
                return
            self._busy.add(log.namespace)
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="linmem-updates")
            self._executor.submit(self._work, log.namespace)

    @property
    def pending(self) -> bool:
        """Whether anything is left to do."""
        with self._state:
            return bool(self._busy)

    def wait(self, namespace: Namespace) -> None:
        """Until nothing is pending for `namespace`."""
        with self._state:
            self._state.wait_for(lambda: namespace not in self._busy)

    def flush(self) -> None:
        """Until nothing is pending at all.

        Raises:
            Exception: the first failure since the last flush. The log has the records all the same, and the next read
                brings the derived state up to date.
        """
        with self._state:
            self._state.wait_for(lambda: not self._busy)
            errors, self._errors = self._errors, []
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Finish what is pending and end the workers."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def _work(self, namespace: Namespace) -> None:
        while True:
            with self._state:
                batch = self._pending.pop(namespace, [])
                if not batch:
                    self._busy.discard(namespace)
                    self._state.notify_all()
                    return
            for log, change in _coalesced(batch):
                try:
                    self._reader.update(log, change)
                except Exception as exc:
                    logger.warning("the reader could not follow a write to %r: %s", namespace, exc)
                    with self._state:
                        self._errors.append(exc)


def _coalesced(batch: list[tuple[Log, Change]]) -> list[tuple[Log, Change]]:
    """Runs of changes that follow each other, each as one."""
    runs: list[list[tuple[Log, Change]]] = []
    for log, change in batch:
        if runs and runs[-1][-1][1].version == change.base:
            runs[-1].append((log, change))
        else:
            runs.append([(log, change)])
    return [(run[0][0], joined([change for _, change in run])) for run in runs]
