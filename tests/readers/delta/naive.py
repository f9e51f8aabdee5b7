"""The rules' recurrences, a record at a time: what the chunked forms are checked against."""

from collections.abc import Callable, Generator

import numpy as np

from linmem_langgraph.readers._delta.delta_rules import Delta, DeltaMomentum, GatedDelta
from linmem_langgraph.readers._delta.keys import Array
from linmem_langgraph.readers._delta.rules import Hebbian, LeastSquares, Rule

Steps = Generator[None, tuple[int, Array, Array], None]


def recurrence(rule: Rule, keys: Array, values: Array) -> Array:
    """S after all records."""
    memory = np.zeros((values.shape[1], keys.shape[1]))
    step = STEPS[type(rule)](rule, memory)
    next(step)
    for number, (key, value) in enumerate(zip(keys, values, strict=True), start=1):
        step.send((number, key, value))
    return memory


def _hebbian(rule: Hebbian, memory: Array) -> Steps:
    while True:
        _, key, value = yield
        memory += np.outer(value, key)


def _least_squares(rule: LeastSquares, memory: Array) -> Steps:
    inverse = np.eye(memory.shape[1]) / rule.ridge
    while True:
        _, key, value = yield
        gain = inverse @ key / (1 + key @ inverse @ key)
        memory += np.outer(value - memory @ key, gain)
        inverse -= np.outer(gain, key @ inverse)


def _delta(rule: Delta, memory: Array) -> Steps:
    while True:
        number, key, value = yield
        step = min(1.0, (rule.rate / number) ** 0.5)
        memory += step * np.outer(value - memory @ key, key)


def _gated(rule: GatedDelta, memory: Array) -> Steps:
    slowest = 100 * rule.half_life
    half_lives = np.geomspace(rule.half_life, slowest, memory.shape[1])
    while True:
        number, key, value = yield
        step = min(1.0, (rule.rate / min(number, rule.half_life)) ** 0.5)
        memory *= 0.5 ** (1 / half_lives)
        memory += step * np.outer(value - memory @ key, key)


def _momentum(rule: DeltaMomentum, memory: Array) -> Steps:
    surprise = np.zeros_like(memory)
    while True:
        number, key, value = yield
        step = (1 - rule.momentum) * min(1.0, (rule.rate / number) ** 0.5)
        surprise *= rule.momentum
        surprise += step * np.outer(value - memory @ key, key)
        memory += surprise


STEPS: dict[type[Rule], Callable[..., Steps]] = {
    Hebbian: _hebbian,
    LeastSquares: _least_squares,
    Delta: _delta,
    GatedDelta: _gated,
    DeltaMomentum: _momentum,
}
