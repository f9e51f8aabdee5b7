"""A real `langgraph dev` on loopback."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.servers import ServerProcess

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "langgraph.json"

QUIET = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGGRAPH_NO_VERSION_CHECK": "1"}
"""It speaks to nobody but us."""


class DevServer(ServerProcess):
    """`langgraph dev` over a copy of the checkout's `langgraph.json`, while its context lasts.

    The memory and what else it writes are in `folder`, its working directory, which is a checkout in that it links to
    the packages of this one.

    Args:
        folder: an empty one.
        changes: what is different in its `langgraph.json`; nothing, and the file is the checkout's to the byte.
        environment: variables of its own.
    """

    command = ("langgraph", "dev", "--no-browser", "--no-reload")
    ready = "/ok"

    def __init__(
        self, folder: Path, changes: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder)
        self._environment = dict(environment or {})
        for package in ("graphs", "linmem_langgraph"):
            (folder / package).symlink_to(ROOT / package)
        text = CONFIG.read_text(encoding="utf-8")
        (folder / CONFIG.name).write_text(
            json.dumps({**json.loads(text), **changes}) if changes else text, encoding="utf-8"
        )

    @property
    def environment(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LANG", "LINMEM_"))}
        return {**kept, **QUIET, "PYTHONPATH": str(self.folder), "NO_COLOR": "1", **self._environment}

    def client(self, user: str | None = None) -> LangGraphClient:
        """A client, authenticated as `user` where one is given; use it as a context manager."""
        return get_client(url=self.url, headers=headers(user))


def headers(user: str | None) -> dict[str, str]:
    """What `tests/studio/auth.py` knows a user by."""
    return {"Authorization": f"Bearer key-of-{user}"} if user else {}
