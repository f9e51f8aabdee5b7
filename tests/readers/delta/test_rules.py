"""Each rule in chunks is its recurrence, however the records are portioned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linmem_langgraph import ConfigError
from linmem_langgraph.readers._delta.codes import codes
from linmem_langgraph.readers._delta.keys import Array, on_grid, unit
from linmem_langgraph.readers._delta.rules import LeastSquares, Rule
from linmem_langgraph.readers.delta import RULES, named_rule
from tests.readers.delta.naive import recurrence

DIMENSION, VALUES = 12, 16

RULES_AND_OPTIONS = [
    ("hebbian", {}),
    ("least_squares", {}),
    ("least_squares", {"ridge": 0.05}),
    ("delta", {}),
    ("delta", {"rate": 10_000}),
    ("gated_delta", {}),
    ("gated_delta", {"rate": 1, "half_life": 64}),
    ("delta_momentum", {}),
    ("delta_momentum", {"rate": 30, "momentum": 0.99}),
    ("delta_momentum", {"momentum": 0}),
]


def written(rule: Rule, keys: Array, values: Array, portions: list[int]) -> dict[str, Array]:
    arrays, done = rule.start(values.shape[1], keys.shape[1]), 0
    for portion in [*portions, len(keys)]:
        part = slice(done, done + portion)
        if len(keys[part]):
            rule.write(arrays, done, keys[part], values[part])
            done += len(keys[part])
    return arrays


def records(number: int, seed: int) -> tuple[Array, Array]:
    """Keys, some of them the same and all to one side, and codes."""
    rng = np.random.default_rng(seed)
    keys = on_grid(rng.normal(size=(number, DIMENSION)) + 0.5)
    keys[number // 2 :: 5] = keys[0]
    return keys, codes([str(place) for place in range(number)], VALUES)


@pytest.mark.parametrize(("name", "options"), RULES_AND_OPTIONS)
@settings(max_examples=25)
@given(number=st.integers(1, 300), portions=st.lists(st.integers(1, 150), max_size=6), seed=st.integers(0, 99))
def test_in_chunks_it_is_its_recurrence(
    name: str, options: dict[str, float], number: int, portions: list[int], seed: int
) -> None:
    rule = named_rule(name, options)
    keys, values = records(number, seed)

    found = rule.memory(written(rule, keys, values, portions))

    expected = recurrence(rule, keys, values)
    assert np.abs(found - expected).max() <= 1e-6 * max(1, np.abs(expected).max())


@settings(max_examples=25)
@given(number=st.integers(2, 300), portions=st.lists(st.integers(1, 150), max_size=6), seed=st.integers(0, 99))
def test_the_sums_of_least_squares_are_exact(number: int, portions: list[int], seed: int) -> None:
    keys, values = records(number, seed)
    order = np.random.default_rng(seed).permutation(number)
    rule = LeastSquares()

    some = written(rule, keys, values, portions)
    other = written(rule, keys[order], values[order], [])

    assert all(np.array_equal(some[name], other[name]) for name in ("B", "G"))
    assert np.array_equal(some["B"], some["B"].astype(np.float32))


def test_least_squares_is_the_optimum() -> None:
    keys, values = records(40, 1)
    rule = LeastSquares(ridge=0.7)
    found = rule.memory(written(rule, keys, values, []))

    def loss(memory: Array) -> float:
        return float(((values - keys @ memory.T) ** 2).sum() + 0.7 * (memory**2).sum())

    for seed in range(20):
        assert loss(found) < loss(found + 1e-3 * np.random.default_rng(seed).normal(size=found.shape))


def test_a_full_step_recalls_the_last_record_perfectly() -> None:
    keys, values = records(50, 2)
    keys = unit(keys)
    rule = named_rule("delta", {"rate": 1_000})

    memory = rule.memory(written(rule, keys, values, []))

    assert np.allclose(memory @ keys[-1], values[-1])
    assert not np.allclose(memory @ keys[1], values[1], atol=0.1)


@pytest.mark.parametrize("name", RULES)
def test_its_arrays_are_the_same_size_after_any_number_of_records(name: str) -> None:
    rule = named_rule(name, {})
    few, many = (written(rule, *records(number, 3), []) for number in (3, 700))
    assert {key: array.shape for key, array in few.items()} == rule.shapes(VALUES, DIMENSION)
    assert {key: array.shape for key, array in many.items()} == rule.shapes(VALUES, DIMENSION)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mamba", {}, "'mamba': choose 'hebbian', 'delta', 'gated_delta', 'delta_momentum', 'least_squares'"),
        (["delta"], {}, r"rule is \['delta'\]: choose 'hebbian'"),
        ("delta", {"ridge": 2}, "unknown option 'ridge' of the rule 'delta': choose rate"),
        ("hebbian", {"rate": 2}, "unknown option 'rate' of the rule 'hebbian': it has none"),
        ("delta", ["rate"], r"unknown option \['rate'\]"),
        ("least_squares", {"ridge": 0}, "ridge is 0: give a positive number"),
        ("least_squares", {"ridge": "2"}, "ridge is '2'"),
        ("least_squares", {"ridge": float("nan")}, "ridge is nan"),
        ("least_squares", {"ridge": 1e-300}, "ridge is 1e-300: give at least 1e-08"),
        ("delta", {"rate": True}, "rate is True"),
        ("gated_delta", {"half_life": 10}, "half_life is 10: give at least 64 records"),
        ("gated_delta", {"half_life": -1}, "half_life is -1"),
        ("delta_momentum", {"momentum": 1}, "momentum is 1: give a number from 0 to below 1"),
        ("delta_momentum", {"momentum": None}, "momentum is None"),
    ],
)
def test_what_is_no_rule_or_option_is_refused(name: str, options: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        named_rule(name, options)
