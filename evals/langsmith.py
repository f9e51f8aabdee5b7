"""A run in LangSmith: a dataset for the benchmark, an experiment for each row of the report, feedback from the judge.

What has been sent is noted in `langsmith.json` of the run's folder, so that a run that goes on sends only what is new.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from pydantic import BaseModel

from evals.benchmarks import load_benchmark
from evals.config import RunConfig
from evals.judge import answer_hash
from evals.labels import arm_label, controller_label
from evals.rows import Grade, Prediction, RowFile
from evals.samples import Benchmark, Sample
from linmem_langgraph.errors import ConfigError

if TYPE_CHECKING:
    from langsmith import Client
    from langsmith.schemas import Dataset

NOTES = "langsmith.json"

AT_A_TIME = 200
"""Rows that are sent before they are noted."""


class Experiment(BaseModel):
    """What LangSmith has of one row of the report; `runs` and `feedback` are hashes of what was sent, by question."""

    id: UUID
    name: str
    started: datetime
    runs: dict[str, str] = {}
    feedback: dict[str, str] = {}

    def run_id(self, question: str) -> UUID:
        """The id of a question's run, the same each time it is sent: a UUID of version 7, as LangSmith wants it."""
        digest = int.from_bytes(sha256(f"{self.id}/{question}".encode()).digest()[:10])
        when = int(self.started.timestamp() * 1000) << 80
        return UUID(int=when | 7 << 76 | (digest >> 62 & 0xFFF) << 64 | 2 << 62 | digest & (1 << 62) - 1)


class Notes(BaseModel):
    """What has been sent of a run, by the hash of what its rows depend on."""

    dataset: UUID
    experiments: dict[str, Experiment] = {}


@contextmanager
def connected() -> Iterator["Sender"]:
    """LangSmith, as `LANGSMITH_API_KEY` and `LANGSMITH_ENDPOINT` say, once it has answered.

    Raises:
        ConfigError: there is no key, it is not accepted, or LangSmith cannot be reached.
    """
    from langsmith import Client
    from langsmith.utils import LangSmithMissingAPIKeyWarning

    errors: list[Exception] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangSmithMissingAPIKeyWarning)
        client = Client(tracing_sampling_rate=1.0, tracing_error_callback=errors.append)
    try:
        if not client.api_key and "Authorization" not in client.headers:
            raise ConfigError("--langsmith needs a key: set LANGSMITH_API_KEY (LangSmith, Settings, API Keys)")
        with _told(client):
            next(iter(client.list_datasets(limit=1)), None)
        yield Sender(client, errors)
    finally:
        client.close()


class Sender:
    """Sends runs to LangSmith.

    Args:
        errors: where the client puts what went wrong beside the caller.
    """

    def __init__(self, client: "Client", errors: list[Exception]) -> None:
        self._client, self._errors = client, errors

    def send(self, config: RunConfig, out: Path) -> str:
        """Send the answers in `out`, and the grades that are there; where they are shown side by side.

        Raises:
            ConfigError: there are no answers, or LangSmith does not take them; sending again goes on.
        """
        rows = list(RowFile(out / "predictions.jsonl").read(Prediction))
        if not rows:
            raise ConfigError(f"{out / 'predictions.jsonl'} has no rows: run predict first")
        grades = {grade.key: grade for grade in RowFile(out / "scores.jsonl").read(Grade)}
        with _told(self._client):
            dataset = self._dataset(load_benchmark(**config.benchmark.model_dump()))
            notes = _noted(out, dataset)
            for row in rows:
                name = f"{row.config}-{row.seed}"
                if name not in notes.experiments:
                    notes.experiments[name] = self._experiment(config, row, dataset)
            _note(out, notes)
            for start in range(0, len(rows), AT_A_TIME):
                for row in rows[start : start + AT_A_TIME]:
                    self._send(row, grades.get(row.key), notes.experiments[f"{row.config}-{row.seed}"], dataset)
                self._flush()
                _note(out, notes)
        chosen = "%2C".join(str(experiment.id) for experiment in notes.experiments.values())
        return f"{dataset.url}/compare?selectedSessions={chosen}"

    def _dataset(self, benchmark: Benchmark) -> "Dataset":
        """The dataset of the benchmark's data, with an example for each question."""
        name = f"linmem {benchmark.name} {benchmark.fingerprint[:12]}"
        dataset: Dataset
        if self._client.has_dataset(dataset_name=name):
            dataset = self._client.read_dataset(dataset_name=name)
        else:
            told = {"benchmark": benchmark.name, "fingerprint": benchmark.fingerprint}
            dataset = self._client.create_dataset(name, description="Questions to long-term memory.", metadata=told)
        known = {example.id for example in self._client.list_examples(dataset_id=dataset.id)}
        examples = [_example(dataset.id, sample) for sample in benchmark.samples]
        if missing := [example for example in examples if example["id"] not in known]:
            self._client.create_examples(dataset_id=dataset.id, examples=missing)
        return dataset

    def _experiment(self, config: RunConfig, row: Prediction, dataset: "Dataset") -> Experiment:
        """A new one; its name ends at random, as the same set-up may be run again."""
        called = config.reader.name if row.arm == "main" else row.arm
        set_up = config.model_dump(mode="json", include={"protocol", "max_rounds", "controller", "judge", "limit"})
        labels = {"reader": arm_label(config, row.arm), "controller": controller_label(config)}
        metadata = {**set_up, **labels, "arm": row.arm, "config": row.config, "seed": row.seed}
        project = self._client.create_project(
            f"{config.name}-{called}-{token_hex(4)}",
            description=f"{labels['reader']}, asked by {labels['controller']}",
            metadata=metadata,
            reference_dataset_id=dataset.id,
        )
        return Experiment(id=project.id, name=project.name or "", started=datetime.now(UTC))

    def _send(self, row: Prediction, grade: Grade | None, experiment: Experiment, dataset: "Dataset") -> None:
        """The answer as a run and the grade as feedback, each unless LangSmith has it.

        Runs begin when their experiment does, and take as long as their answers took.
        """
        digest = _digest(row.model_dump_json())
        known, id, run = experiment.runs.get(row.question_id), experiment.run_id(row.question_id), _run(row)
        placed: dict[str, Any] = {
            "trace_id": id,
            "dotted_order": f"{experiment.started:%Y%m%dT%H%M%S%fZ}{id}",
            "session_name": experiment.name,
            "start_time": experiment.started,
            "end_time": experiment.started + timedelta(seconds=row.seconds),
            "reference_example_id": uuid5(dataset.id, row.question_id),
        }
        if known is None:
            self._client.create_run(id=id, **run, **placed)
        elif known != digest:
            self._client.update_run(id, **run | {"error": row.error}, **placed)  # "" takes back an earlier one
        experiment.runs[row.question_id] = digest
        if grade and grade.label != "unscored" and grade.answer == answer_hash(row):
            self._grade(row, grade, experiment)

    def _grade(self, row: Prediction, grade: Grade, experiment: Experiment) -> None:
        digest, comment = _digest(grade.model_dump_json()), f"{grade.label}, by {grade.judge}. {grade.raw}".strip()
        known, run = experiment.feedback.get(row.question_id), experiment.run_id(row.question_id)
        for key, score in {"correct": grade.score, "f1": grade.f1}.items():
            id = uuid5(run, key)
            if known is None:
                which: dict[str, Any] = {"run_id": run, "trace_id": run, "session_id": experiment.id}
                self._client.create_feedback(key=key, score=score, comment=comment, feedback_id=id, **which)
            elif known != digest:
                self._client.update_feedback(id, score=score, comment=comment)
        experiment.feedback[row.question_id] = digest

    def _flush(self) -> None:
        self._client.flush()
        if self._errors:
            raise ConfigError(f"LangSmith at {self._client.api_url} did not take it all: {self._errors[0]}")


def _note(out: Path, notes: Notes) -> None:
    (out / NOTES).write_text(notes.model_dump_json(indent=1), encoding="utf-8")


def _noted(out: Path, dataset: "Dataset") -> Notes:
    """What was sent to this dataset; nothing, if it is another one, as of another workspace."""
    file = out / NOTES
    if file.exists():
        notes = Notes.model_validate_json(file.read_text(encoding="utf-8"))
        if notes.dataset == dataset.id:
            return notes
    return Notes(dataset=dataset.id)


def _example(dataset: UUID, sample: Sample) -> dict[str, Any]:
    about = sample.model_dump(mode="json", include={"memory", "types", "evidence", "answerable"})
    return {
        "id": uuid5(dataset, sample.id),
        "inputs": _asked(sample.question, sample.until),
        "reference_outputs": {"answer": sample.answer},
        "metadata": {"question_id": sample.id, **about},
    }


def _run(row: Prediction) -> dict[str, Any]:
    """What a run tells: question, answer, and what it took."""
    about = {"question_id", "memory", "types", "rounds", "searches", "forced", "unparsable", "shown"}
    tokens = {"controller_tokens": row.controller.model_dump(), "reader_tokens": row.reader.model_dump()}
    return {
        "name": "m3_agent",
        "run_type": "chain",
        "inputs": _asked(row.question, row.until),
        "outputs": {"answer": row.answer},
        "error": row.error or None,
        "extra": {"metadata": {**row.model_dump(mode="json", include=about), **tokens}},
    }


def _asked(question: str, until: int | None) -> Mapping[str, Any]:
    return {"question": question} if until is None else {"question": question, "until": until}


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


@contextmanager
def _told(client: "Client") -> Iterator[None]:
    """What LangSmith refuses is an error of the set-up, in one line."""
    from langsmith.utils import LangSmithError

    try:
        yield
    except LangSmithError as exc:
        said = " ".join(str(exc).split())[:300]
        raise ConfigError(
            f"LangSmith at {client.api_url} cannot be used ({type(exc).__name__}: {said}); check LANGSMITH_ENDPOINT "
            "and LANGSMITH_API_KEY"
        ) from exc
