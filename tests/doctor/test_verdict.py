"""What is made of the measurements, and of what the server's metrics tell."""

import pytest

from linmem_langgraph.doctor.probe import CachedTokens, Measured, Seconds
from linmem_langgraph.doctor.server import Metrics, Model
from linmem_langgraph.doctor.verdict import probed, reused
from linmem_langgraph.vllm import STATE_FLAGS
from tests.doctor.stand_in import HYBRID, LINEAR, SOFTMAX, StandIn, probe, served


def measured(cached: tuple[int, int, int] | None = None, counted: float | None = None, ratio: float = 1.0) -> Measured:
    told = cached and CachedTokens(cold=cached[0], first=cached[1], second=cached[2])
    return Measured(1_000, 5, Seconds(cold=0.1 * ratio, primed=0.1), told or None, counted)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (measured((0, 1_000, 1_000)), True),
        (measured((0, 500, 500)), True),
        (measured((0, 499, 1_000), ratio=9.0), False),
        (measured((900, 900, 900)), False),  # a number that is always the same tells nothing
        (measured((0, 0, 0), counted=1_000, ratio=9.0), False),
        (measured(counted=1_000), True),
        (measured(counted=0, ratio=9.0), False),
        (measured(ratio=9.0), True),
        (measured(ratio=2.0), True),
        (measured(ratio=1.6), None),
        (measured(ratio=1.1), False),
        (measured(ratio=0.5), False),
    ],
)
def test_tokens_decide_before_counts_before_times(of: Measured, expected: bool | None) -> None:
    assert reused(of) is expected


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({**HYBRID, "enable_prefix_caching": "False"}, "Prefix caching is off"),
        ({**HYBRID, "prefix_match_unit": "None"}, "ends of blocks of 640 tokens"),
        ({**HYBRID, "prefix_match_unit": "320"}, "ends of blocks of 320 tokens"),
        (HYBRID, "issues on hybrids"),
        ({}, "prefix caching on"),
    ],
)
def test_the_fix_goes_by_the_settings(settings: dict[str, str], fix: str) -> None:
    metrics = Metrics(StandIn(settings=settings)._metrics())
    finding = probed(Model(id="tiny", root="a/b c"), "hybrid", metrics, measured((0, 0, 0)))
    assert fix in finding.fix
    assert finding.command == " ".join(["vllm serve 'a/b c'", *STATE_FLAGS])


def test_a_read_that_only_follows_a_read_is_said() -> None:
    finding = probed(Model(id="tiny"), "hybrid", Metrics(), measured((0, 100, 990)))
    assert finding.verdict == "no-reuse"
    assert "The next one finds 990" in finding.found


def test_a_coarse_reuse_is_one_with_advice() -> None:
    coarse = probed(Model(id="tiny"), "hybrid", Metrics(), measured((0, 640, 640)))
    assert (coarse.verdict, coarse.ok) == ("reuse", True)
    assert "360 tokens" in coarse.fix
    assert "--prefix-match-unit 16" in coarse.fix
    assert probed(Model(id="tiny"), "hybrid", Metrics(), measured((0, 984, 984))).fix == ""


@pytest.mark.parametrize(
    ("settings", "kind"),
    [(HYBRID, "hybrid"), (LINEAR, "linear"), (SOFTMAX, "softmax"), ({"block_size": "16"}, "unknown"), ({}, "unknown")],
)
def test_the_kind_is_read_from_the_metrics(settings: dict[str, str], kind: str) -> None:
    assert Metrics(StandIn(settings=settings)._metrics()).kind == kind


def test_the_kind_of_a_known_model_needs_no_metrics() -> None:
    with StandIn(answers={"/v1/models": served("mine", root="Qwen/Qwen3.5-4B")}) as server:
        assert probe(server).kind == "hybrid"
