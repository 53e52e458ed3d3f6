"""What a run is for, a precision or a cost: how many samples each level gets, and when levels are fine enough.

Of the interval's half-width eps the bias may have `share` eps, and the sampling error z std_error the rest.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mcengine.engine.budgets import Tolerance
from mcengine.inference.status import Status
from mcengine.mlmc import allocation
from mcengine.mlmc.allocation import Column
from mcengine.mlmc.result import MultilevelEstimate

# What a pilot says is not exact: this many more samples than it asks for, and this much less bias than is allowed.
MORE_SAMPLES, LESS_BIAS = 1.1, 0.7
# The noise of a pilot's bias, in ratio to the bias allowed.
BIAS_NOISE = 0.5
# A pilot has at least this share of the samples that its level will get, so that the variance is known.
PILOT_SHARE = 1 / 8


class Seen(NamedTuple):
    """What is known of the levels so far: of their corrections the mean, its error, one sample's variance and cost."""

    means: Column
    errors: Column
    variances: Column
    costs: Column


@dataclass(frozen=True)
class PrecisionGoal:
    """Half-width of the interval at most max(atol, rtol |value|)."""

    budget: Tolerance
    share: float
    least: int

    def counts(self, seen: Seen) -> Int[np.ndarray, " levels"]:
        """Samples for the sampling error's part of the half-width, or as many as the budget's `max_samples` allows."""
        wanted = ((1.0 - self.share) * self._half_width(float(np.sum(seen.means))) / _z(self.budget.level)) ** 2
        believed = allocation.believed(seen.variances)
        counts = MORE_SAMPLES * allocation.counts_for_variance(believed, seen.costs, max(wanted, 1e-300))
        total = float(np.sum(counts))
        return allocation.whole(counts * min(1.0, self.budget.max_samples / max(total, 1.0)), self.least)

    def pilot_counts(self, seen: Seen, weak_order: float | None) -> Column:
        """Samples that tell variances, and the finest level's bias, well enough."""
        allowed = self._allowed(float(np.sum(seen.means)))
        return _pilot_counts(seen, weak_order, self.counts(seen), allowed, PILOT_SHARE * self.budget.max_samples)

    def is_fine_enough(self, seen: Seen, weak_order: float | None) -> bool:
        """Whether the bias is clearly within its share."""
        return _bias_with_noise(seen, weak_order) <= LESS_BIAS * self._allowed(float(np.sum(seen.means)))

    def verdict(self, result: MultilevelEstimate) -> Status:
        """Whether the interval is as short as asked, and if not, whose fault that is."""
        if result.half_width(self.budget.level) <= self._half_width(result.value):
            return Status.OK
        return Status.BIASED if result.bias > self._allowed(result.value) else Status.BUDGET_SPENT

    def _half_width(self, value: float) -> float:
        return max(self.budget.atol or 0.0, self.budget.rtol * abs(value))

    def _allowed(self, value: float) -> float:
        return self.share * self._half_width(value)


@dataclass(frozen=True)
class CostGoal:
    """The best that can be had for the cost of `worth` samples of level 0."""

    worth: int
    share: float
    least: int

    def counts(self, seen: Seen) -> Int[np.ndarray, " levels"]:
        """Samples that spend the cost at the least variance."""
        total = self.worth * seen.costs[0]
        if self.least * np.sum(seen.costs) > total:
            raise ValueError(
                f"multilevel: a budget worth {self.worth:,} samples of level 0 is less than {self.least} samples of "
                f"each of {len(seen.costs)} levels: raise it, or lower max_level."
            )
        counts = allocation.counts_for_cost(allocation.believed(seen.variances), seen.costs, total, self.least)
        return np.floor(counts).astype(np.int64)

    def pilot_counts(self, seen: Seen, weak_order: float | None) -> Column:
        """Samples that tell variances, and the finest level's bias, well enough."""
        counts = self.counts(seen)
        most = PILOT_SHARE * self.worth * seen.costs[0] / seen.costs[-1]
        return _pilot_counts(seen, weak_order, counts, self._allowed(_error(seen, counts)), most)

    def is_fine_enough(self, seen: Seen, weak_order: float | None) -> bool:
        """Whether the bias is within its share of the error that the cost allows, or no finer level can be paid for."""
        error = _error(seen, self.counts(seen))
        # The next level at twice the last one's cost; with most of the budget left for what matters.
        dear = 4 * self.least * (np.sum(seen.costs) + 2 * seen.costs[-1]) > self.worth * seen.costs[0]
        return bool(dear) or _bias_with_noise(seen, weak_order) <= LESS_BIAS * self._allowed(error)

    def verdict(self, result: MultilevelEstimate) -> Status:
        """Whether the bias has more than its share."""
        return Status.BIASED if result.bias > self._allowed(result.std_error) else Status.OK

    def _allowed(self, std_error: float) -> float:
        return self.share / (1.0 - self.share) * _z(0.95) * std_error


Goal = PrecisionGoal | CostGoal


def bias_of(seen: Seen, weak_order: float | None) -> float:
    """The finest level's bias, see `allocation.bias`, with the weak order given or fitted."""
    alpha = allocation.weak_rate(seen.means, seen.errors, weak_order)
    return allocation.bias(seen.means, seen.errors, alpha)


def _bias_with_noise(seen: Seen, weak_order: float | None) -> float:
    """The bias as if the means were exact: noise then asks for a finer level, where leaving it out may miss one."""
    alpha = allocation.weak_rate(seen.means, seen.errors, weak_order)
    return allocation.bias(seen.means, np.zeros_like(seen.errors), alpha)


def _pilot_counts(
    seen: Seen, weak_order: float | None, counts: Int[np.ndarray, " levels"], allowed: float, most: float
) -> Column:
    wanted = np.ceil(PILOT_SHARE * counts)
    # The noise of the finest correction, extrapolated like itself, must not hide a bias that is too large.
    growth = 2.0 ** allocation.weak_rate(seen.means, seen.errors, weak_order) - 1.0
    for_bias = seen.variances[-1] / max(BIAS_NOISE * allowed * growth, 1e-150) ** 2
    wanted[-1] = np.ceil(max(wanted[-1], min(for_bias, most)))
    return wanted


def _error(seen: Seen, counts: Int[np.ndarray, " levels"]) -> float:
    return math.sqrt(float(np.sum(seen.variances / counts)))


def _z(level: float) -> float:
    from scipy import special  # 0.2 s, which `import mcengine` need not pay

    return float(special.ndtri(0.5 + 0.5 * level))
