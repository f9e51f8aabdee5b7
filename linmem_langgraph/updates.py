"""After a write: a reader's derived state follows the log in the background, in order per namespace."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Condition

from linmem_langgraph.log import Change, Log, joined
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers.base import Reader

logger = logging.getLogger(__name__)

_PAUSE = 0.02
"""Seconds that a change waits for those right behind it, unless somebody waits for it: a burst is followed once, and
the writes of a burst do not have to share the interpreter with what follows them."""


class Updates:
    """Hands changes to `reader.update`: one worker a namespace at a time, changes that follow each other as one."""

    def __init__(self, reader: Reader, *, workers: int = 4) -> None:
        self._reader = reader
        self._workers = workers
        self._executor: ThreadPoolExecutor | None = None
        self._state = Condition()
        self._waiters = 0
        self._tickets = count(1)
        self._waiting: dict[Namespace, list[Job]] = {}
        self._running: dict[Namespace, list[Job]] = {}
        self._errors: dict[Namespace, Exception] = {}

    def submit(self, log: Log, change: Change) -> None:
        """Return at once; `change` is applied later."""
        with self._state:
            jobs = self._waiting.setdefault(log.namespace, [])
            jobs.append((next(self._tickets), log, change))
            if log.namespace in self._running:
                return
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="linmem-updates")
            try:
                self._executor.submit(self._work, log.namespace)
            except RuntimeError:
                # Closed meanwhile, or the interpreter ends: the log has the records, and the next read catches up.
                del self._waiting[log.namespace]
                return
            self._running[log.namespace] = []

    def pending(self) -> list[Log]:
        """The logs with changes left to follow."""
        with self._state:
            batches = (*self._waiting.values(), *self._running.values())
            return [log for jobs in batches for _, log, _ in jobs]

    def wait(self, namespace: Namespace) -> None:
        """Until what was submitted for `namespace` before this call is done."""
        with self._state, self._hurried():
            last = next(self._tickets)
            self._state.wait_for(lambda: not self._left(namespace, last))

    def flush(self) -> None:
        """Until what was submitted before this call is done.

        Raises:
            Exception: a failure since the last flush that nothing has mended yet. The log has the records all the same,
                and the next read brings the derived state up to date.
        """
        with self._state, self._hurried():
            last = next(self._tickets)
            self._state.wait_for(
                lambda: not any(self._left(namespace, last) for namespace in {*self._waiting, *self._running})
            )
            errors, self._errors = self._errors, {}
        for error in errors.values():
            raise error

    def close(self) -> None:
        """Finish what is pending and end the workers."""
        with self._state:
            self._hurry()
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    @contextmanager
    def _hurried(self) -> Iterator[None]:
        """Nothing pauses meanwhile."""
        self._hurry()
        try:
            yield
        finally:
            self._waiters -= 1

    def _hurry(self) -> None:
        self._waiters += 1
        self._state.notify_all()

    def _left(self, namespace: Namespace, last: int) -> bool:
        jobs = (*self._running.get(namespace, ()), *self._waiting.get(namespace, ()))
        return any(ticket < last for ticket, _, _ in jobs[:1])

    def _work(self, namespace: Namespace) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._waiters, timeout=_PAUSE)
                jobs = self._waiting.pop(namespace, [])
                if jobs:
                    self._running[namespace] = jobs
                else:
                    self._running.pop(namespace, None)
                self._state.notify_all()
            if not jobs:
                return
            for log, change in _coalesced(jobs):
                self._follow(log, change)

    def _follow(self, log: Log, change: Change) -> None:
        try:
            self._reader.update(log, change)
        except Exception as exc:
            logger.warning("the reader could not follow a write to %r: %s", log.namespace, exc)
            with self._state:
                self._errors[log.namespace] = exc
        else:
            with self._state:
                self._errors.pop(log.namespace, None)


Job = tuple[int, Log, Change]
"""A change to follow, with the ticket that says when it came."""


def _coalesced(jobs: list[Job]) -> list[tuple[Log, Change]]:
    """Runs of changes that follow each other, each as one."""
    runs: list[list[Job]] = []
    for job in jobs:
        if runs and runs[-1][-1][2].version == job[2].base:
            runs[-1].append(job)
        else:
            runs.append([job])
    return [(run[0][1], joined([change for _, _, change in run])) for run in runs]
