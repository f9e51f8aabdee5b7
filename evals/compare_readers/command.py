"""`python -m evals compare-readers`."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel

from evals.benchmarks.locomo import load
from evals.compare_readers import household, locomo
from evals.compare_readers.asking import Work, all_kept, kept
from evals.compare_readers.candidates import Candidate, ReadBy, candidates, tiny_models
from evals.compare_readers.growth import Growth, ends, growth
from evals.compare_readers.report import Done, clips, grown, remarks, write_report
from evals.compare_readers.worlds import merged
from evals.config import only_writer
from linmem_langgraph import by_name

HOUSEHOLD = "household"

Say = Callable[[str], object]


class Wanted(NamedTuple):
    """What is compared.

    Args:
        sizes: clips of the household memories.
        questions: to each size, at least.
        models: linmem-tiny's, by name or folder; none = all that are shipped.
        readers: none = all.
        locomo: LoCoMo's JSON file, where it is to be read.
        embeddings: the name of those that LoCoMo's turns are found by.
        answers: the name of the model that reads LoCoMo, and answers from what a reader returns.
    """

    sizes: Sequence[int]
    questions: int
    models: Sequence[str] = ()
    readers: Sequence[str] = ()
    locomo: Path | None = None
    embeddings: str = "lexical"
    answers: str | None = None


def run(wanted: Wanted, out: Path, say: Say) -> list[Done]:
    """Measure what is not measured yet, and write the report.

    Raises:
        ConfigError: `out` is in use, or a name, a size or a file is wrong.
    """
    left_out: list[str] = []
    with only_writer(out):
        found, told = _households(wanted, out / "measured", say, left_out.append)
        if wanted.locomo:
            found += _locomo(wanted, wanted.locomo, out / "measured", say, left_out.append)
            if not wanted.answers:
                told.append("LoCoMo has no F1: no model was given that can answer (--answers).")
        for line in dict.fromkeys(left_out):
            say(f"left out: {line}")
        write_report(found, [*dict.fromkeys(left_out)], told, out)
    return found


def _households(wanted: Wanted, folder: Path, say: Say, left_out: Say) -> tuple[list[Done], list[str]]:
    """What was found, and what is to be said about it."""
    models = tiny_models(wanted.models)
    readers = candidates(models, household.GIVEN, household.TUNED, left_out, wanted.readers)
    sizes = sorted(set(wanted.sizes))
    memories = {size: merged(size, wanted.questions, sizes[-1]) for size in sizes}
    found = []
    for size, of_size in memories.items():
        for reader in readers:
            say(f"{reader.label}: households of {clips(size)}")
            works = [
                (_told(reader, household.told([memory])), partial(household.work, reader, [memory]))
                for memory in of_size
            ]
            found.append(Done(HOUSEHOLD, clips(size), reader.label, all_kept(folder, works)))
    failed = {done.reader for done in found if done.work.error}
    told = remarks(found, household.RIGHT)
    if pair := ends(sizes):
        small, large = (memories[size][0] for size in pair)
        place = f"{clips(pair[0])} and {clips(pair[1])} in turn"
        for reader in (each for each in readers if each.label not in failed):
            say(f"{reader.label}: {place}")
            which = _told(reader, ["in turn", *household.told([small, large])])
            done = kept(folder, which, Growth, partial(growth, reader, small, large))
            if done.took:
                told.append(grown(reader.label, pair, done.took))
            else:
                found.append(Done(HOUSEHOLD, place, reader.label, Work(error=done.error)))
    return found, told


def _locomo(wanted: Wanted, file: Path, folder: Path, say: Say, left_out: Say) -> list[Done]:
    model: BaseChatModel | None = by_name.chat_model(wanted.answers) if wanted.answers else None
    models = [ReadBy(str(wanted.answers), model, str(wanted.answers))] if model else []
    given = {"embeddings": wanted.embeddings, "limit": locomo.DEPTH}
    readers = candidates(models, given, {}, lambda line: left_out(f"LoCoMo: {line}"), wanted.readers)
    found = []
    for task, memories in locomo.talks(load(file)).items():
        size = sum(len(talk.records) for talk in memories) // len(memories)
        for reader in readers:
            say(f"{reader.label}: {task}")
            works = [
                (_told(reader, [wanted.answers, *locomo.told([talk])]), partial(locomo.work, reader, [talk], model))
                for talk in memories
            ]
            found.append(Done("LoCoMo", f"{size} records", reader.label, all_kept(folder, works)))
    return found


def _told(reader: Candidate, told: Sequence[Any]) -> str:
    return json.dumps([version("linmem-langgraph"), reader.version, told])
