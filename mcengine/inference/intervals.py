"""Confidence intervals of an estimate's outputs, with what is known where nothing was seen to vary."""

from typing import Any

import numpy as np
from scipy import special

from mcengine.inference.confidence_sequences import FiniteSample
from mcengine.inference.spec import EstimateSpec
from mcengine.inference.status import MIN_UNITS

# Below, the transformation that removes it is the identity to the last digit that counts.
NO_SKEWNESS = 1e-6
# What 16 units show of a skewness of 4 is 1.6 to 1.9; what t's quantile is lengthened by at most. Both by the coverage
# of 16 units of a dozen laws (exponential, lognormal, exp X in scrambles, ...): without the first it is up to .01 less,
# and without the second up to .02 more, at half as long again. Of even laws intervals grow by 8 % on average.
UNDERSTATED, MOST = 1.25, 2.0


def student_half_width(std_error: Any, num_units: Any, level: float) -> Any:
    """t_{units - 1} std_error, of the two-sided interval."""

    dof = np.maximum(np.asarray(num_units, np.float64) - 1.0, 1.0)
    return special.stdtrit(dof, 0.5 + 0.5 * level) * np.asarray(std_error, np.float64)


def student_interval(value: Any, std_error: Any, num_units: Any, level: float) -> tuple[Any, Any]:
    """value -+ t_{units - 1} std_error, two-sided."""
    half_width = student_half_width(std_error, num_units, level)
    with np.errstate(invalid="ignore"):  # a value beyond the largest float
        return value - half_width, value + half_width


def binomial_interval(hits: Any, trials: Any, level: float) -> tuple[Any, Any]:
    """Clopper and Pearson's interval for a proportion: covers at least `level` for any number of hits."""

    hits, trials = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    tail = 0.5 * (1.0 - level)
    low = np.where(hits > 0, special.betaincinv(np.maximum(hits, 0.5), trials - hits + 1.0, tail), 0.0)
    inside = np.maximum(trials - hits, 0.5)
    high = np.where(hits < trials, special.betaincinv(hits + 1.0, inside, 1.0 - tail), 1.0)
    return low, high


def upper_bound_without_hits(num_samples: Any, largest: Any, level: float = 0.95) -> Any:
    """Bound on E_q[w f] when none of n samples hit and 0 <= w f <= `largest`: -log(1 - level) largest / n.

    At 95 % that is the rule of three, 3 sup(w f) / n. Without a bound on w f, no hits bound the hit rate alone.
    """
    return -np.log1p(-level) * largest / num_samples


def interval_of(
    value: Any,
    std_error: Any,
    skewness: Any,
    hits: Any,
    num_samples: Any,
    num_units: Any,
    spec: EstimateSpec,
    level: float,
) -> tuple[Any, Any]:
    """(low, high), NumPy float64, of outputs of any shape, to which the counts broadcast.

    value -+ half width, Student-t over units (see `skewed_sides`) or that of the recipe's sequence; Clopper and
    Pearson's for plain sampling of an indicator. Where the error is NaN: [0, b] without hits and [1 - b, 1] with
    nothing but hits of an indicator, b = -log(1 - level) sup(w f) / n; else all that w f can be, or the whole line.
    """
    value, hits, num_samples = (np.asarray(x, np.float64) for x in (value, hits, num_samples))
    largest = np.asarray(spec.largest, np.float64)
    largest = largest[(...,) + (None,) * (num_samples.ndim - largest.ndim)] if largest.ndim else largest
    if spec.binomial:
        low, high = binomial_interval(hits, num_samples, level)
        rule_of_three = np.minimum(upper_bound_without_hits(num_samples, 1.0, level), 1.0)
        return low, np.where(hits == 0, rule_of_three, high)
    floor = np.where(spec.bounded_by_one | ~np.isnan(largest), 0.0, -np.inf)
    ceiling = np.fmin(largest, 1.0 if spec.bounded_by_one else np.inf)
    unseen_level = level
    if spec.sequence is None:
        below, above = skewed_sides(student_half_width(1.0, num_units, level), skewness, num_units)
        below, above = below * np.asarray(std_error, np.float64), above * np.asarray(std_error, np.float64)
    else:
        below = above = spec.sequence.half_width(std_error, num_units, spec.largest, level)
        # What no look has seen yet is bounded at all looks alike: half of the error allowed pays for the first of them
        # at which b is below the true value.
        unseen_level = 0.5 * (1.0 + level)
    with np.errstate(invalid="ignore"):  # a value beyond the largest float
        low, high = value - below, value + above
    if spec.sequence is not None:
        low = np.maximum(low, floor if isinstance(spec.sequence, FiniteSample) or spec.bounded_by_one else -np.inf)
        high = np.minimum(high, ceiling)
    unknown = np.isnan(below)
    bound = np.fmin(upper_bound_without_hits(num_samples, largest, unseen_level), ceiling)
    empty, full = unknown & (hits == 0), unknown & (hits == num_samples) & spec.indicator
    low = np.where(full, 1.0 - bound, np.where(unknown, floor, low))
    high = np.where(empty, bound, np.where(unknown, ceiling, high))
    return low[()], high[()]


def skewed_sides(quantile: Any, skewness: Any, num_units: Any) -> tuple[Any, Any]:
    """How many standard errors the interval reaches (below, above) the value: t's `quantile` to twice that, each.

    Units skewed to the right are mostly below their mean, and then their spread is small too: a t interval from few of
    them ends too early above. With g the skewness and l = g / sqrt(n), T(t) = t + l t^2/3 + l^2 t^3/27 + l/6 is
    symmetric to second order, and T^-1(-+ quantile) are the ends. Where one is nearer than the quantile, that stays: of
    few units with odd laws, such as shifts of a lattice, the skewness misleads. So it does where it is large, and T^-1
    steep. g is the sample's by `UNDERSTATED`; where that is NaN, or there are fewer than 8 units, the sides are t's.

    **When it lies:** where few units have not met the tail at all; of 16 units of exp X in scrambles 2 to 4 % are off
    by more than four standard errors, which the status does not see.

    Source: P. Hall, On the removal of skewness by transformation, JRSS B 54 (1992), 221-228.
    """
    lam = UNDERSTATED * np.asarray(skewness, np.float64) / np.sqrt(num_units)
    known = (np.abs(lam) > NO_SKEWNESS) & (np.asarray(num_units) >= MIN_UNITS)
    safe = np.where(known, lam, 1.0)

    def inverse(y: Any) -> Any:
        return np.where(known, 3.0 / safe * (np.cbrt(1.0 + safe * (y - safe / 6.0)) - 1.0), y)

    sides = inverse(quantile), -inverse(-quantile)
    return tuple(np.clip(side, quantile, MOST * quantile) for side in sides)
