"""The rules by which keys and values are written to an associative memory, by name.

k is a record's key, a unit row of d numbers; v its value, a code of D signs; S the memory, D x d, from zero. Each rule
has its recurrence, a record at a time, in its docstring; what runs is the same in matrices, for 64 records at once or,
where the rule is a sum, for any number. It differs by rounding only.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers._delta.keys import Array

Arrays = dict[str, Array]
"""What a rule keeps, by name; constant in size."""

_LEAST_RIDGE = 1e-8
"""Far below it G + ridge I cannot be solved for in 64-bit numbers."""


class Rule(ABC):
    """A rule and its parameters."""

    name: ClassVar[str]

    centred: ClassVar[bool] = True
    """Whether keys are taken relative to the mean of the vectors before them."""

    symmetric: ClassVar[tuple[str, ...]] = ()
    """Which of the arrays are symmetric, and sums that float32 would not hold exactly."""

    def shapes(self, values: int, dimension: int) -> dict[str, tuple[int, int]]:
        """The arrays' names and shapes."""
        return {"S": (values, dimension)}

    def start(self, values: int, dimension: int) -> Arrays:
        """The arrays of an empty memory."""
        return {name: np.zeros(shape) for name, shape in self.shapes(values, dimension).items()}

    @abstractmethod
    def write(self, arrays: Arrays, count: int, keys: Array, values: Array) -> None:
        """Write rows of keys and values into `arrays`, which hold `count` records so far."""

    def memory(self, arrays: Arrays) -> Array:
        """S."""
        return arrays["S"]

    def options(self) -> dict[str, float]:
        """The parameters by name."""
        return dict(vars(self))


class Hebbian(Rule):
    """S <- S + v k^T: a sum of outer products (Hebb 1949), as in linear attention (Katharopoulos et al. 2020)."""

    name = "hebbian"

    def write(self, arrays: Arrays, count: int, keys: Array, values: Array) -> None:
        arrays["S"] += values.T @ keys


class LeastSquares(Rule):
    """The S that minimises sum |v - S k|^2 + ridge |S|^2 over all records written.

    The recurrence is recursive least squares: from P = I / ridge, S <- S + (v - S k) k^T P / (1 + k^T P k) and
    P <- P - P k k^T P / (1 + k^T P k). Kept are the sums B = sum v k^T and G = sum k k^T instead, and S = B (G +
    ridge I)^-1 is solved for at a read, as in the mesa layer (von Oswald et al. 2025, MesaNet); Atlas (Behrouz et al.
    2025) approaches the same optimum over a window. Sums of keys on a grid are exact, so that S depends on which
    records there are and on nothing else. The mean of the keys is one direction of G, and is discounted like any.
    """

    name = "least_squares"
    centred = False
    symmetric = ("G",)

    def __init__(self, ridge: float = 2.0) -> None:
        self.ridge = positive("ridge", ridge)
        if ridge < _LEAST_RIDGE:
            raise ConfigError(f"ridge is {ridge!r}: give at least {_LEAST_RIDGE}, or rounding outweighs it")

    def shapes(self, values: int, dimension: int) -> dict[str, tuple[int, int]]:
        return {"B": (values, dimension), "G": (dimension, dimension)}

    def write(self, arrays: Arrays, count: int, keys: Array, values: Array) -> None:
        arrays["B"] += values.T @ keys
        arrays["G"] += keys.T @ keys

    def memory(self, arrays: Arrays) -> Array:
        return np.linalg.solve(arrays["G"] + self.ridge * np.eye(len(arrays["G"])), arrays["B"].T).T


def positive(name: str, value: Any) -> float:
    """`value` as a positive number.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise ConfigError(f"{name} is {value!r}: give a positive number")
    return float(value)
