"""`linmem recommend`: the reader that fits, and why."""

from inspect import signature
from typing import Any

import pytest

from linmem_langgraph import HybridReader
from linmem_langgraph.cli.recommend import (
    BUDGET,
    DELTA_RECORDS,
    FASTEST,
    FIGURES,
    RULES,
    SEGMENT,
    SOLVED,
    TOKENS_A_RECORD,
)
from linmem_langgraph.readers import READERS
from tests.cli.running import document, error_of, invoke

SERVER, SOFTMAX = ("--model", "server"), ("--model", "softmax")


def asked(*arguments: object) -> Any:
    return document(invoke("recommend", *arguments, "--json"))


@pytest.mark.parametrize(
    ("arguments", "reader"),
    [
        (("--records", DELTA_RECORDS), "delta"),
        (("--records", DELTA_RECORDS + 1), "chroma"),
        (("--records", 10, "--latency", SOLVED), "delta"),
        (("--records", 10, "--latency", SOLVED / 2), "chroma"),
        (("--tokens", 10**6, "--model", "none", "--context", 1_000), "chroma"),
        (("--tokens", BUDGET, *SERVER), "linear"),
        (("--tokens", BUDGET + 1, *SERVER), "hybrid"),
        (("--records", BUDGET // TOKENS_A_RECORD, *SERVER), "linear"),
        (("--records", BUDGET // TOKENS_A_RECORD + 1, *SERVER), "hybrid"),
        (("--tokens", BUDGET, *SERVER, "--context", BUDGET), "hybrid"),
        (("--tokens", 10**5, *SERVER, "--latency", FASTEST), "hybrid"),
        (("--tokens", 100, *SERVER, "--latency", FASTEST / 2), "chroma"),
        (("--tokens", 64_000, *SOFTMAX, "--context", 128_000), "linear"),
        (("--tokens", 64_001, *SOFTMAX, "--context", 128_000), "hybrid"),
    ],
)
def test_a_reader_is_named(arguments: tuple[object, ...], reader: str) -> None:
    assert asked(*arguments)["reader"] == reader


def test_segments_fit_the_model_s_context() -> None:
    assert asked("--tokens", 10**6, *SERVER)["options"] == {}
    assert asked("--tokens", 10**6, *SOFTMAX, "--context", 16_000)["options"] == {
        "segment_tokens": SEGMENT,
        "budget_tokens": 8_000,
    }
    assert asked("--tokens", 10**6, *SOFTMAX, "--context", 4_096)["options"] == {
        "segment_tokens": 2_048,
        "budget_tokens": 2_048,
    }


def test_one_segment_is_read_where_there_is_no_time_to_merge() -> None:
    one = {"segment_tokens": SEGMENT, "budget_tokens": SEGMENT}
    assert asked("--tokens", 10**6, *SERVER, "--latency", FASTEST)["options"] == one
    assert asked("--tokens", 10**6, *SERVER, "--latency", 2 * FASTEST)["options"] == {}


def test_the_line_printed_is_what_other_commands_take() -> None:
    shown = invoke("recommend", "--tokens", 10**6, *SOFTMAX, "--context", 4_096).stdout
    assert "    --reader hybrid --set segment_tokens=2048 --set budget_tokens=2048\n" in shown
    assert FIGURES["segments"].found in shown
    assert f"({FIGURES['segments'].command})" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say how large the memory is, once"),
        (("--records", 1, "--tokens", 1), "say how large the memory is, once"),
        (("--records", 1, *SOFTMAX), "--model softmax needs --context N"),
    ],
)
def test_what_is_missing_is_said(arguments: tuple[object, ...], said: str) -> None:
    assert said in error_of(invoke("recommend", *arguments))


def test_rules_name_readers_and_figures_that_there_are() -> None:
    assert {rule.reader for rule in RULES} <= READERS.keys()
    assert {name for rule in RULES for name in rule.figures} == FIGURES.keys()


def test_the_budget_is_the_reader_s() -> None:
    defaults = {name: parameter.default for name, parameter in signature(HybridReader).parameters.items()}
    assert (defaults["segment_tokens"], defaults["budget_tokens"]) == (SEGMENT, BUDGET)
