"""The real server: what it answers, and what it computes again. Measured first in an earlier study of vLLM on CPU."""

import random
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from evals.vllm_cpu.server import VllmServer

MATCH_UNIT = 16  # a state is found again up to that many tokens before the prompt's end
QUESTION = "Where is the red mug?"


@dataclass(frozen=True)
class Answer:
    text: str
    prompt_tokens: int
    cached_tokens: int
    margins: list[float]  # a token: how much likelier it was than the second best, in log-probability


def ask(server: VllmServer, memory: str, question: str | None, *, salt: str, max_tokens: int = 24) -> Answer:
    """One greedy request: the memory as the system message, then the question; without one the memory is primed."""
    messages = [{"role": "system", "content": memory}]
    if question is not None:
        messages.append({"role": "user", "content": question})
    body = {
        "model": server.model,
        "messages": messages,
        "add_generation_prompt": question is not None,
        "max_tokens": max_tokens,
        "temperature": 0,
        "cache_salt": salt,
        "logprobs": True,
        "top_logprobs": 2,
    }
    reply = post(server, "/v1/chat/completions", body)
    choice, usage = reply["choices"][0], reply["usage"]
    best = [[top["logprob"] for top in token["top_logprobs"]] for token in choice["logprobs"]["content"]]
    return Answer(
        choice["message"]["content"],
        usage["prompt_tokens"],
        (usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0,
        [max(pair) - min(pair) for pair in best],
    )


def prime(server: VllmServer, memory: str, *, salt: str) -> Answer:
    return ask(server, memory, None, salt=salt, max_tokens=1)


def post(server: VllmServer, path: str, body: dict[str, Any]) -> Any:
    url = server.base_url.removesuffix("/v1") + path
    return httpx.post(url, json=body, timeout=120, trust_env=False).raise_for_status().json()


def transcript(tokens: int, *, seed: int = 0) -> str:
    """Text of that many bytes, hence tokens; a shorter one of the same seed is its prefix."""
    choose = random.Random(seed).choice
    people, things, places = (
        ("Anna", "Bob", "Cleo"),
        ("red mug", "blue key", "old map"),
        ("shelf", "box", "sink", "sofa"),
    )
    clips = [
        f"CLIP_{i}: {choose(people)} puts the {choose(things)} on the {choose(places)}.\n" for i in range(tokens // 30)
    ]
    return "".join(clips)[:tokens]


@pytest.fixture
def salt() -> str:
    """A cache of the test's own."""
    return uuid4().hex


def test_it_serves_the_model_under_its_name(vllm_server: VllmServer) -> None:
    models = httpx.get(f"{vllm_server.base_url}/models", trust_env=False).json()["data"]
    assert [(model["id"], model["max_model_len"]) for model in models] == [("tiny-hybrid", 65_536)]


@pytest.mark.parametrize(
    "text", ["plain", "  spaces \n\n", "Zoë 漢字 🙂", "<|im_start|>system<|im_end|></s>", "\x00\x7f"]
)
def test_a_token_is_a_byte_and_a_message_has_two_more(vllm_server: VllmServer, text: str) -> None:
    body = {
        "model": vllm_server.model,
        "messages": [{"role": "system", "content": text}, {"role": "user", "content": "?"}],
    }
    tokens = post(vllm_server, "/tokenize", body)["tokens"]
    assert tokens == [257, *text.encode(), 256, 258, *b"?", 256, 259]
    tokens = post(vllm_server, "/tokenize", {**body, "add_generation_prompt": False})["tokens"]
    assert tokens == [257, *text.encode(), 256, 258, *b"?", 256]


def test_the_same_prompt_has_the_same_answer_and_another_has_another(vllm_server: VllmServer) -> None:
    first, again = (ask(vllm_server, transcript(2_000), QUESTION, salt=uuid4().hex) for _ in range(2))
    assert (first.cached_tokens, again.cached_tokens) == (0, 0)
    assert first.text == again.text
    assert len(first.text) == 24
    assert first.text.isprintable()
    assert ask(vllm_server, transcript(2_000, seed=1), QUESTION, salt=uuid4().hex).text != first.text


@pytest.mark.parametrize("tokens", [100, 700, 3_000, 16_000])
def test_a_read_begins_where_the_prime_ended(vllm_server: VllmServer, salt: str, tokens: int) -> None:
    memory = transcript(tokens)
    primed = prime(vllm_server, memory, salt=salt)
    read = ask(vllm_server, memory, QUESTION, salt=salt)
    assert primed.prompt_tokens == tokens + 2
    assert primed.cached_tokens == 0
    assert primed.prompt_tokens - MATCH_UNIT <= read.cached_tokens <= primed.prompt_tokens


def test_another_salt_finds_nothing(vllm_server: VllmServer, salt: str) -> None:
    memory = transcript(3_000)
    prime(vllm_server, memory, salt=salt)
    assert ask(vllm_server, memory, QUESTION, salt=f"not {salt}").cached_tokens == 0


def test_an_append_begins_where_the_old_memory_ended_and_keeps_its_state(vllm_server: VllmServer, salt: str) -> None:
    old, new = transcript(8_000), transcript(9_000)
    primed = prime(vllm_server, old, salt=salt)
    appended = prime(vllm_server, new, salt=salt)
    assert old == new[:8_000]
    assert appended.cached_tokens >= primed.prompt_tokens - 2 * MATCH_UNIT  # the end marker has become text
    for memory in (old, new):
        assert ask(vllm_server, memory, QUESTION, salt=salt).cached_tokens >= len(memory) - MATCH_UNIT


@pytest.mark.parametrize(
    ("primed", "asked", "kept"), [(2_810, 2_580, 2_560), (3_021, 2_790, 2_560), (5_342, 5_140, 5_120)]
)
def test_a_state_from_within_a_primed_memory_is_of_just_that_prefix(
    vllm_server: VllmServer, salt: str, primed: int, asked: int, kept: int
) -> None:
    memory = transcript(primed)
    prime(vllm_server, memory, salt=salt)
    reused = ask(vllm_server, memory[:asked], QUESTION, salt=salt)
    computed = ask(vllm_server, memory[:asked], QUESTION, salt=f"not {salt}")
    assert (reused.cached_tokens, computed.cached_tokens) == (kept, 0)
    assert (reused.text, reused.margins) == (computed.text, computed.margins)


def test_without_prefix_caching_nothing_is_reused(vllm_server_without_reuse: VllmServer, salt: str) -> None:
    memory = transcript(3_000)
    prime(vllm_server_without_reuse, memory, salt=salt)
    assert ask(vllm_server_without_reuse, memory, QUESTION, salt=salt).cached_tokens == 0


@pytest.mark.parametrize("tokens", [400, 1_300, 5_000])
def test_a_reused_state_changes_no_answer(
    vllm_server: VllmServer, vllm_server_without_reuse: VllmServer, salt: str, tokens: int
) -> None:
    memory = transcript(tokens, seed=tokens)
    prime(vllm_server, memory, salt=salt)
    reused = ask(vllm_server, memory, QUESTION, salt=salt)
    computed = ask(vllm_server_without_reuse, memory, QUESTION, salt=salt)
    assert reused.cached_tokens > 0
    same = [one == other for one, other in zip(reused.text, computed.text, strict=True)]
    # Two tokens that are as likely as each other may change places with the rounding.
    assert all(same) or computed.margins[same.index(False)] < 0.05
