"""Rules that write what the memory does not yet say: v - S k, the error of its answer.

Within a chunk each error depends on those before it. They solve a unit lower triangular system T, so that the chunk is
written in products: errors^T K = first^T (T^-1 diag(b))^T K, with what the errors would be if nothing of the chunk had
been written before them. It is the WY (or UT) form of Yang et al. 2024 (arXiv 2406.06484).
"""

import numpy as np

from linmem_langgraph.errors import ConfigError
from linmem_langgraph.readers._delta.keys import Array
from linmem_langgraph.readers._delta.rules import Arrays, Rule, positive

CHUNK = 64


class Delta(Rule):
    """S <- S + b (v - S k) k^T, with the step b = min(1, sqrt(rate / t)) for record number t.

    The delta rule (Widrow and Hoff 1960) as fast weights (Schlag et al. 2021; DeltaNet, Yang et al. 2024). With b = 1 a
    record is recalled perfectly right after it was written, and those before it are worn off; steps that fall with
    the square root weigh all records about alike.

    Args:
        rate: how many records are written with a full step.
    """

    name = "delta"

    def __init__(self, rate: float = 3.0) -> None:
        self.rate = positive("rate", rate)

    @property
    def window(self) -> float:
        """How many records count for the step."""
        return np.inf

    def write(self, arrays: Arrays, count: int, keys: Array, values: Array) -> None:
        for start in range(0, len(keys), CHUNK):
            part = slice(start, start + CHUNK)
            self._write(arrays, self.steps(count + start, len(keys[part])), keys[part], values[part])

    def steps(self, count: int, length: int) -> Array:
        """The steps of the `length` records after `count`, as a column."""
        numbers = np.minimum(np.arange(count + 1, count + length + 1), self.window)
        return np.sqrt(np.minimum(1.0, self.rate / numbers)).reshape(-1, 1)

    def _write(self, arrays: Arrays, steps: Array, keys: Array, values: Array) -> None:
        first = _less(values, keys @ arrays["S"].T)
        arrays["S"] += first.T @ (_solution(steps, keys @ keys.T) @ keys)


class GatedDelta(Delta):
    """S <- S diag(a), then S <- S + b (v - S k) k^T: the delta rule in a memory that fades, each channel at its pace.

    Gated DeltaNet (Yang et al. 2025) with the decay per channel of Kimi Delta Attention (Kimi Linear, 2025). There a is
    learned and depends on the input; here the channels' half-lives are spread evenly on a logarithmic scale, and steps
    fall no further than those of a memory that holds as many records as the shortest of them.

    Args:
        rate: as for delta.
        half_life: of the fastest channel, in records; the slowest has 100 times as much.
    """

    name = "gated_delta"

    def __init__(self, rate: float = 3.0, half_life: float = 2_000.0) -> None:
        super().__init__(rate)
        self.half_life = positive("half_life", half_life)
        if half_life < CHUNK:
            raise ConfigError(f"half_life is {half_life!r}: give at least {CHUNK} records")

    @property
    def window(self) -> float:
        return self.half_life

    def decay(self, dimension: int) -> Array:
        """a, for each channel of a key."""
        return np.asarray(0.5 ** (1 / np.geomspace(self.half_life, 100 * self.half_life, dimension)))

    def _write(self, arrays: Arrays, steps: Array, keys: Array, values: Array) -> None:
        faded = self.decay(keys.shape[1]) ** np.arange(1, len(keys) + 1)[:, None]
        reads, writes = keys * faded, keys / faded
        first = _less(values, reads @ arrays["S"].T)
        arrays["S"] *= faded[-1]
        arrays["S"] += first.T @ (_solution(steps, reads @ writes.T) @ (writes * faded[-1]))


class DeltaMomentum(Delta):
    """M <- momentum M + b (v - S k) k^T, then S <- S + M: surprise goes on for a while after what caused it.

    The memory of Titans (Behrouz et al. 2025) in its linear form, without forgetting.

    Args:
        rate: as for delta, where momentum counts as so much longer steps: b = (1 - momentum) min(1, sqrt(rate / t)).
        momentum: from 0, the delta rule, to below 1.
    """

    name = "delta_momentum"

    def __init__(self, rate: float = 3.0, momentum: float = 0.9) -> None:
        super().__init__(rate)
        if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum < 1:
            raise ConfigError(f"momentum is {momentum!r}: give a number from 0 to below 1")
        self.momentum = float(momentum)

    def shapes(self, values: int, dimension: int) -> dict[str, tuple[int, int]]:
        return {"S": (values, dimension), "M": (values, dimension)}

    def steps(self, count: int, length: int) -> Array:
        return (1 - self.momentum) * super().steps(count, length)

    def _write(self, arrays: Arrays, steps: Array, keys: Array, values: Array) -> None:
        memory, surprise, length = arrays["S"], arrays["M"], len(keys)
        # What one write of M has added to S after 0, 1, ... further records.
        sums = np.cumsum(self.momentum ** np.arange(length + 1))
        carried = sums - 1
        ages = np.arange(length)[:, None] - np.arange(length) - 1
        overlaps = keys @ keys.T * sums[np.maximum(ages, 0)]
        first = _less(values, keys @ memory.T + carried[:length, None] * (keys @ surprise.T))
        solution = _solution(steps, overlaps)
        memory += carried[length] * surprise + first.T @ (solution @ (keys * sums[:length][::-1, None]))
        surprise *= self.momentum**length
        surprise += first.T @ (solution @ (keys * self.momentum ** np.arange(length)[::-1, None]))


def _solution(steps: Array, overlaps: Array) -> Array:
    """(T^-1 diag(b))^T, where T_tj = b_t overlaps_tj for j < t: record t reads what record j has written."""
    system = np.eye(len(steps)) + np.tril(steps * overlaps, -1)
    return np.asarray((np.linalg.inv(system) * steps.T).T)


def _less(values: Array, answers: Array) -> Array:
    """`values` less `answers`, in the latter's place: room for as many numbers costs half as much as the product."""
    return np.asarray(np.subtract(values, answers, out=answers))
