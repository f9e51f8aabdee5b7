"""linmem-tiny computes what transformers computes: as it is taught, as it is published, as it runs without torch."""

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


@pytest.mark.parametrize("length", [1, 63, 64, 150])
@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(("key_heads", "heads"), [(1, 2), (4, 4)])
def test_the_chunks_of_the_delta_rule_are_its_recurrence(
    torch: Any, length: int, begins: bool, key_heads: int, heads: int
) -> None:
    from evals.tiny.delta_rule import chunked

    made = torch.Generator().manual_seed(length)
    query, key = (torch.randn(2, length, key_heads, 16, generator=made) for _ in "qk")
    value = torch.randn(2, length, heads, 24, generator=made)
    decay, strength = -torch.rand(2, length, heads, generator=made), torch.rand(2, length, heads, generator=made)
    state = torch.randn(2, heads, 16, 24, generator=made) if begins else torch.zeros(2, heads, 16, 24)
    found, last = chunked(
        query, key, value, g=decay, beta=strength, initial_state=state if begins else None, output_final_state=True
    )
    unit = [(x / x.norm(dim=-1, keepdim=True)).repeat_interleave(heads // key_heads, 2) for x in (query, key)]
    for at in range(length):
        q, k, v = (x[:, at] for x in (*unit, value))
        forgotten = state * decay[:, at].exp()[..., None, None]
        correction = strength[:, at, :, None] * (v - torch.einsum("bhkv,bhk->bhv", forgotten, k))
        state = forgotten + torch.einsum("bhk,bhv->bhkv", k, correction)
        wanted = torch.einsum("bhkv,bhk->bhv", state, q) / 4
        assert (found[:, at] - wanted).abs().max() < 1e-5
    assert (last - state).abs().max() < 1e-5


def test_what_it_is_taught_with_gives_the_gradients_of_transformers(torch: Any) -> None:
    from evals.tiny.architectures import untaught
    from evals.tiny.delta_rule import quick

    tokens = torch.randint(0, 300, (2, 100), generator=torch.Generator().manual_seed(1))
    gradients = []
    for how in (quick, _slow):
        model = untaught("hybrid", seed=1)
        with how():
            model(tokens, labels=tokens, use_cache=False).loss.backward()
        gradients.append({name: values.grad for name, values in model.named_parameters()})
    for name, wanted in gradients[1].items():
        assert (gradients[0][name] - wanted).norm() <= 1e-3 * wanted.norm() + 1e-6, name


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
        patched.setitem(COURSE, "mastered", 0.5)
        with pytest.raises(ConfigError, match="was taught in another way"):
            Teaching(plan, tmp_path / "parts")
    monkeypatch.setattr("evals.tiny.language.PHRASES", ())
    with pytest.raises(ConfigError, match="was taught other words"):
        Teaching(plan, tmp_path / "parts")


def test_a_team_teaches_one_model(torch: Any, tmp_path: Path) -> None:
    from evals.tiny.train import Plan, Teaching, Team

    plan = Plan("hybrid", tokens=3_000, batch=800)
    rows, barrier = torch.zeros(2, Teaching(plan, tmp_path / "none").shares), Barrier(2, timeout=60)
    team = [Teaching(plan, tmp_path / str(rank), Team(rank, rows, barrier.wait)) for rank in range(2)]
    with ThreadPoolExecutor(2) as threads:
        for taught in [threads.submit(each.run, lambda line: None, steps=2) for each in team]:
            taught.result(timeout=120)
    one, other = (each.model.state_dict() for each in team)
    for name, values in one.items():
        assert torch.equal(values, other[name]), name
    assert team[0].progress == team[1].progress
    assert not torch.equal(*rows)  # each had lessons of its own
    assert [path.parent.name for path in tmp_path.glob("*/checkpoint.pt")] == ["0"]


class _slow:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
