"""The goal of a run, a precision or a cost: how many samples each level gets, and when the levels are fine enough.

The interval's half-width eps has two parts: `share` eps for the bias, and the rest for z times the standard error.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mcengine.engine.budgets import Tolerance
from mcengine.inference.status import Status
from mcengine.mlmc import allocation
from mcengine.mlmc.allocation import PerLevel
from mcengine.mlmc.result import LevelEstimate, MultilevelEstimate

# Safety factors, since variances and bias are estimates from a pilot: on the samples it asks for, on the bias allowed.
MORE_SAMPLES, LESS_BIAS = 1.1, 0.7
# The standard error of a pilot's bias, as a share of the bias allowed.
BIAS_NOISE = 0.5
# A pilot has at least this share of the samples that its level will get, so that its variance is accurate.
PILOT_SHARE = 1 / 8


class LevelMoments(NamedTuple):
    """Estimates so far: each correction's mean and its standard error, and one sample's variance and cost."""

    means: PerLevel
    errors: PerLevel
    variances: PerLevel
    costs: PerLevel

    @classmethod
    def of(cls, lines: list[LevelEstimate]) -> "LevelMoments":
        """Collect them from the estimates of the levels."""
        names = ("mean", "std_error", "variance", "cost")
        return cls(*(np.asarray([getattr(line, name) for line in lines], np.float64) for name in names))


@dataclass(frozen=True)
class Goal(ABC):
    """What a run aims at.

    **Arguments:** `share`, the part of the interval's half-width that is for the bias; `least`, the fewest samples of a
    level.
    """

    share: float
    least: int

    @abstractmethod
    def counts(self, moments: LevelMoments) -> Int[np.ndarray, " levels"]:
        """The number of samples of each level."""

    @abstractmethod
    def pilot_counts(self, moments: LevelMoments, weak_order: float | None) -> PerLevel:
        """Pilot samples of each level that estimate its variance, and the finest level's bias, accurately enough."""

    @abstractmethod
    def is_fine_enough(self, moments: LevelMoments, weak_order: float | None) -> bool:
        """Whether no finer level is needed."""

    @abstractmethod
    def status_of(self, result: MultilevelEstimate) -> Status:
        """OK if the result reaches the goal, else the reason why not."""


@dataclass(frozen=True)
class PrecisionGoal(Goal):
    """Half-width of the interval at most max(atol, rtol |value|)."""

    budget: Tolerance

    def counts(self, moments: LevelMoments) -> Int[np.ndarray, " levels"]:
        """Samples for the standard error's part of the half-width, at most `max_samples` of the budget in all."""
        wanted = ((1.0 - self.share) * self._half_width(float(np.sum(moments.means))) / _z(self.budget.level)) ** 2
        variances = allocation.floored_variances(moments.variances)
        counts = MORE_SAMPLES * allocation.counts_for_variance(variances, moments.costs, max(wanted, 1e-300))
        total = float(np.sum(counts))
        return allocation.whole(counts * min(1.0, self.budget.max_samples / max(total, 1.0)), self.least)

    def pilot_counts(self, moments: LevelMoments, weak_order: float | None) -> PerLevel:
        """See `Goal`."""
        allowed = self._allowed_bias(float(np.sum(moments.means)))
        most = PILOT_SHARE * self.budget.max_samples
        return _pilot_counts(moments, weak_order, self.counts(moments), allowed, most)

    def is_fine_enough(self, moments: LevelMoments, weak_order: float | None) -> bool:
        """Whether the bias is clearly within its share."""
        return _bias_with_noise(moments, weak_order) <= LESS_BIAS * self._allowed_bias(float(np.sum(moments.means)))

    def status_of(self, result: MultilevelEstimate) -> Status:
        """OK if the interval is short enough, else whether the bias or the number of samples prevented it."""
        if result.half_width(self.budget.level) <= self._half_width(result.value):
            return Status.OK
        return Status.BIASED if result.bias > self._allowed_bias(result.value) else Status.BUDGET_SPENT

    def _half_width(self, value: float) -> float:
        return max(self.budget.atol or 0.0, self.budget.rtol * abs(value))

    def _allowed_bias(self, value: float) -> float:
        return self.share * self._half_width(value)


@dataclass(frozen=True)
class CostGoal(Goal):
    """The shortest interval for the cost of `worth` samples of level 0."""

    worth: int

    def counts(self, moments: LevelMoments) -> Int[np.ndarray, " levels"]:
        """Samples that spend the cost at the least variance."""
        total = self.worth * moments.costs[0]
        if self.least * np.sum(moments.costs) > total:
            raise ValueError(
                f"multilevel: a budget worth {self.worth:,} samples of level 0 is less than {self.least} samples of "
                f"each of {len(moments.costs)} levels: raise it, or lower max_level."
            )
        variances = allocation.floored_variances(moments.variances)
        return np.floor(allocation.counts_for_cost(variances, moments.costs, total, self.least)).astype(np.int64)

    def pilot_counts(self, moments: LevelMoments, weak_order: float | None) -> PerLevel:
        """See `Goal`."""
        counts = self.counts(moments)
        most = PILOT_SHARE * self.worth * moments.costs[0] / moments.costs[-1]
        return _pilot_counts(moments, weak_order, counts, self._allowed_bias(_std_error(moments, counts)), most)

    def is_fine_enough(self, moments: LevelMoments, weak_order: float | None) -> bool:
        """Whether the bias is within its share of the error that the cost allows, or a finer level costs too much."""
        error = _std_error(moments, self.counts(moments))
        # The next level at twice the last one's cost: `least` samples of each level may take a quarter of the budget.
        too_dear = 4 * self.least * (np.sum(moments.costs) + 2 * moments.costs[-1]) > self.worth * moments.costs[0]
        return bool(too_dear) or _bias_with_noise(moments, weak_order) <= LESS_BIAS * self._allowed_bias(error)

    def status_of(self, result: MultilevelEstimate) -> Status:
        """BIASED if the bias has more than its share of the half-width."""
        return Status.BIASED if result.bias > self._allowed_bias(result.std_error) else Status.OK

    def _allowed_bias(self, std_error: float) -> float:
        return self.share / (1.0 - self.share) * _z(0.95) * std_error


def bias_of(moments: LevelMoments, weak_order: float | None) -> float:
    """The finest level's bias, see `allocation.bias`, with the weak order given or fitted."""
    alpha = allocation.weak_rate(moments.means, moments.errors, weak_order)
    return allocation.bias(moments.means, moments.errors, alpha)


def _bias_with_noise(moments: LevelMoments, weak_order: float | None) -> float:
    """The bias with the noise of the means left in: it may ask for one level too many, but not stop too early."""
    alpha = allocation.weak_rate(moments.means, moments.errors, weak_order)
    return allocation.bias(moments.means, np.zeros_like(moments.errors), alpha)


def _pilot_counts(
    moments: LevelMoments, weak_order: float | None, counts: Int[np.ndarray, " levels"], allowed: float, most: float
) -> PerLevel:
    wanted = np.ceil(PILOT_SHARE * counts)
    # The noise of the finest correction is extrapolated like the correction, and must not hide a bias above `allowed`.
    growth = 2.0 ** allocation.weak_rate(moments.means, moments.errors, weak_order) - 1.0
    for_bias = moments.variances[-1] / max(BIAS_NOISE * allowed * growth, 1e-150) ** 2
    wanted[-1] = np.ceil(max(wanted[-1], min(for_bias, most)))
    return wanted


def _std_error(moments: LevelMoments, counts: Int[np.ndarray, " levels"]) -> float:
    return math.sqrt(float(np.sum(moments.variances / counts)))


def _z(level: float) -> float:
    from scipy import special  # 0.2 s, which `import mcengine` need not pay

    return float(special.ndtri(0.5 + 0.5 * level))
