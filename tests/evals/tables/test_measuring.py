"""A table is run, resumed and printed, from the command."""

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from evals.cli import app, main
from evals.tables.measuring import Cell, shown
from evals.tables.tables import TABLES
from tests.evals.support import ROOT, jsonl
from tests.model_server import ModelServer

OFFLINE = [
    "--set=controller={model: offline:extractive}",
    "--set=judge={kind: lexical}",
    "--set=protocol=tool_calls",
    "--no-cache",
]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    def says(message: str) -> str:
        return "The mug is on the shelf [1]." if "<face_0> puts" in message else "The mug is in the hall [0]."

    with ModelServer(says=says) as one:
        yield one


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two halves of an M3-Bench of one video each."""
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "m3"
    (folder / "memories").mkdir(parents=True)
    for subset, bounds in (("robot", {"before_clip": 1, "timestamp": "01:05"}), ("web", {})):
        rows = [
            {
                "question": f"Where is the mug, {number}?",
                "answer": answer,
                "question_id": f"{subset}_{number}",
                "type": ["Multi-Detail Reasoning"],
                **bounds,
            }
            for number, answer in enumerate(["on the shelf", "in the hall"])
        ]
        video = {"video_path": "", "mem_path": "", "qa_list": rows}
        (folder / f"{subset}.json").write_text(json.dumps({subset: video}))
        told = [
            {"text": "Somebody comes in.", "position": 0, "metadata": {"appears": ["face_0"]}},
            {"text": "<face_0> puts the mug on the shelf.", "position": 1, "metadata": {"entities": ["face_0"]}},
        ]
        (folder / "memories" / f"{subset}.jsonl").write_text(jsonl(told))
    return folder


def table(name: str, out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["table", name, "--out", str(out), *OFFLINE, *arguments], terminal_width=300)


def written(out: Path) -> str:
    (file,) = out.glob("table*.md")
    return file.read_text()


def lines(out: Path) -> dict[tuple[str, str], list[str]]:
    """The table's rows, by label and column."""
    rows = [line.strip("| \n").split(" | ") for line in written(out).splitlines() if line[:1] == "|"]
    return {(row[0], row[1]): row[2:] for row in rows[2:]}


def test_published_figures_beside_those_measured(server: ModelServer, data: Path, tmp_path: Path) -> None:
    done = table("format", tmp_path / "out", f"--data={data}", f"--set=reader.options.base_url={server.base_url}")

    assert done.exit_code == 0, done.output
    found = lines(tmp_path / "out")
    assert found["Kimi-Linear reads raw captions", "robot"][:4] == ["31.4", "50.0", "2", "0"]
    structured = found["Kimi-Linear reads structured memory", "web"]
    assert structured[:4] == ["27.1", "50.0", "2", "0"]
    assert structured[5] == "0.0"
    assert "Kimi-Linear-48B-A3B-Instruct); extractive baseline" in structured[-1]
    assert "judge={kind: lexical}" in written(tmp_path / "out")


def test_it_goes_on_where_it_stopped(server: ModelServer, data: Path, tmp_path: Path) -> None:
    at = f"--set=reader.options.base_url={server.base_url}"
    table("main", tmp_path / "out", f"--data={data}", "--row=kimi", "--on=robot", at)
    first = written(tmp_path / "out")
    server.clear()

    done = table("main", tmp_path / "out", f"--data={data}", "--row=kimi", "--on=robot", at)

    assert done.exit_code == 0, done.output
    assert written(tmp_path / "out") == first
    assert not server.asked("read")


def test_a_row_that_cannot_be_run_says_why_and_the_others_are_measured(
    server: ModelServer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    at = f"--set=reader.options.base_url={server.base_url}"

    done = table("main", tmp_path / "out", f"--data={data}", "--on=web", "--row=embedding", "--row=kimi", at)

    assert done.exit_code == 1
    found = lines(tmp_path / "out")
    assert found["embedding: M3-Agent's search", "web"][1].startswith("not measured: ")
    assert found["Kimi-Linear-48B-A3B reads all", "web"][1] == "50.0"
    assert found["Kimi-Linear-48B-A3B reads all", "web"][5] == "-"


def test_a_server_that_is_down_is_no_figure(data: Path, tmp_path: Path) -> None:
    with ModelServer() as gone:
        at = f"--set=reader.options.base_url={gone.base_url}"

    done = table("main", tmp_path / "out", f"--data={data}", "--row=kimi", "--on=robot", at)

    assert done.exit_code == 1
    assert lines(tmp_path / "out")["Kimi-Linear-48B-A3B reads all", "robot"][1].startswith(
        "not measured: every question failed (memory is unavailable"
    )


def test_a_figure_is_of_one_seed(server: ModelServer, data: Path, tmp_path: Path) -> None:
    at = [f"--data={data}", "--row=kimi", "--on=web", f"--set=reader.options.base_url={server.base_url}"]
    measured = []
    for seed, words in ((0, "The mug is on the shelf [1]."), (1, "Nobody knows [1]."), (0, "")):
        server.says = words
        table("main", tmp_path / "out", *at, f"--set=seed={seed}")
        measured.append(lines(tmp_path / "out")["Kimi-Linear-48B-A3B reads all", "web"][1])

    assert measured == ["50.0", "0.0", "50.0"]


def test_brackets_of_a_failure_are_shown_as_they_are() -> None:
    found = TABLES["main"]
    console = Console(width=600, record=True, file=StringIO())
    console.print(shown(found, [Cell(found.rows[0], "robot", "accuracy", failed="not measured: [/INST] [type=x]")]))

    assert "not measured: [/INST] [type=x]" in console.export_text()


def test_what_is_not_published_shows_its_figure_only(data: Path, tmp_path: Path) -> None:
    done = table("control", tmp_path / "out", f"--data={data}", "--row=32b-grpo", "--on=robot")

    assert done.exit_code == 0, done.output
    assert lines(tmp_path / "out")["32b-grpo", "robot"][:2] == ["30.0", "its model is not published"]


def test_hits_among_candidates_with_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    turns = [
        {"speaker": "Ann", "dia_id": f"D1:{number}", "text": f"Word{number} is what I say."} for number in range(30)
    ]
    questions = [
        {"question": f"Who said word{number}?", "answer": "Ann", "evidence": [f"D1:{number}"], "category": 4}
        for number in range(6)
    ]
    talk = {"session_1": turns, "session_1_date_time": "1:56 pm on 8 May, 2023"}
    file = tmp_path / "locomo.json"
    file.write_text(json.dumps([{"sample_id": "talk", "conversation": talk, "qa": questions}]))
    lexical = "--set=reader={name: chroma, options: {embeddings: lexical, by: position}}"

    done = table("retrieval", tmp_path / "out", f"--data={file}", "--row=embedding", "--on=10", "--on=20", lexical)

    assert done.exit_code == 0, done.output
    ten, twenty = (lines(tmp_path / "out")["text-embedding-3-large", f"{count} Hit@5"] for count in (10, 20))
    assert ten[:5] == ["54.9 / 64.5", "100.0", "6", "0", "50.0"]
    assert (twenty[1], twenty[4]) == ("100.0", "25.0")
    assert ten[-1] == "chroma (lexical); extractive baseline (no model)"


def test_lists_are_made_and_graded_item_by_item(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    offline = [OFFLINE[0], *OFFLINE[2:], f"--set=reader.options.base_url={server.base_url}"]

    done = CliRunner().invoke(app, ["table", "summary", "--out", str(tmp_path), "--row=kimi", *offline])

    assert done.exit_code == 0, done.output
    assert lines(tmp_path)["Kimi-Linear-48B-A3B reads all", ""][:4] == ["95.0", "0.0 [0.0, 0.0]", "99", "0"]


def test_a_dry_run_of_a_table_asks_nothing(server: ModelServer, data: Path, tmp_path: Path) -> None:
    done = table("main", tmp_path / "out", f"--data={data}", "--row=kimi", "--dry-run")

    assert done.exit_code == 0, done.output
    assert done.output.count("what is left to ask") == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "mian"], "unknown table 'mian'; choose main, control"),
        (["table", "main"], "table main is measured on M3-Bench's folder: name it with --data"),
        (["table", "main", "--row", "kimmi"], "table main has no row 'kimmi'; choose embedding"),
        (["table", "context", "--dry-run"], "table context has neither a dry run nor columns"),
        (["table", "main", "--on", "tv"], "table main has no column 'tv'; choose robot, web"),
    ],
)
def test_what_is_asked_wrongly(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["evals", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
