"""`linmem doctor`: its two outputs, its exit code and its options."""

from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner

from linmem_langgraph.cli.doctor import doctor
from linmem_langgraph.doctor import Diagnosis
from tests.doctor.stand_in import SOFTMAX, StandIn, served


@pytest.fixture
def run() -> Callable[..., tuple[int, str]]:
    app = typer.Typer()
    app.command()(doctor)

    def invoke(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--repeats", "1", "--tokens", "1000"])
        return result.exit_code, result.stdout

    return invoke


@pytest.mark.parametrize(
    ("server", "code", "verdict"),
    [
        (StandIn(), 0, "reuse"),
        (StandIn(settings=SOFTMAX), 0, "softmax"),
        (StandIn(settings=SOFTMAX, keeps=False), 1, "softmax"),
        (StandIn(keeps=False), 1, "no-reuse"),
        (StandIn(answers={"/v1/models": (200, "text/html", b"\x1b[31mred")}), 1, "not-vllm"),
        (StandIn(answers={"/v1/models": served("one", "two")}), 2, "no-model"),
    ],
)
def test_both_outputs_and_the_exit_code_agree(
    run: Callable[..., tuple[int, str]], server: StandIn, code: int, verdict: str
) -> None:
    with server:
        told, document = run(server.url, "--json")
        again, text = run(server.url)
    diagnosis = Diagnosis.model_validate_json(document)
    assert (told, again, diagnosis.verdict) == (code, code, verdict)
    assert f"{verdict}: " in text
    assert "\x1b" not in text + document
    for line in (diagnosis.fix, diagnosis.command or ""):
        assert line in text
    if diagnosis.prompt_tokens:
        assert f"{diagnosis.prompt_tokens:,} tokens" in text


def test_options_reach_the_server(run: Callable[..., tuple[int, str]]) -> None:
    with StandIn(key="right", answers={"/v1/models": served("one", "two")}) as server:
        assert run(server.url, "--api-key", "right", "--model", "two")[0] == 0
        assert run(server.url, "--api-key", "wrong")[0] == 1
