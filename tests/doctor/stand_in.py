"""A stand-in for a server, which keeps whole prompts as a state cache does, and a doctor's look at it."""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from linmem_langgraph.doctor import Diagnosis, diagnose

CHAT = "/v1/chat/completions"
HYBRID = {"is_attention_free": "False", "mamba_block_size": "640", "block_size": "640", "prefix_match_unit": "16"}
LINEAR = {"is_attention_free": "True", "mamba_block_size": "16"}
SOFTMAX = {"is_attention_free": "False", "mamba_block_size": "None", "enable_prefix_caching": "True"}

Answer = tuple[int, str, bytes]  # status, content type, body


def as_json(value: object, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(value).encode()


def served(*names: str, **fields: object) -> Answer:
    return as_json({"object": "list", "data": [{"id": name, "object": "model", **fields} for name in names]})


class StandIn:
    """Speaks OpenAI's protocol; a token is a character. A prompt that begins with an earlier one finds it again.

    `tells` that in its answers; `counts` it in its metrics, where `settings` are vLLM's labels. `answers` are given
    instead, by path.
    """

    def __init__(
        self,
        *,
        keeps: bool = True,
        tells: bool = True,
        counts: bool = False,
        settings: dict[str, str] | None = None,
        key: str | None = None,
        context: int | None = None,
        answers: dict[str, Answer] | None = None,
    ) -> None:
        self.keeps, self.tells, self.counts, self.settings = keeps, tells, counts, settings
        self.key, self.context = key, context
        self.answers = {"/v1/models": served("tiny", owned_by="someone"), **(answers or {})}
        self.bodies: list[dict[str, Any]] = []
        self.found = 0
        self._kept: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in._reply(self, None)

            def do_POST(self) -> None:
                stand_in._reply(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _reply(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        status, kind, content = self._answer(handler.path, handler.headers["authorization"], body)
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(content)))
        if status == 301:
            handler.send_header("location", "https://elsewhere.test/v1/models")
        handler.end_headers()
        with suppress(ConnectionError):
            handler.wfile.write(content)

    def _answer(self, path: str, authorization: str, body: Any) -> Answer:
        if self.key is not None and path.startswith("/v1") and authorization != f"Bearer {self.key}":
            return as_json({"error": "Unauthorized"}, 401)
        if path in self.answers:
            return self.answers[path]
        if path == "/metrics" and self.settings is not None:
            return 200, "text/plain", self._metrics().encode()
        return self._complete(body) if path == CHAT else as_json({"detail": "Not Found"}, 404)

    def _metrics(self) -> str:
        labels = ",".join(f'{name}="{value}"' for name, value in (self.settings or {}).items())
        hits = f'vllm:prefix_cache_hits_total{{engine="0",model_name="a}} b"}} {self.found}.0\n' * self.counts
        return f"# HELP of Python\npython_info 1.0\nvllm:cache_config_info{{{labels}}} 1.0\n{hits}"

    def _complete(self, body: dict[str, Any]) -> Answer:
        self.bodies.append(body)
        prompt = "\0".join(f"{message['role']}: {message['content']}" for message in body["messages"])
        if not body.get("continue_final_message"):
            prompt += "\0"
        if body.get("add_generation_prompt", True):
            prompt += "assistant: "
        if self.context and len(prompt) + body["max_tokens"] > self.context:
            return as_json({"error": {"message": f"the maximum context length is {self.context} tokens"}}, 400)
        salt = body["cache_salt"]
        found = max((len(kept) for of, kept in self._kept if of == salt and prompt.startswith(kept)), default=0)
        self.found += found
        if self.keeps:
            self._kept.add((salt, prompt))
        usage: dict[str, Any] = {"prompt_tokens": len(prompt), "completion_tokens": 1}
        if self.tells:
            usage["prompt_tokens_details"] = {"cached_tokens": found}
        return as_json({"choices": [{"message": {"role": "assistant", "content": "a"}}], "usage": usage})


def probe(server: StandIn, **options: Any) -> Diagnosis:
    return diagnose(server.url, **{"tokens": 2_000, "repeats": 2, **options})
