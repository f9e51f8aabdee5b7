"""As much of LangSmith's HTTP API as its client uses to send traces, datasets, experiments and feedback."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

Fields = dict[str, Any]

TENANT = "00000000-0000-4000-8000-000000000000"
"""The workspace that every project and dataset belongs to."""


class Refusal(Exception):
    """A request that gets a status other than 200."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Request(NamedTuple):
    """What was asked: `rest` is the path without its collection, `asked` the query, each value a list."""

    method: str
    rest: tuple[str, ...]
    asked: dict[str, list[str]]
    kind: str
    body: bytes

    @property
    def fields(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    def named(self, name: str) -> str | None:
        """A value of the query."""
        return next(iter(self.asked.get(name, [])), None)


class Api:
    """What was sent, by id, and the answers.

    Args:
        key: the API key; requests with another are refused.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.received: list[bytes] = []
        self.runs: dict[str, Fields] = {}
        self.projects: dict[str, Fields] = {}
        self.datasets: dict[str, Fields] = {}
        self.examples: dict[str, Fields] = {}
        self.feedback: dict[str, Fields] = {}
        self.lock = RLock()
        self._routes: dict[str, Callable[[Request], Any]] = {
            "info": self._info,
            "runs": self._take_runs,
            "sessions": self._project,
            "datasets": self._dataset,
            "v1": self._platform,
            "examples": self._examples,
            "feedback": self._feedback,
        }

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        """What the client gets, as JSON; the names of headers are in lower case.

        Raises:
            Refusal: it gets none.
        """
        parts = urlsplit(url)
        collection, *rest = parts.path.strip("/").split("/")
        if headers.get("content-encoding") == "zstd":
            body = _decompressed(body)
        with self.lock:
            if body:
                self.received.append(body)
            if collection not in self._routes:
                raise Refusal(404, f"{method} {parts.path} is not known here")
            if collection != "info" and headers.get("x-api-key") != self.key:
                raise Refusal(401, "Invalid token")
            kind = headers.get("content-type", "")
            return self._routes[collection](Request(method, tuple(rest), parse_qs(parts.query), kind, body))

    def project(self, name: str) -> Fields:
        """The project of that name, made if it is not there, as it is by a run that names it."""
        found = next((each for each in self.projects.values() if each["name"] == name), None)
        return found or self._kept(self.projects, {"name": name, "start_time": _now(), "tenant_id": TENANT})

    def _info(self, request: Request) -> Fields:
        flags = {"zstd_compression_enabled": _has_zstd(), "dataset_examples_multipart_enabled": True}
        limits = {"size_limit": 100, "size_limit_bytes": 20_971_520, "scale_up_qsize_trigger": 1000}
        scaling = {"scale_up_nthreads_limit": 16, "scale_down_nempty_trigger": 4, "use_multipart_endpoint": True}
        return {"version": "0.13.0", "instance_flags": flags, "batch_ingest_config": {**limits, **scaling}}

    def _take_runs(self, request: Request) -> Fields:
        if request.rest == ("multipart",):
            for name, value in _parts(request):
                self._take_part(name, value)
        elif request.rest == ("batch",):
            for fields in [*request.fields.get("post", []), *request.fields.get("patch", [])]:
                self._take_run(fields["id"], fields)
        else:
            fields = request.fields
            self._take_run(request.rest[0] if request.rest else fields["id"], fields)
        return {}

    def _take_part(self, name: str, value: bytes) -> None:
        """`post.ID`, `patch.ID.outputs`, `feedback.ID`; attachments are left out."""
        what, id, *field = name.split(".")
        if what == "feedback":
            self._kept(self.feedback, {**json.loads(value), "id": id})
        elif what in ("post", "patch"):
            self._take_run(id, {field[0]: json.loads(value)} if field else json.loads(value))

    def _take_run(self, id: str, fields: Fields) -> None:
        """A run comes in pieces, and its end after its beginning."""
        known = self.runs.setdefault(id, {"id": id})
        known |= {name: value for name, value in fields.items() if value is not None}
        if name := known.get("session_name"):
            known["session_id"] = self.project(name)["id"]

    def _project(self, request: Request) -> Any:
        if request.method == "POST":
            if any(each["name"] == request.fields["name"] for each in self.projects.values()):
                raise Refusal(409, f"a project named {request.fields['name']!r} exists")
            return self._kept(self.projects, {"start_time": _now(), "tenant_id": TENANT, **request.fields})
        return self._found(self.projects, request, "name")

    def _dataset(self, request: Request) -> Any:
        if request.method == "POST":
            return self._kept(self.datasets, {"created_at": _now(), "tenant_id": TENANT, **request.fields})
        return self._found(self.datasets, request, "name")

    def _platform(self, request: Request) -> Fields:
        """/v1/platform/datasets/ID/examples: `ID`, `ID.inputs`, `ID.outputs`."""
        if request.rest[:2] != ("platform", "datasets") or request.rest[3:] != ("examples",):
            raise Refusal(404, f"/v1/{'/'.join(request.rest)} is not known here")
        sent: dict[str, Fields] = {}
        for name, value in _parts(request):
            id, _, field = name.partition(".")
            fields = json.loads(value)
            sent.setdefault(id, {"id": id, "dataset_id": request.rest[2]}).update({field: fields} if field else fields)
        return self._new_examples(list(sent.values()))

    def _examples(self, request: Request) -> Any:
        if request.method == "POST":
            return [self.examples[id] for id in self._new_examples(request.fields)["example_ids"]]
        return self._found(self.examples, request, "dataset", field="dataset_id")

    def _new_examples(self, sent: list[Fields]) -> Fields:
        if known := [example["id"] for example in sent if example["id"] in self.examples]:
            raise Refusal(409, f"there are examples {known} already")
        made = [self._kept(self.examples, {"created_at": _now(), **example})["id"] for example in sent]
        return {"example_ids": made, "count": len(made), "as_of": _now()}

    def _feedback(self, request: Request) -> Any:
        if request.method == "POST":
            run = request.fields.get("run_id")
            trace = {"trace_id": self.runs.get(run, {}).get("trace_id", run)}
            return self._kept(self.feedback, {**trace, **request.fields})
        if request.method == "PATCH":
            known = self._found(self.feedback, request, "id")
            known |= request.fields
            return known
        return self._found(self.feedback, request, "run", field="run_id")

    def _kept(self, collection: dict[str, Fields], fields: Fields) -> Fields:
        fields = {**fields, "id": fields.get("id") or str(uuid4())}
        collection[fields["id"]] = fields
        return fields

    def _found(self, collection: dict[str, Fields], request: Request, name: str, field: str = "") -> Any:
        """The one that the path names, or a page of those that the query names."""
        if request.rest:
            if request.rest[0] not in collection:
                raise Refusal(404, f"there is no {request.rest[0]}")
            return collection[request.rest[0]]
        wanted = request.asked.get(name)
        found = [each for each in collection.values() if wanted is None or str(each.get(field or name)) in wanted]
        start = int(request.named("offset") or 0)
        return found[start : start + int(request.named("limit") or 100)]


class Listener(ThreadingHTTPServer):
    """Answers requests on loopback as an `Api` does."""

    daemon_threads = True

    def __init__(self, api: Api) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        try:
            status, answer = 200, self.server.api.answer(self.command, self.path, headers, body)
        except Refusal as refusal:
            status, answer = refusal.status, {"detail": str(refusal)}
        sent = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *arguments: Any) -> None:
        """A test's output is not the place for requests."""


def _parts(request: Request) -> Iterator[tuple[str, bytes]]:
    """The names and contents of a multipart body."""
    head = f"Content-Type: {request.kind}\r\n\r\n".encode()
    for part in BytesParser(policy=HTTP).parsebytes(head + request.body).iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        yield str(part.get_param("name", header="content-disposition")), content


def _has_zstd() -> bool:
    """Whether what the client compresses can be read: zstandard comes with it, where there is a build."""
    try:
        import zstandard  # noqa: F401
    except ImportError:
        return False
    return True


def _decompressed(body: bytes) -> bytes:
    from zstandard import ZstdDecompressor

    return ZstdDecompressor().decompressobj().decompress(body)


def _now() -> str:
    return datetime.now(UTC).isoformat()
