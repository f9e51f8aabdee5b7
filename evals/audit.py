"""audit-judge: whether a judge can be trusted, on answers of which it is known what they are worth.

The gold answer itself must pass; the gold answer to another question of the same type, and words that are about the
question without answering it, must not. And how far the judge agrees with comparing words, on the answers of the run.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from rich.table import Table

from evals.cache import ContentCache
from evals.config import JudgeConfig, RunConfig
from evals.judge import grader, words
from evals.rows import Grade, Prediction, RowFile
from evals.statistics import Estimate, clustered, kappa
from linmem_langgraph.errors import ConfigError

VAGUE = "It is known from what was seen: this has to do with {words}."
"""An answer to any question."""


class Audit(NamedTuple):
    """What became of answers of known worth.

    Args:
        judge: what it is called in grades.
        passed: the share that it took for correct, by what they are.
        should: whether they should be.
        agreement: with comparing words, on the run's own answers: Cohen's kappa; None where all have one label.
        parses_differ: the share of replies that the official parse reads otherwise than the strict one; None where
            nothing is parsed.
    """

    judge: str
    passed: dict[str, Estimate]
    should: dict[str, bool]
    agreement: float | None
    parses_differ: float | None


def audit(
    config: RunConfig,
    folder: Path,
    questions: int,
    progress: Callable[[int, int], object] = lambda done, total: None,
    cache: ContentCache | None = None,
) -> Audit:
    """Ask the judge of a run about the first so many questions of its main reader.

    Args:
        cache: what the judge has said before is not asked again.

    Raises:
        ConfigError: there are no predictions that can be scored, or the judge fails.
    """
    rows = [
        row
        for row in RowFile(folder / "predictions.jsonl").read(Prediction)
        if row.arm == "main" and row.gold is not None
    ][:questions]
    if not rows:
        raise ConfigError(f"{folder / 'predictions.jsonl'} has no rows that can be scored: run predict first")
    grade, judge = grader(config.judge, config, cache)
    lexical, _ = grader(JudgeConfig(), config)
    known = {
        "the gold answer": (True, [_with(row, row.gold or "") for row in rows]),
        "the gold answer to another question": (False, list(_shuffled(rows))),
        "words about the question": (False, [_with(row, VAGUE.format(words=_topic(row))) for row in rows]),
    }
    total, done = sum(len(asked) for _, asked in known.values()) + len(rows), 0

    def graded(asked: Iterable[Prediction]) -> list[tuple[Prediction, Grade]]:
        nonlocal done
        pairs = []
        for row in asked:
            pairs.append((row, grade(row)))
            done += 1
            progress(done, total)
        return pairs

    found = {what: graded(asked) for what, (_, asked) in known.items()}
    own = graded(rows)
    replies = [each for pairs in [*found.values(), own] for _, each in pairs if each.other is not None]
    passed = {what: clustered((row.cluster, each.score) for row, each in pairs) for what, pairs in found.items()}
    return Audit(
        judge=judge,
        passed={what: estimate for what, estimate in passed.items() if estimate},
        should={what: should for what, (should, _) in known.items()},
        agreement=kappa([(each.score, lexical(row).score) for row, each in own]),
        parses_differ=sum(each.other != each.label for each in replies) / len(replies) if replies else None,
    )


def audit_table(found: Audit) -> Table:
    """For the terminal."""
    table = Table("answer", "should pass", "passed % [95% CI]", "n", title=f"judge: {found.judge}")
    for what, estimate in found.passed.items():
        table.add_row(what, "yes" if found.should[what] else "no", str(estimate), str(estimate.n))
    agreement = "-" if found.agreement is None else f"{found.agreement:.2f}"
    parses = "" if found.parses_differ is None else f"; the two parses differ on {100 * found.parses_differ:.1f}%"
    table.caption = f"agreement with comparing words on the run's answers: kappa {agreement}{parses}"
    return table


def _with(row: Prediction, answer: str) -> Prediction:
    return row.model_copy(update={"answer": answer, "error": ""})


def _shuffled(rows: Sequence[Prediction]) -> Iterable[Prediction]:
    """Each question with the answer to another one of its types that has another answer, as far as there is one."""
    answers: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in rows:
        answers[row.types].append(row.gold or "")
    rng = Random(0)
    for row in rows:
        others = sorted({answer for answer in answers[row.types] if words(answer) != words(row.gold or "")})
        if others:
            yield _with(row, rng.choice(others))


def _topic(row: Prediction) -> str:
    gold = set(words(row.gold or ""))
    return ", ".join(word for word in words(row.question)[1:] if word not in gold) or "it"
