"""What a server's answers mean for a linear reader, and what would mend it: decided from what was measured alone."""

import shlex
from collections.abc import Sequence
from typing import Literal, NamedTuple

from linmem_langgraph.doctor.probe import Measured
from linmem_langgraph.doctor.server import Answer, Kind, Metrics, Model
from linmem_langgraph.vllm import STATE_FLAGS

Reads = Literal["reuse", "no-reuse", "unreported", "softmax"]  # verdicts over what has read the probe
Fails = Literal["unreachable", "not-vllm", "unauthorized", "no-model", "failing"]
Verdict = Reads | Fails

REUSED = 0.5  # of a primed transcript is found again, at least, by a read that reuses its state
FASTER, SAME = 2.0, 1.3  # times as long as a primed read takes one that is not: with reuse at least, without at most
UNIT = 64  # tokens of a transcript computed again: more are worth a finer --prefix-match-unit
SOFTMAX_FLAGS = (STATE_FLAGS[0], STATE_FLAGS[-1])


class Finding(NamedTuple):
    """The verdict, and why; `fix` is empty where there is nothing to mend."""

    verdict: Verdict
    found: str
    fix: str = ""
    command: str | None = None
    ok: bool = False


def silent(url: str, port: int | None, cause: str) -> Finding:
    """Nothing speaks HTTP there."""
    fix = "Start a server there (linmem serve --list names models for it), or give the URL of one that runs."
    command = _serve("MODEL", "--port", str(port or 8000))
    return Finding("unreachable", f"{url} cannot be reached: {cause}.", fix, command)


def foreign(answer: Answer) -> Finding:
    """Something speaks HTTP, and lists no models."""
    fix = "Give the URL of a vLLM server, or start one on a free port."
    return Finding("not-vllm", f"What answers lists no models: {answer.said}", fix, _serve("MODEL"))


def unnamed(url: str, names: Sequence[str], wanted: str | None) -> Finding:
    """Which model is meant cannot be told."""
    found = f"The server serves {', '.join(names) or 'no model'}{'' if wanted is None else f', and no {wanted}'}."
    if not names:
        return Finding("no-model", found, "Start one that serves a chat model.", _serve("MODEL"))
    return Finding("no-model", found, "Name one of them.", _again(url, "--model", names[0]))


def refused(url: str, answer: Answer, *, has_key: bool) -> Finding:
    """A request was answered with an error, or with something else than a chat completion."""
    if answer.status in (401, 403):
        found = f"The server {'refuses the API key it was given' if has_key else 'wants an API key'}: {answer.said}"
        fix = "Give the server's own key, with --api-key or in VLLM_API_KEY."
        return Finding("unauthorized", found, fix, _again(url, "--api-key", "KEY"))
    if answer.status >= 500:
        fix, command = "The server's log tells why. Start it again if its engine has died.", None
    elif "context length" in answer.said:
        fix, command = "Let it read less.", _again(url, "--tokens", "1000")
    else:
        fix = (
            "A linear reader needs chat completions with vLLM's fields cache_salt, add_generation_prompt and "
            "continue_final_message: serve a chat model with vLLM."
        )
        command = _serve("MODEL")
    return Finding("failing", f"The server does not do what it is asked: {answer.said}", fix, command)


def stuck(url: str, cause: str) -> Finding:
    """It has listed its models, and does not answer the probe."""
    fix = "Give it more time, or less to read; if that does not help, its log tells why."
    command = _again(url, "--timeout", "300", "--tokens", "1000")
    return Finding("failing", f"The server does not answer a read: {cause}.", fix, command)


def reused(measured: Measured) -> bool | None:
    """Whether a read found what had been primed; None if that cannot be told.

    By the cached tokens of the answers, else by the server's counter of them, which other clients raise too, else by
    the times, which vary.
    """
    if measured.cached is not None:
        return measured.cached.first - measured.cached.cold >= REUSED * measured.prompt_tokens
    if measured.counted is not None:
        return measured.counted >= REUSED * measured.prompt_tokens
    ratio = measured.seconds.cold / measured.seconds.primed
    return None if SAME < ratio < FASTER else ratio >= FASTER


def probed(model: Model, kind: Kind, metrics: Metrics, measured: Measured) -> Finding:
    """It has read what it was given."""
    reuse = reused(measured)
    if reuse is False:
        finding = Finding("no-reuse", _computed_again(measured), _without_reuse(kind, metrics))
    elif measured.cached is None:
        fix = f"Let it tell; vLLM does with {STATE_FLAGS[-1]}."
        finding = Finding("unreported", _untold(measured, reuse), fix)
    else:
        finding = Finding("reuse", _found_again(measured), _finer(kind, measured), ok=True)
    if finding.fix:
        flags = SOFTMAX_FLAGS if kind == "softmax" else STATE_FLAGS
        finding = finding._replace(command=_serve(model.root or model.id, flags=flags))
    if kind == "unknown":
        finding = finding._replace(found=f"{finding.found} Whether its model is linear cannot be told from outside.")
    return _baseline(finding) if kind == "softmax" else finding


def _baseline(finding: Finding) -> Finding:
    found = (
        f"{finding.found} It is a softmax model: its reads get slower as the memory grows, and so does what it keeps "
        "of each memory. That is a baseline to compare with, not a linear memory."
    )
    fix = f"{finding.fix} For a linear memory serve a linear or hybrid model.".strip()
    return finding._replace(verdict="softmax", found=found, fix=fix, command=finding.command or "linmem serve --list")


def _found_again(measured: Measured) -> str:
    assert measured.cached is not None
    share = measured.cached.first / measured.prompt_tokens
    return (
        f"A read finds {measured.cached.first:,} of the {measured.prompt_tokens:,} primed tokens again ({share:.1%}). "
        f"{_took(measured)}"
    )


def _computed_again(measured: Measured) -> str:
    if measured.cached is None:
        return f"A read of {measured.prompt_tokens:,} primed tokens finds none again. {_took(measured)}"
    found = f"A read finds {measured.cached.first:,} of the {measured.prompt_tokens:,} primed tokens again. "
    if measured.cached.second > 2 * measured.cached.first:
        found += (
            f"The next one finds {measured.cached.second:,}: what a read leaves is kept, what a prime leaves is not. "
        )
    return f"{found}{_took(measured)}"


def _untold(measured: Measured, reuse: bool | None) -> str:
    if measured.counted is not None:
        counted = min(measured.counted, measured.prompt_tokens)
        by = f"By the server's own count it is about {counted:,.0f} of {measured.prompt_tokens:,}."
    else:
        by = "By the times it is most of them." if reuse else "The times leave open whether it is any."
    return f"Answers do not tell how many tokens of a primed memory a read finds again. {by} {_took(measured)}"


def _took(measured: Measured) -> str:
    cold, primed = measured.seconds.cold, measured.seconds.primed
    return f"It takes {primed:.3f} s, and {cold:.3f} s where nothing was primed: {cold / primed:.1f} times as long."


def _without_reuse(kind: Kind, metrics: Metrics) -> str:
    settings = metrics.settings
    restart = "Start the server again with the flags below beside its own."
    if settings.get("enable_prefix_caching") == "False":
        return f"Prefix caching is off. {restart}"
    unit = settings.get("prefix_match_unit", "")
    if settings and kind != "softmax" and not (unit.isdecimal() and int(unit) <= UNIT):
        size = unit if unit.isdecimal() else settings.get("block_size", "many")
        return (
            f"States are found again at the ends of blocks of {size} tokens only, and shorter memories never. {restart}"
        )
    if settings:
        return (
            "Prefix caching is on. Is the cache too small for a memory (vllm:kv_cache_usage_perc in /metrics), does "
            "the chat template put something that varies before it, or is speculative decoding on? Else see vLLM's "
            f"issues on hybrids, such as 51198 and 51250. {restart}"
        )
    return "Turn its prefix caching on; vLLM does it with the flags below."


def _finer(kind: Kind, measured: Measured) -> str:
    assert measured.cached is not None
    again = measured.prompt_tokens - measured.cached.first
    if again <= UNIT or kind not in ("linear", "hybrid"):
        return ""
    return f"Every read computes {again:,} tokens of the memory again: --prefix-match-unit 16 makes it 16 at most."


def _serve(model: str, *arguments: str, flags: Sequence[str] = STATE_FLAGS) -> str:
    return shlex.join(["vllm", "serve", model, *arguments, *flags])


def _again(url: str, *options: str) -> str:
    return shlex.join(["linmem", "doctor", url, *options])
