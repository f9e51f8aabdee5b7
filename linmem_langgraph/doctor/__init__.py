"""`linmem doctor`: whether a running model server reuses the state of what it has read, and what would mend it."""

from typing import Any

from pydantic import BaseModel

from linmem_langgraph.doctor.probe import CachedTokens, Refused, Seconds, measure
from linmem_langgraph.doctor.server import Kind, NoAnswer, Server, models
from linmem_langgraph.doctor.verdict import Finding, Verdict, foreign, probed, refused, silent, stuck, unnamed
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.serving.models import MODELS
from linmem_langgraph.vllm import VLLMSettings

KINDS: dict[str, Kind] = {known.repo: known.kind for known in MODELS}
MOST = {"tokens": 10_000_000, "repeats": 1_000, "timeout": 86_400}


class Diagnosis(BaseModel, frozen=True):
    """What a server is, what it did, and what would mend it. What was not learnt is None.

    Args:
        url: the server's `/v1`.
        verdict: `reuse`: a read begins at the state that a prime left. `no-reuse`: it computes the memory again.
            `unreported`: it does not tell which. `softmax`: the model is neither linear nor hybrid, whether it reuses
            or not. `unreachable`: nothing speaks HTTP there. `not-vllm`: what answers lists no models. `unauthorized`:
            it wants another key. `no-model`: it serves several, or not the one that was named. `failing`: it answers
            the probe with an error, or not at all.
        ok: there is reuse and the server tells how much: a linear reader can use it as it is.
        server: vLLM, or what else answers; `version` is its own.
        model: the served model's name.
        kind: linear, hybrid or softmax, by vLLM's `/metrics`, or else if `linmem serve` knows the model; else unknown.
        context_tokens: the longest prompt and answer together.
        prompt_tokens: of the transcript that was primed.
        cached_tokens: how many the server found again; None if it does not tell.
        seconds: what reads took.
        repeats: how often all was measured.
        found: what was found, in words.
        fix: what would mend it, in words; empty if there is nothing to mend.
        command: the command for it, if there is one.
    """

    url: str
    verdict: Verdict
    ok: bool
    server: str | None = None
    version: str | None = None
    model: str | None = None
    kind: Kind = "unknown"
    context_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: CachedTokens | None = None
    seconds: Seconds | None = None
    repeats: int | None = None
    found: str
    fix: str
    command: str | None


def diagnose(
    url: str,
    *,
    model: str | None = None,
    api_key: str | None = None,
    tokens: int = 4_000,
    repeats: int = 5,
    timeout: float = 60.0,
) -> Diagnosis:
    """Probe a running OpenAI-compatible server in the way a linear reader uses it.

    Args:
        url: its address, with or without `/v1`.
        model: the model's name; None = the one the server serves.
        api_key: None = `VLLM_API_KEY`, or else none.
        tokens: length of the transcripts it is given to read; they are shorter where its context is.
        repeats: how often all is measured, fewer times where that takes more than two minutes.
        timeout: seconds a read may take.

    Raises:
        ConfigError: an argument is wrong. Whatever the server does is a verdict.
    """
    for name, value in {"tokens": tokens, "repeats": repeats, "timeout": timeout}.items():
        if not 0 < value <= MOST[name]:
            raise ConfigError(f"{name}={value!r}: give a number above 0, {MOST[name]:,} at most")
    with Server(url, api_key or VLLMSettings().api_key.get_secret_value(), timeout) as server:
        learnt: dict[str, Any] = {}
        try:
            finding = _examine(server, learnt, model, tokens, repeats)
        except NoAnswer as exc:
            finding = stuck(server.url, str(exc)) if "model" in learnt else silent(server.url, server.port, str(exc))
        except Refused as exc:
            finding = refused(server.url, exc.answer, has_key=server.has_key)
        return Diagnosis(url=server.url, **learnt, **finding._asdict())


def _examine(server: Server, learnt: dict[str, Any], wanted: str | None, tokens: int, repeats: int) -> Finding:
    """Adds to `learnt`, which holds what is known when an exception ends it."""
    answer = server.get("/v1/models")
    served, metrics = models(answer), server.metrics()
    is_vllm = metrics.of_vllm or any(model.owned_by == "vllm" for model in served or ())
    if served is not None or is_vllm:
        learnt |= {"server": "vLLM" if is_vllm else "OpenAI-compatible, not vLLM", "version": server.version()}
    if served is None:
        known = is_vllm or answer.status in (401, 403)
        return refused(server.url, answer, has_key=server.has_key) if known else foreign(answer)
    choices = [model for model in served if wanted in (None, model.id)]
    if not choices or (wanted is None and len(choices) > 1):
        return unnamed(server.url, [model.id for model in served], wanted)
    model = choices[0]
    kind = metrics.kind if metrics.kind != "unknown" else KINDS.get(model.root or model.id, "unknown")
    learnt |= {"model": model.id, "kind": kind, "context_tokens": model.max_model_len}
    measured = measure(server, model.id, context=model.max_model_len, tokens=tokens, repeats=repeats)
    learnt |= {"prompt_tokens": measured.prompt_tokens, "cached_tokens": measured.cached}
    learnt |= {"seconds": measured.seconds, "repeats": measured.repeats}
    return probed(model, kind, metrics, measured)
