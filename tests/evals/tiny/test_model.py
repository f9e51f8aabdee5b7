"""linmem-tiny computes what transformers computes: as it is taught, as it is published, as it runs without torch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from evals.tiny.language import END, PAD, tokenizer
from evals.tiny.lessons import lesson
from evals.tiny.runtime import Runtime
from linmem_langgraph.errors import ConfigError

pytestmark = pytest.mark.timeout(600)


def paths(lengths: list[list[int]]) -> Iterator[tuple[list[int], int]]:
    """Each way from a root to an end, as places in the row of all tokens, and how many of them are the trunk's."""
    start = 0
    for trunk, *branches in lengths:
        stem = [*range(start, start + trunk)]
        start += trunk
        yield stem, 0
        for length in branches:
            yield [*stem, *range(start, start + length)], trunk
            start += length


@pytest.mark.parametrize("lengths", [[[1]], [[63]], [[64]], [[150]], [[31, 1, 70, 32], [5, 3], [96, 33]]])
@pytest.mark.parametrize(("key_heads", "heads"), [(1, 2), (4, 4)])
def test_the_chunks_of_the_delta_rule_are_its_recurrence(
    torch: Any, lengths: list[list[int]], key_heads: int, heads: int
) -> None:
    from evals.tiny.delta_rule import chunked
    from evals.tiny.tree import tree

    length, made = sum(map(sum, lengths)), torch.Generator().manual_seed(len(lengths))
    query, key = (torch.randn(1, length, key_heads, 16, generator=made) for _ in "qk")
    value = torch.randn(1, length, heads, 24, generator=made)
    decay, strength = -torch.rand(1, length, heads, generator=made), torch.rand(1, length, heads, generator=made)
    found, _ = chunked(query, key, value, g=decay, beta=strength, tree=tree(lengths))
    unit = [(x / x.norm(dim=-1, keepdim=True)).repeat_interleave(heads // key_heads, 2) for x in (query, key)]
    for path, _ in paths(lengths):
        state = torch.zeros(heads, 16, 24)
        for at in path:
            q, k, v = (x[0, at] for x in (*unit, value))
            forgotten = state * decay[0, at].exp()[:, None, None]
            correction = strength[0, at, :, None] * (v - torch.einsum("hkv,hk->hv", forgotten, k))
            state = forgotten + torch.einsum("hk,hv->hkv", k, correction)
            wanted = torch.einsum("hkv,hk->hv", state, q) / 4
            assert (found[0, at] - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["hybrid", "linear", "softmax"])
def test_questions_at_once_are_learnt_as_if_each_were_asked_alone(torch: Any, kind: Any) -> None:
    from evals.tiny.architectures import HIDDEN, untaught
    from evals.tiny.branches import read
    from evals.tiny.tree import tree

    lengths = [[70, *range(9, 31)], [33, 40]]
    made = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 300, (sum(map(sum, lengths)),), generator=made)
    alone, together = untaught(kind, seed=1), untaught(kind, seed=1)
    wanted = torch.zeros(len(tokens), HIDDEN)
    for path, trunk in paths(lengths):
        hidden = alone.model(tokens[path][None], use_cache=False).last_hidden_state[0]
        wanted[path[trunk:]] = hidden[trunk:]
    found = read(together, tokens[None], tree(lengths)).last_hidden_state[0]
    assert (found - wanted).abs().max() < 1e-3
    weights = torch.randn(HIDDEN, 7, generator=made)
    for hidden in (found, wanted):
        (hidden @ weights).square().sum().backward()
    for (name, values), (_, others) in zip(together.named_parameters(), alone.named_parameters(), strict=True):
        if others.grad is not None:
            assert (values.grad - others.grad).norm() <= 1e-3 * others.grad.norm(), name


@pytest.mark.parametrize("kind", ["hybrid", "linear", "softmax"])
def test_a_step_is_a_token_of_the_whole(torch: Any, kind: Any) -> None:
    from evals.tiny.architectures import untaught
    from evals.tiny.step import Step

    model = untaught(kind, seed=2)
    step, tokens = Step(model), torch.randint(0, 300, (90,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = model(tokens[None], use_cache=False).logits[0]
        state = step.empty()
        for place, token in enumerate(tokens):
            logits, *state = step(token[None], torch.tensor([place]), *state)
            assert (logits - wanted[place]).abs().max() < 1e-4
    sizes = {name: part.shape for name, part in zip(step.names(), state, strict=True)}
    assert {shape for name, shape in sizes.items() if name.endswith("state")} <= {(4, 64, 64)}
    assert {shape[0] for name, shape in sizes.items() if name.endswith("keys")} <= {90}


def test_architectures_have_about_as_many_parameters(torch: Any) -> None:
    from evals.tiny.architectures import LAYERS, parameters, untaught

    counts = [parameters(untaught(kind, seed=0)) for kind in LAYERS]
    assert max(counts) < 1.1 * min(counts)


def test_what_is_published_is_what_was_taught(torch: Any, tmp_path: Path) -> None:
    from evals.tiny.architectures import untaught
    from evals.tiny.publish import with_experts

    model = untaught("hybrid", seed=4).eval()
    tokens = torch.randint(0, 300, (1, 80), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        plain, published = (made(tokens, use_cache=False).logits for made in (model, with_experts(model)))
    assert (plain - published).abs().max() < 1e-4


def test_the_step_of_onnxruntime_is_transformers(torch: Any, untaught_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(untaught_folder, dtype=torch.float32)
    runtime, words = Runtime(untaught_folder), tokenizer()
    for seed in range(3):
        tokens = lesson(Random(seed), words, clips=12, questions=1).tokens
        with torch.no_grad():
            wanted = model(torch.tensor([tokens]), use_cache=False).logits[0]
            said = model.generate(
                torch.tensor([tokens]), max_new_tokens=12, do_sample=False, pad_token_id=words.token_to_id(PAD)
            )
        state = runtime.read(runtime.empty(), tokens)
        assert np.abs(state.logits - wanted[-1].numpy()).max() < 1e-3
        ends = [*said[0, len(tokens) :].tolist(), words.token_to_id(END)]
        assert runtime.write(state, 12) == ends[: ends.index(words.token_to_id(END))]


def test_stopped_and_gone_on_it_learns_the_same(torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evals.tiny.train import COURSE, Plan, Teaching

    plan = Plan("hybrid", tokens=3_000, batch=400)
    whole = Teaching(plan, tmp_path / "whole")
    whole.run(lambda line: None)
    while Teaching(plan, tmp_path / "parts").progress.tokens < plan.tokens:
        Teaching(plan, tmp_path / "parts").run(lambda line: None, steps=2)
    parts = Teaching(plan, tmp_path / "parts")
    assert parts.progress.step == whole.progress.step > 4
    for name, values in whole.model.state_dict().items():
        assert torch.equal(values, parts.model.state_dict()[name]), name
    assert Teaching(replace(plan, tokens=9_000), tmp_path / "parts").progress == parts.progress
    with pytest.raises(ConfigError, match="is of another plan"):
        Teaching(Plan("hybrid", seed=1), tmp_path / "parts")
    with monkeypatch.context() as patched:
        patched.setitem(COURSE, "mastered", 0.9)
        with pytest.raises(ConfigError, match="was taught in another way"):
            Teaching(plan, tmp_path / "parts")
    monkeypatch.setattr("evals.tiny.language.PHRASES", ())
    with pytest.raises(ConfigError, match="was taught other words"):
        Teaching(plan, tmp_path / "parts")


def test_longer_memories_come_when_patience_ends(torch: Any, tmp_path: Path) -> None:
    from evals.tiny.train import CLIPS, Plan, Teaching

    stuck = Teaching(Plan("softmax", tokens=2_000, batch=400), tmp_path)
    stuck.run(lambda line: None)
    assert stuck.progress.longest == CLIPS[0]
    gone_on = Teaching(Plan("softmax", tokens=6_000, batch=400, patience=1_500), tmp_path)
    gone_on.run(lambda line: None)
    assert CLIPS[0] < gone_on.progress.longest <= CLIPS[3]
    assert stuck.progress.tokens < gone_on.progress.lengthened <= gone_on.progress.tokens


def test_a_team_teaches_one_model(torch: Any, tmp_path: Path) -> None:
    from transformers.models.qwen3_next import modeling_qwen3_next

    from evals.tiny.train import Plan, Teaching, Team

    plan = Plan("hybrid", tokens=3_000, batch=800)
    rows, barrier = torch.zeros(2, Teaching(plan, tmp_path / "none").shares), Barrier(2, timeout=60)
    team = [Teaching(plan, tmp_path / str(rank), Team(rank, rows, barrier.wait)) for rank in range(2)]
    with ThreadPoolExecutor(2) as threads:
        for taught in [threads.submit(each.run, lambda line: None, steps=2) for each in team]:
            taught.result(timeout=120)
    assert modeling_qwen3_next.causal_conv1d_fn.__module__ == modeling_qwen3_next.__name__
    one, other = (each.model.state_dict() for each in team)
    for name, values in one.items():
        assert torch.equal(values, other[name]), name
    assert team[0].progress == team[1].progress
    assert not torch.equal(*rows)  # each had lessons of its own
    assert [path.parent.name for path in tmp_path.glob("*/checkpoint.pt")] == ["0"]
