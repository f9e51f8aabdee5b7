"""The transcripts of the namespaces that were used last, as this process knows them."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from linmem_langgraph.log import Change, Log
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.view import View

MOST = 64
"""Namespaces whose transcripts are kept."""


class Views:
    """A view of each namespace's log; safe to share between threads.

    Args:
        dropped: told of each namespace whose transcript is not kept any more, as others were used since.
    """

    def __init__(self, dropped: Callable[[Namespace], object] = lambda namespace: None) -> None:
        self._dropped = dropped
        self._views: OrderedDict[Namespace, View] = OrderedDict()
        self._lock = Lock()

    def current(self, log: Log) -> View:
        """The log as it is now."""
        version = log.head().version
        view = self._views.get(log.namespace)
        if view is None or view.version != version:
            view = View.of(log)
        self._keep(log.namespace, view)
        return view

    def followed(self, log: Log, change: Change) -> View:
        """The log after `change`, without listing it anew where records were only added."""
        before = self._views.get(log.namespace)
        if before and (view := before.followed(change)):
            self._keep(log.namespace, view)
            return view
        return self.current(log)

    def forget(self, namespace: Namespace) -> None:
        """Drop what is kept of it."""
        with self._lock:
            self._views.pop(namespace, None)

    def _keep(self, namespace: Namespace, view: View) -> None:
        with self._lock:
            self._views[namespace] = view
            self._views.move_to_end(namespace)
            while len(self._views) > MOST:
                self._dropped(self._views.popitem(last=False)[0])
