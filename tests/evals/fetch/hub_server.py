"""As much of the Hugging Face hub as a download needs, on a port of this machine; it can fail in several ways."""

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Asked(NamedTuple):
    """A request for a file, and the range it was for."""

    name: str
    range: str | None
    encoding: str | None


@dataclass
class Hub:
    """A data set of `files`; a large one is in LFS and lies elsewhere, as on the hub.

    Args:
        card: what the data set's card says.
        cut: after so many bytes of a file its next reply ends, though more was announced; `rudely`: is reset.
        stall: after so many bytes of a file its next reply waits until `go_on`.
        instead: what is sent in place of a file, once.
        ranges: whether parts of files are given.
        info: what the API says, where not the truth.
        forbidden: why no file is given.
    """

    files: dict[str, bytes]
    card: dict[str, Any] | None = field(default_factory=lambda: {"license": "cc-by-4.0"})
    cut: dict[str, int] = field(default_factory=dict)
    rudely: bool = False
    stall: dict[str, int] = field(default_factory=dict)
    instead: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    info: Any = None
    forbidden: str = ""
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def names(self) -> list[str]:
        """The files that were requested, in order."""
        return [each.name for each in self.asked]

    def described(self) -> Any:
        """What the API says of the data set."""
        siblings = [_sibling(name, content) for name, content in self.files.items()]
        return self.info or {
            "id": "ByteDance-Seed/M3-Bench",
            "sha": COMMIT,
            "cardData": self.card,
            "siblings": siblings,
        }


def in_lfs(name: str) -> bool:
    return not name.endswith((".json", ".md"))


def checksum(name: str, content: bytes) -> str:
    if in_lfs(name):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    lfs = {"sha256": checksum(name, content), "size": len(content), "pointerSize": 134}
    blob = hashlib.sha1(b"pointer").hexdigest() if in_lfs(name) else checksum(name, content)
    return {"rfilename": name, "size": len(content), "blobId": blob} | ({"lfs": lfs} if in_lfs(name) else {})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *args: Any) -> None:
        self._hub = hub
        super().__init__(*args)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path, resolve = self.path, f"/datasets/ByteDance-Seed/M3-Bench/resolve/{COMMIT}/"
        if path == "/api/datasets/ByteDance-Seed/M3-Bench?blobs=true":
            self._reply(200, json.dumps(self._hub.described()).encode(), {"Content-Type": "application/json"})
        elif path.startswith(resolve) and self._hub.forbidden:
            self._reply(403, b"", {"X-Error-Message": self._hub.forbidden})
        elif path.startswith(resolve) and (name := path.removeprefix(resolve)) in self._hub.files:
            headers = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{checksum(name, self._hub.files[name])}"'}
            if in_lfs(name):
                self._reply(302, b"", {**headers, "Location": f"{self._hub.endpoint}/elsewhere/{name}"})
            else:
                self._file(name)
        elif path.startswith("/elsewhere/"):
            self._file(path.removeprefix("/elsewhere/"))
        else:
            self._reply(404, b"{}", {})

    def _file(self, name: str) -> None:
        hub, wanted = self._hub, self.headers.get("Range")
        hub.asked.append(Asked(name, wanted, self.headers.get("Accept-Encoding")))
        content = hub.instead.pop(name, hub.files[name])
        etag = {"ETag": f'"{checksum(name, content)}"'}
        found = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        if found is None or not hub.ranges:
            return self._reply(200, content, etag, name)
        start = int(found[1])
        if start >= len(content):
            return self._reply(416, b"", etag)
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return self._reply(206, content[start:], {**etag, **span}, name)

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str], name: str = "") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if (end := self._hub.stall.pop(name, None)) is not None:
            self._send(body[:end])
            self._hub.go_on.wait(60)
            self._hang_up()
        elif (end := self._hub.cut.pop(name, None)) is not None:
            self._send(body[:end])
            self._hang_up()
        else:
            self._send(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        if self._hub.rudely:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()

    def _send(self, body: bytes) -> None:
        self.wfile.write(body)
        self.wfile.flush()
        self._hub.sent += len(body)
