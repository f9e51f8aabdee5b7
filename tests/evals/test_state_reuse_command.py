"""The benchmark of state reuse: its targets, tables, files and plots, and the command."""

import json
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evals.bench.state_reuse import command, plots
from evals.bench.state_reuse.results import Outcome, Row, Target, figure, quantile
from evals.bench.state_reuse.scale import Scale
from evals.bench.state_reuse.servers import Kind
from evals.bench.timing import Ratio
from linmem_langgraph.errors import ConfigError


def outcome(*rows: Row, name: str = "append", **more: Any) -> Outcome:
    labels = {"title": "A title", "ours": "with", "theirs": "without", "ratio": "times"}
    return Outcome(name=name, rows=rows, **{**labels, **more})


def shown(found: Outcome) -> str:
    file = StringIO()
    Console(width=140, file=file).print(found.table())
    return file.getvalue()


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (Target(least=20), 20, True),
        (Target(least=20), 19.99, False),
        (Target(most=2), 2, True),
        (Target(most=2), 2.01, False),
        (Target(least=1, most=1), 1, True),
        (Target(least=1, most=1), 1.1, False),
        (Target(most=2), float("nan"), False),
    ],
)
def test_a_target_is_met_within_its_bounds(target: Target, value: float, met: bool) -> None:
    assert target.met(value) is met


def test_a_target_is_for_the_ratio_or_for_ours_without_one() -> None:
    assert Row(what="", ours=9, theirs=1, ratio=3, target=Target(most=5)).met is True
    assert Row(what="", ours=9, theirs=1, target=Target(most=5)).met is False
    assert Row(what="", ours=9).met is None


def test_how_many_times_faster_is_the_inverse_of_the_ratio_of_times() -> None:
    timed = Ratio(ours=0.05, theirs=1.0, ratio=0.04, low=0.02, high=0.08)
    faster, slower = Row.faster("read", timed, 5), Row.slower("read", timed, 5)
    assert (faster.ours, faster.theirs, faster.ratio) == (50, 1000, 25)
    assert (faster.low, faster.high) == (12.5, 50)
    assert (slower.low, slower.ratio, slower.high) == (0.02, 0.04, 0.08)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0, "0"), (0.00412, "0.0041"), (0.513, "0.51"), (5.126, "5.13"), (51.26, "51.3"), (5126.4, "5,126")],
)
def test_figures_have_the_digits_that_matter(value: float | None, text: str) -> None:
    assert figure(value) == text
    assert figure(value, "ms") == (text and f"{text} ms")


def test_a_table_has_the_columns_that_say_something_and_says_what_was_missed() -> None:
    text = shown(outcome(Row(what="read", ours=3, theirs=1, ratio=3, target=Target(most=2)), Row(what="other", ours=7)))
    for words in ("A title", "with", "without", "times", "≤ 2", "NO", "read", "other"):
        assert words in text
    assert "quartiles" not in text
    assert "NO" not in shown(outcome(Row(what="read", ours=3, theirs=1, ratio=2, target=Target(most=2))))


def test_quantiles_of_nothing_are_no_numbers() -> None:
    assert str(quantile([], 0.5)) == "nan"
    assert quantile([1.0, 2.0, 9.0], 0.5) == 2


def test_scenarios_run_once_and_in_their_order() -> None:
    assert command.select([]) == list(command.SCENARIOS)
    assert command.select(["writes", "latency", "writes"]) == ["latency", "writes"]
    alone = command.select([], only={"reuse"})
    assert "latency" in alone
    assert not {"answers", "small_cache"} & set(alone)


@pytest.mark.parametrize(
    ("names", "said"),
    [(["latancy"], "unknown scenario 'latancy': choose latency, append, "), (["answers"], "leave --url out")],
)
def test_scenarios_that_cannot_run_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        command.select(names, only={"reuse"})


def test_a_run_of_one_scenario_keeps_what_others_found(tmp_path: Path) -> None:
    file = tmp_path / command.FILE
    row = Row(what="read", ours=3, theirs=1, ratio=3, target=Target(most=2))
    command.keep(file, outcome(row, name="append"), {"cores": 2})
    command.keep(file, outcome(name="busy"), {"cores": 2})
    command.keep(file, outcome(row, name="busy"), {"cores": 4})
    kept = json.loads(file.read_text())
    assert {name: each["set_up"] for name, each in kept.items()} == {"append": {"cores": 2}, "busy": {"cores": 4}}
    assert kept["append"]["rows"] == [
        {
            "what": "read",
            "unit": "",
            "ours": 3.0,
            "theirs": 1.0,
            "ratio": 3.0,
            "n": 1,
            "target": {"most": 2.0},
            "met": False,
        }
    ]
    assert [path.name for path in tmp_path.iterdir()] == [command.FILE]


def test_a_file_that_is_something_else_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / command.FILE
    file.write_text("notes")
    with pytest.raises(ConfigError, match="delete it"):
        command.keep(file, outcome(), {})
    assert file.read_text() == "notes"


def test_the_set_up_is_whole() -> None:
    made_with = command.set_up(Scale(), {"reuse": {"model": "tiny", "vllm": "0.32.0"}})
    assert made_with["servers"]["reuse"]["vllm"] == "0.32.0"
    assert made_with["scale"]["repeats"] == 5
    assert made_with["cores"] >= 1
    assert json.loads(json.dumps(made_with)) == json.loads(json.dumps(made_with))


class FakeServer:
    def facts(self) -> dict[str, Any]:
        return {"model": "tiny"}

    def characters_per_token(self) -> float:
        return 2.0


@pytest.fixture
def fake_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def servers(url: str | None, kinds: set[Kind], *_: object) -> Iterator[dict[Kind, FakeServer]]:
        yield {kind: FakeServer() for kind in kinds}

    monkeypatch.setattr(command, "_servers", servers)


@pytest.mark.usefixtures("fake_servers")
def test_each_scenario_is_printed_and_kept_as_soon_as_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(stand: Any) -> Outcome:
        assert stand.per_token == 2.0
        return outcome(Row(what="a row", ours=1), name="append")

    def fail(stand: Any) -> Outcome:
        raise RuntimeError("broken")

    scenarios = {"append": command.Scenario(measure), "busy": command.Scenario(fail)}
    monkeypatch.setattr(command, "SCENARIOS", scenarios)
    console = Console(width=140, record=True)
    with pytest.raises(RuntimeError, match="broken"):
        command.run([], Scale.quick(), url=None, out=tmp_path / "new", console=console)
    assert "a row" in console.export_text()
    assert [*json.loads((tmp_path / "new" / command.FILE).read_text())] == ["append"]
    (found,) = command.run(["append"], Scale.quick(), url=None, out=tmp_path, console=console)
    assert found.seconds > 0


def test_the_command_takes_its_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []

    def run(names: list[str], scale: Scale, *, url: str | None, out: Path, console: Console) -> None:
        asked.append((names, scale, url, out))
        if names == ["no"]:
            raise ConfigError("unknown scenario 'no'")

    monkeypatch.setattr(command, "run", run)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["python -m evals.bench", "state_reuse", *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_module("evals.bench", run_name="__main__", alter_sys=True)
        return int(left.value.code or 0)

    assert call() == 0
    assert (
        call("--scenario", "busy", "--scenario", "append", "--quick", "--repeats", "9", "--url", "u", "--out", "x") == 0
    )
    assert asked == [
        ([], Scale(), None, Path("runs/bench")),
        (["busy", "append"], Scale.quick().model_copy(update={"repeats": 9}), "u", Path("x")),
    ]
    assert call("--scenario", "no") == 2
    assert "error: unknown scenario 'no'" in capsys.readouterr().out


DRAWN: dict[str, dict[str, list[tuple[float, float]]]] = {
    "latency": {"state reused": [(2_000, 31.0), (32_000, 50.0)], "question first": [(2_000, 90.0), (32_000, 2_000.0)]},
    "concurrency": {
        "state reused, 1 memory": [(1, 20.0), (8, 40.0)],
        "question first, 16 memories": [(1, 4.0), (8, 5.0)],
    },
    "m3_schedule": {"state reused, by the readings": [(0, 94.4)], "question first, by the readings": [(0, 0.0)]},
}


@pytest.mark.parametrize("name", DRAWN)
def test_plots_are_files_that_stand_alone(name: str, tmp_path: Path) -> None:
    file = plots.draw(outcome(name=name, series=DRAWN[name]), tmp_path)
    assert file is not None
    svg = file.read_text()
    assert file.name == f"state_reuse_{name}.svg"
    assert "var(" not in svg
    assert "#0000" not in svg
    assert {"latency": "32,000", "concurrency": "state reused, 1 memory", "m3_schedule": "94.4"}[name] in svg
    assert "mathdefault" not in svg


def test_what_has_no_series_is_not_drawn(tmp_path: Path) -> None:
    assert plots.draw(outcome(name="append"), tmp_path) is None
    assert list(tmp_path.iterdir()) == []
