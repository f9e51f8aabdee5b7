"""Teach linmem-tiny to read: `python -m evals.tiny.train hybrid --out runs/tiny/hybrid`.

It can be stopped and goes on where it was; the same seed on the same machine gives the same model. It begins with short
memories, and goes on to longer ones as soon as most of their questions are answered right, or patience is at an end.
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from multiprocessing.synchronize import Barrier
from pathlib import Path
from random import Random
from typing import Annotated, Any
from unittest.mock import patch

import typer

try:
    import torch
except ImportError as exc:
    raise ImportError("linmem-tiny is taught with torch and transformers: pip install -e '.[tiny]'") from exc
from torch import multiprocessing
from torch.nn.functional import cross_entropy, rms_norm
from transformers import Qwen3NextForCausalLM

from evals.config import only_writer
from evals.tiny.architectures import HIDDEN, Kind, parameters, untaught
from evals.tiny.branches import read
from evals.tiny.language import POSITIONS, tokenizer
from evals.tiny.lessons import Lesson, lesson
from evals.tiny.tree import Tree, tree
from linmem_langgraph.errors import ConfigError

CLIPS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
"""How long memories are, one length after the other."""

MASTERED = 0.5
"""Share of answers that are right to the word before longer memories come."""

NEWEST = 0.7
"""How often a batch has the longest memories of the time; else any shorter ones."""

POSITION_WEIGHT, MEMORY_WEIGHT = 5.0, 0.3
"""How much a position in an answer, and a word of the memory, count in the loss; a word of an answer counts 1. A
position is one token of a sentence, and the hardest. Much of a memory can be foretold from what was told before."""

CLIP_WEIGHT = 0.3
"""How much it counts that the first layer's output at each token of the memory tells the clip. A position stands at the
beginning of a line and is needed after its end: that it must be carried along is learnt late otherwise."""

WARM_UP, DECAY, LEAST_RATE = 200, 0.25, 0.03
"""The learning rate grows in so many steps; it falls in this last share of the tokens, evenly, to this part of itself.
So how long it is taught can be decided late: `--tokens` may change from call to call, and so may `--patience`."""

PROCESSES = 2
"""On a CPU, each with its share of a batch: operations as small as these gain nothing by threads."""

MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
"""For glibc: keep the memory of one step for the next. It saves a tenth of the time."""

KEPT = 200
"""Steps between two checkpoints."""

CHECKPOINT = "checkpoint.pt"


COURSE = {
    "clips": CLIPS,
    "mastered": MASTERED,
    "newest": NEWEST,
    "weights": (POSITION_WEIGHT, MEMORY_WEIGHT, CLIP_WEIGHT),
    "rate": (WARM_UP, DECAY, LEAST_RATE),
}
"""What is the same for all plans; a checkpoint goes on only in the same way."""


@dataclass(frozen=True)
class Plan:
    """How it is taught.

    Args:
        tokens: of all lessons.
        batch: tokens of one step, about.
        questions: of one memory.
        rate: the highest learning rate.
        patience: tokens of lessons after which longer memories come though these are not mastered.
    """

    kind: Kind
    seed: int = 0
    tokens: int = 48_000_000
    batch: int = 2_500
    questions: int = 48
    rate: float = 3e-3
    patience: float = math.inf


@dataclass
class Progress:
    """Where it is.

    Args:
        lengthened: after how many tokens the longest memories came.
        mastered: a running mean over the batches with these.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    longest: int = CLIPS[0]
    lengthened: int = 0
    mastered: float = 0.0


class Team:
    """Processes that teach the same model, each with its share of the lessons.

    Args:
        rank: which of them this one is.
        rows: memory that they share, a row for each; None = there is one.
        meet: waits until all are there.
    """

    def __init__(self, rank: int = 0, rows: torch.Tensor | None = None, meet: Callable[[], object] = int) -> None:
        self.rank, self.size, self._rows, self._meet = rank, 1 if rows is None else len(rows), rows, meet

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Of the values that each has; the same for all, to the bit."""
        if self._rows is None:
            return values
        self._rows[self.rank, : len(values)] = values
        self._meet()
        mean = self._rows[:, : len(values)].mean(0)
        self._meet()
        return mean


class Teaching:
    """One model being taught.

    Args:
        folder: where the checkpoint is, if there is one.
        team: who teaches it as well, all with the same plan and folder.

    Raises:
        ConfigError: the checkpoint is of another plan, or of another vocabulary.
    """

    def __init__(self, plan: Plan, folder: Path, team: Team | None = None) -> None:
        self.plan, self.folder, self.progress, self._team = plan, folder, Progress(), team or Team()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = untaught(plan.kind, seed=plan.seed).to(self.device)
        torch.manual_seed(plan.seed)
        self._clips = torch.nn.Linear(HIDDEN, POSITIONS).to(self.device)  # not part of the model
        decayed = [values for values in self.model.parameters() if values.ndim == 2]
        others = [values for values in self.model.parameters() if values.ndim != 2] + [*self._clips.parameters()]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self._taught = [*decayed, *others]
        self._optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), fused=True)
        self._words = tokenizer()
        positions = [self._words.token_to_id(f"[{number}]") for number in range(POSITIONS)]
        self._positions = torch.tensor(positions, device=self.device)
        if self._checkpoint.exists():
            self._load()

    def run(self, say: Callable[[str], object], *, minutes: float = math.inf, steps: float = math.inf) -> None:
        """Teach until the plan is done, or for so long, or so many steps."""
        self.model.train()
        end, last = self.progress.seconds + 60 * minutes, self.progress.step + steps
        self._begin = time.monotonic() - self.progress.seconds
        while self.progress.tokens < self.plan.tokens and self.progress.seconds < end and self.progress.step < last:
            loss, right = self._step()
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
        size = max(PROCESSES, plan.batch // (13 * clips + 20 * questions))
        lessons = [lesson(rng, self._words, clips=clips, questions=questions) for _ in range(size)]
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        loss, right = self._learn(lessons)
        progress.step += 1
        progress.tokens += sum(len(each.tokens) for each in lessons)
        if is_newest:
            progress.mastered += 0.05 * (right - progress.mastered)
            is_enough = progress.mastered > MASTERED or progress.tokens - progress.lengthened > plan.patience
            if is_enough and progress.longest < CLIPS[-1]:
                progress.longest, progress.mastered = CLIPS[CLIPS.index(progress.longest) + 1], 0.0
                progress.lengthened = progress.tokens
        return loss, right

    def _rate(self) -> float:
        left = 1 - self.progress.tokens / self.plan.tokens
        return self.plan.rate * min((self.progress.step + 1) / WARM_UP, 1.0, max(left / DECAY, LEAST_RATE))

    def _learn(self, lessons: list[Lesson]) -> tuple[float, float]:
        mine = self._gradients(lessons[self._team.rank :: self._team.size])
        clock = torch.tensor([time.monotonic() - self._begin], device=self.device)
        *gradients, loss, right, seconds = self._shared((*mine, clock))
        for values, gradient in zip(self._taught, gradients, strict=True):
            values.grad = gradient
        torch.nn.utils.clip_grad_norm_(self._taught, 1.0)
        self._optimizer.step()
        self.progress.seconds = seconds.item()
        return loss.item(), right.item()

    @property
    def shares(self) -> int:
        """How many numbers the processes of a team tell each other in a step."""
        sizes: list[int] = [values.numel() for values in self._taught]
        return sum(sizes) + 3

    def _shared(self, parts: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """The means over all processes."""
        means = self._team.mean(torch.cat([part.flatten() for part in parts]))
        each = means.split([part.numel() for part in parts])
        return [mean.view_as(part) for mean, part in zip(each, parts, strict=True)]

    def _gradients(self, lessons: list[Lesson]) -> tuple[torch.Tensor, ...]:
        """The gradients, the loss, and the share of right answers."""
        tokens, said, clips = (
            torch.tensor([[*chain.from_iterable(column)]], device=self.device)
            for column in ((each[part] for each in lessons) for part in range(3))
        )
        told = clips >= 0
        with torch.device(self.device):
            standing = tree([each.lengths for each in lessons])
        weights = torch.where(said, torch.where(torch.isin(tokens, self._positions), POSITION_WEIGHT, 1), MEMORY_WEIGHT)
        with torch.autocast(self.device, torch.bfloat16):
            losses, right, first = learnt(self.model, tokens, standing, said | told, said)
            of_clips = cross_entropy(self._clips(rms_norm(first[told], (HIDDEN,))), clips[told])
        weights = weights[:, 1:][(said | told)[:, 1:]]
        loss = (weights * losses).sum() / weights.sum() + CLIP_WEIGHT * of_clips
        return *torch.autograd.grad(loss, self._taught), loss.detach(), right

    @property
    def _checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def _save(self) -> None:
        if self._team.rank:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "course": COURSE,
            "plan": asdict(self.plan),
            "words": self._words.to_str(),
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "clips": self._clips.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        partial = self._checkpoint.with_suffix(".new")
        torch.save(whole, partial)
        partial.replace(self._checkpoint)

    def _load(self) -> None:
        whole: dict[str, Any] = torch.load(self._checkpoint, map_location=self.device)
        if whole.get("course") != COURSE:
            raise ConfigError(f"{self._checkpoint} was taught in another way than models are now: give another --out")
        changing = {"tokens": self.plan.tokens, "patience": self.plan.patience}
        if whole["plan"] | changing != asdict(self.plan):
            raise ConfigError(f"{self._checkpoint} is of another plan, {json.dumps(whole['plan'])}: give another --out")
        if whole["words"] != self._words.to_str():
            raise ConfigError(f"{self._checkpoint} was taught other words than there are now: give another --out")
        self.progress = Progress(**whole["progress"])
        self.model.load_state_dict(whole["model"])
        self._clips.load_state_dict(whole["clips"])
        self._optimizer.load_state_dict(whole["optimizer"])


def learnt(
    model: Qwen3NextForCausalLM, tokens: torch.Tensor, standing: Tree, foretold: torch.Tensor, said: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss of each token that is to be foretold; the share of answers of which every token is the likeliest; and
    the first layer's output.
    """
    outputs = read(model, tokens, standing)
    _, first, *_ = outputs.hidden_states
    hidden = outputs.last_hidden_state
    mask, answers = foretold[:, 1:], said[:, 1:]
    logits, wanted = model.lm_head(hidden[:, :-1][mask]), tokens[:, 1:][mask]
    wrong = torch.zeros_like(mask).masked_scatter(mask, logits.argmax(-1) != wanted)
    # An answer begins where the token before is not one.
    begins = answers & ~torch.nn.functional.pad(answers, (1, 0))[:, :-1]
    number = begins.flatten().cumsum(0)[answers.flatten()] - 1
    mistakes = torch.zeros(int(number[-1]) + 1, device=tokens.device).index_add_(0, number, wrong[answers].float())
    return cross_entropy(logits, wanted, reduction="none"), (mistakes == 0).float().mean(), first


def main(
    kind: Annotated[Kind, typer.Argument(help="What it is made of.")],
    out: Annotated[Path, typer.Option(help="The folder of the checkpoint; it goes on from there.")],
    seed: Annotated[int, typer.Option(help="Another seed: other weights to begin with, other lessons.")] = 0,
    tokens: Annotated[int, typer.Option(help="Of all lessons.")] = Plan.tokens,
    batch: Annotated[int, typer.Option(help="Tokens of one step, about.")] = Plan.batch,
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = Plan.rate,
    patience: Annotated[
        float, typer.Option(help="Tokens until longer memories come, mastered or not.")
    ] = Plan.patience,
    minutes: Annotated[float, typer.Option(help="Stop after so long; call it again to go on.")] = math.inf,
) -> None:
    """Teach a model, from nothing or from where it was."""
    plan = Plan(kind=kind, seed=seed, tokens=tokens, batch=batch, rate=rate, patience=patience)
    try:
        with only_writer(out):
            _run(plan, out, minutes)
    except ConfigError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _run(plan: Plan, out: Path, minutes: float) -> None:
    teaching = Teaching(plan, out)
    print(f"{plan.kind}: {parameters(teaching.model):,} parameters, on {teaching.device}", flush=True)
    size, spawn = 1 if teaching.device == "cuda" else PROCESSES, multiprocessing.get_context("spawn")
    # Who waits for one that has ended, by whatever, ends as well.
    barrier = spawn.Barrier(size, timeout=600)
    job = plan, out, minutes, torch.zeros(size, teaching.shares).share_memory_(), barrier
    with patch.dict(os.environ, MEMORY):
        team = [spawn.Process(target=_teach, args=(rank, *job)) for rank in range(size)]
        for process in team:
            process.start()
    for process in team:
        process.join()
    if any(process.exitcode for process in team):
        raise typer.Exit(1)


def _teach(rank: int, plan: Plan, out: Path, minutes: float, rows: torch.Tensor, barrier: Barrier) -> None:
    torch.set_num_threads(1)
    teaching = Teaching(plan, out, Team(rank, rows, barrier.wait))
    teaching.run(partial(print, flush=True) if rank == 0 else str, minutes=minutes)


if __name__ == "__main__":
    typer.run(main)
