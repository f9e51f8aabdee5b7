"""audit-judge: a good judge passes it, and each fault of a bad one shows."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.audit import audit
from evals.cli import main
from evals.config import JudgeConfig, ModelConfig, load_config
from evals.judge import lexically_correct
from evals.rows import Prediction, RowFile
from evals.statistics import kappa
from linmem_langgraph.errors import ConfigError
from tests.evals.support import SayingModel, a_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(tmp_path_factory.mktemp("audit"), "run")


def by_words(text: str) -> bool:
    fields = {name: unescape(found) for name, found in re.findall(r"<(gold|answer)>(.*?)</\1>", text, re.DOTALL)}
    return lexically_correct(fields["gold"], fields["answer"], answerable=fields["gold"] != "not in memory")


JUDGES: dict[str, Callable[[str], str]] = {
    "good": lambda text: (
        "yes" if by_words(text) or "gold>not in memory</gold>\n<answer>not in memory<" in text else "no"
    ),
    "kind": lambda text: "yes",
    "strict": lambda text: "no",
    "wordy": lambda text: "yes" if by_words(text) else "No, I would not say yes",
}


@pytest.mark.parametrize(
    ("judge", "passed", "agreement", "differ"),
    [
        ("good", (1.0, 0.0, 0.0), 1.0, 0.0),
        ("kind", (1.0, 1.0, 1.0), 0.0, 0.0),
        ("strict", (0.0, 0.0, 0.0), 0.0, 0.0),
        ("wordy", (1.0, 0.0, 0.0), 1.0, 0.5),
    ],
)
def test_each_fault_of_a_judge_shows(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    judge: str,
    passed: tuple[float, ...],
    agreement: float,
    differ: float,
) -> None:
    monkeypatch.setattr("evals.models.chat_model", lambda name, **options: SayingModel(JUDGES[judge]))
    asked = JudgeConfig(kind="model", model=ModelConfig(model="saying:judge"))
    config = load_config(folder / "config.yaml").model_copy(update={"judge": asked})
    found = audit(config, folder, 100)
    shares = [estimate.mean for estimate in found.passed.values()]
    answerable = [row for row in RowFile(folder / "predictions.jsonl").read(Prediction) if row.arm == "main"]
    assert found.passed["the gold answer"].n == len(answerable)
    assert shares == pytest.approx(passed, abs=0.15)
    assert list(found.should.values()) == [True, False, False]
    assert found.agreement == pytest.approx(agreement, abs=0.25)
    assert found.parses_differ == pytest.approx(differ, abs=0.3)
    assert (found.parses_differ == 0) == (differ == 0)


def test_comparing_words_passes(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = audit(load_config(folder / "config.yaml"), folder, 10, lambda done, total: seen.append((done, total)))
    assert (found.judge, found.agreement, found.parses_differ) == ("lexical", 1, None)
    assert found.passed["the gold answer"].mean == 1
    assert found.passed["the gold answer to another question"].mean == 0
    assert found.passed["words about the question"].mean == 0
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_what_cannot_be_audited_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="run predict first"):
        audit(load_config(folder / "config.yaml"), tmp_path, 10)


def test_the_command_prints_what_passed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["evals", "audit-judge", "--out", str(folder), "--questions", "18"])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code in (0, None)
    said = capsys.readouterr().out
    for words in ("judge: lexical", "the gold answer to another question", "kappa 1.00"):
        assert words in said


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), max_size=30))
def test_kappa_is_cohens(pairs: list[tuple[float, float]]) -> None:
    found = kappa(pairs)
    n = len(pairs)
    cells = {(one, other): pairs.count((one, other)) for one in (0, 1) for other in (0, 1)}
    marginal = [(cells[k, 0] + cells[k, 1]) * (cells[0, k] + cells[1, k]) for k in (0, 1)]
    if n == 0 or n * n == sum(marginal):
        assert found is None
    else:
        wanted = (n * (cells[0, 0] + cells[1, 1]) - sum(marginal)) / (n * n - sum(marginal))
        assert found == pytest.approx(wanted)
