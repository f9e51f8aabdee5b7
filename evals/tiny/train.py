"""Teach linmem-tiny to read: `python -m evals.tiny.train hybrid --out runs/tiny/hybrid`.

It can be stopped and goes on where it was; the same seed gives the same lessons. It begins with short memories, and
goes on to longer ones as soon as most of their questions are answered right.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import torch
import typer
from torch.nn.functional import cross_entropy
from transformers import Qwen3NextForCausalLM

from evals.tiny.architectures import Kind, parameters, untaught
from evals.tiny.delta_rule import quick
from evals.tiny.language import POSITIONS, tokenizer
from evals.tiny.lessons import Lesson, lesson
from linmem_langgraph.errors import ConfigError

CLIPS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
"""How long memories are, one length after the other."""

MASTERED = 0.8
"""Share of answers that are right to the word before longer memories come."""

NEWEST = 0.7
"""How often a batch has the longest memories of the time; else any shorter ones."""

POSITION_WEIGHT = 5.0
"""How much more a position in an answer counts in the loss than a word: it is one token of a sentence, and the hardest.
The positions in the memory are to be foretold, too, each from the one before: so it learns which clip it is in."""

WARM_UP = 200
LEAST_RATE = 0.03
"""Of the learning rate, at the end."""

KEPT = 200
"""Steps between two checkpoints."""

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Plan:
    """How it is taught.

    Args:
        tokens: of all lessons.
        batch: tokens of one step, about.
        questions: of one memory.
        rate: the highest learning rate.
    """

    kind: Kind
    seed: int = 0
    tokens: int = 60_000_000
    batch: int = 4_000
    questions: int = 48
    rate: float = 3e-3


@dataclass
class Progress:
    """Where it is. `mastered` is a running mean over the batches with the longest memories."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    longest: int = CLIPS[0]
    mastered: float = 0.0


class Teaching:
    """One model being taught.

    Args:
        folder: where the checkpoint is, if there is one.

    Raises:
        ConfigError: the checkpoint is of another plan, or of another vocabulary.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder, self.progress = plan, folder, Progress()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = untaught(plan.kind, seed=plan.seed).to(self.device)
        decayed = [values for values in self.model.parameters() if values.ndim == 2]
        others = [values for values in self.model.parameters() if values.ndim != 2]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))
        self._words = tokenizer()
        positions = [self._words.token_to_id(f"[{number}]") for number in range(POSITIONS)]
        self._positions = torch.tensor(positions, device=self.device)
        if self._checkpoint.exists():
            self._load()

    def run(self, say: Callable[[str], None], *, minutes: float = math.inf, steps: float = math.inf) -> None:
        """Teach until the plan is done, or for so long, or so many steps."""
        self.model.train()
        end, last = time.monotonic() + 60 * minutes, self.progress.step + steps
        while self.progress.tokens < self.plan.tokens and time.monotonic() < end and self.progress.step < last:
            started = time.monotonic()
            loss, right = self._step()
            self.progress.seconds += time.monotonic() - started
            if self.progress.step % 50 == 0:
                p = self.progress
                say(
                    f"step {p.step}: {p.tokens / 1e6:.2f}M tokens, {p.seconds / 60:.1f} min, {p.longest} clips, "
                    f"loss {loss:.4f}, right {right:.3f}, mean {p.mastered:.3f}, {p.tokens / p.seconds:,.0f} tokens/s"
                )
            if self.progress.step % KEPT == 0:
                self._save()
        self._save()

    def _step(self) -> tuple[float, float]:
        plan, progress = self.plan, self.progress
        rng = Random(f"{plan.seed}:{progress.step}")
        is_newest = rng.random() < NEWEST
        clips = progress.longest if is_newest else rng.choice([n for n in CLIPS if n <= progress.longest])
        # A clip has about 13 tokens; a question and its answer have 20. A short memory soon has no questions left but
        # those that it cannot answer.
        questions = min(plan.questions, 2 * clips)
        size = max(1, plan.batch // (13 * clips + 20 * questions))
        lessons = [lesson(rng, self._words, clips=clips, questions=questions) for _ in range(size)]
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        loss, right = self._learn(lessons)
        progress.step += 1
        progress.tokens += sum(len(each.tokens) for each in lessons)
        if is_newest:
            progress.mastered += 0.05 * (right - progress.mastered)
            if progress.mastered > MASTERED and progress.longest < CLIPS[-1]:
                progress.longest, progress.mastered = CLIPS[CLIPS.index(progress.longest) + 1], 0.0
        return loss, right

    def _rate(self) -> float:
        done = self.progress.tokens / self.plan.tokens
        cosine = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
        return self.plan.rate * min(1.0, (self.progress.step + 1) / WARM_UP) * cosine

    def _learn(self, lessons: list[Lesson]) -> tuple[float, float]:
        tokens, said = batched(lessons, self.device)
        positions = torch.isin(tokens, self._positions)
        losses, right = learnt(self.model, tokens, said | positions, said)
        weights = torch.where(positions & said, POSITION_WEIGHT, 1.0)[:, 1:][(said | positions)[:, 1:]]
        loss = (weights * losses).sum() / weights.sum()
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        return loss.item(), right

    @property
    def _checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def _save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "plan": asdict(self.plan),
            "words": self._words.to_str(),
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        partial = self._checkpoint.with_suffix(".new")
        torch.save(whole, partial)
        partial.replace(self._checkpoint)

    def _load(self) -> None:
        whole: dict[str, Any] = torch.load(self._checkpoint, map_location=self.device)
        if whole["plan"] != asdict(self.plan):
            raise ConfigError(f"{self._checkpoint} is of another plan, {json.dumps(whole['plan'])}: give another --out")
        if whole["words"] != self._words.to_str():
            raise ConfigError(f"{self._checkpoint} was taught other words than there are now: give another --out")
        self.progress = Progress(**whole["progress"])
        self.model.load_state_dict(whole["model"])
        self._optimizer.load_state_dict(whole["optimizer"])


def batched(lessons: list[Lesson], device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, and which of them are to be said: two tensors (lessons, length), filled up at the end."""
    length = max(len(each.tokens) for each in lessons)
    tokens = torch.zeros(len(lessons), length, dtype=torch.long)
    said = torch.zeros(len(lessons), length, dtype=torch.bool)
    for row, each in enumerate(lessons):
        tokens[row, : len(each.tokens)] = torch.tensor(each.tokens)
        said[row, : len(each.tokens)] = torch.tensor(each.answers)
    return tokens.to(device), said.to(device)


def learnt(
    model: Qwen3NextForCausalLM, tokens: torch.Tensor, foretold: torch.Tensor, said: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """The loss of each token that is to be foretold, and the share of answers of which every token is the likeliest."""
    hidden = model.model(tokens, use_cache=False).last_hidden_state
    mask, answers = foretold[:, 1:], said[:, 1:]
    logits, wanted = model.lm_head(hidden[:, :-1][mask]), tokens[:, 1:][mask]
    wrong = torch.zeros_like(mask).masked_scatter(mask, logits.argmax(-1) != wanted)
    # An answer begins where the token before is not one.
    begins = answers & ~torch.nn.functional.pad(answers, (1, 0))[:, :-1]
    number = begins.flatten().cumsum(0)[answers.flatten()] - 1
    mistakes = torch.zeros(int(number[-1]) + 1, device=tokens.device).index_add_(0, number, wrong[answers].float())
    return cross_entropy(logits, wanted, reduction="none"), (mistakes == 0).float().mean().item()


def main(
    kind: Annotated[Kind, typer.Argument(help="What it is made of.")],
    out: Annotated[Path, typer.Option(help="The folder of the checkpoint; it goes on from there.")],
    seed: Annotated[int, typer.Option(help="Another seed: other weights to begin with, other lessons.")] = 0,
    tokens: Annotated[int, typer.Option(help="Of all lessons.")] = Plan.tokens,
    batch: Annotated[int, typer.Option(help="Tokens of one step, about.")] = Plan.batch,
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = Plan.rate,
    minutes: Annotated[float, typer.Option(help="Stop after so long; call it again to go on.")] = math.inf,
) -> None:
    """Teach a model, from nothing or from where it was."""
    try:
        teaching = Teaching(Plan(kind=kind, seed=seed, tokens=tokens, batch=batch, rate=rate), out)
    except ConfigError as exc:
        raise typer.BadParameter(str(exc)) from exc
    print(f"{kind}: {parameters(teaching.model):,} parameters, on {teaching.device}", flush=True)
    with quick():
        teaching.run(lambda line: print(line, flush=True), minutes=minutes)


if __name__ == "__main__":
    typer.run(main)
