"""Confidence intervals of an estimate's outputs, and the bounds where nothing was seen to vary."""

from typing import NamedTuple

import numpy as np
from scipy import special

from mcengine.inference.confidence_sequences import FiniteSample
from mcengine.inference.spec import EstimateSpec
from mcengine.inference.status import MIN_UNITS
from mcengine.numerics.arrays import Numbers

# Below this skewness the transformation that removes it is the identity to the last digit that counts.
NO_SKEWNESS = 1e-6
# The sample skewness is multiplied by the first number: with 16 units that of a distribution with skewness 4 is 1.6 to
# 1.9, since it is biased low. A side is at most the second number times as long as by Student-t. Both were chosen by
# the coverage of 16 units of a dozen distributions (exponential, lognormal, exp X in scrambles, ...): without the first
# it is up to .01 lower; without the second up to .02 higher, with intervals half as long again. Intervals of symmetric
# distributions get 8 % longer on average.
UNDERSTATED, MOST = 1.25, 2.0


def student_half_width(std_error: Numbers, num_units: Numbers, level: float) -> Numbers:
    """t_{units - 1} std_error of the two-sided interval."""
    dof = np.maximum(np.asarray(num_units, np.float64) - 1.0, 1.0)
    return special.stdtrit(dof, 0.5 + 0.5 * level) * np.asarray(std_error, np.float64)


def student_interval(value: Numbers, std_error: Numbers, num_units: Numbers, level: float) -> tuple[Numbers, Numbers]:
    """value -+ t_{units - 1} std_error, two-sided."""
    half_width = student_half_width(std_error, num_units, level)
    with np.errstate(invalid="ignore"):  # a value beyond the largest float
        return value - half_width, value + half_width


def binomial_interval(hits: Numbers, trials: Numbers, level: float) -> tuple[Numbers, Numbers]:
    """Clopper and Pearson's interval for a proportion: covers at least `level` for any number of hits."""
    hits, trials = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    tail = 0.5 * (1.0 - level)
    low = np.where(hits > 0, special.betaincinv(np.maximum(hits, 0.5), trials - hits + 1.0, tail), 0.0)
    inside = np.maximum(trials - hits, 0.5)
    high = np.where(hits < trials, special.betaincinv(hits + 1.0, inside, 1.0 - tail), 1.0)
    return low, high


def upper_bound_without_hits(num_samples: Numbers, largest: Numbers, level: float = 0.95) -> Numbers:
    """Bound on E_q[w f] when none of n samples hit and 0 <= w f <= `largest`: -log(1 - level) largest / n.

    At 95 % that is the rule of three, 3 sup(w f) / n. Without a bound on w f, no hits bound the hit rate alone.
    """
    return -np.log1p(-level) * largest / num_samples


class UnitStatistics(NamedTuple):
    """What an interval is made of: arrays of any shape, to which the counts broadcast."""

    value: Numbers
    std_error: Numbers
    skewness: Numbers
    hits: Numbers
    num_samples: Numbers
    num_units: Numbers


def interval_of(statistics: UnitStatistics, spec: EstimateSpec, level: float) -> tuple[Numbers, Numbers]:
    """(low, high) of every output, NumPy float64.

    value -+ half width, by Student-t over units (see `skewed_sides`) or by the specification's sequence; Clopper and
    Pearson's for plain sampling of an indicator. Where the error is NaN: [0, b] without hits and [1 - b, 1] with
    nothing but hits of an indicator, b = -log(1 - level) sup(w f) / n; else the range of w f, or the whole line.
    """
    value, _, _, hits, num_samples, _ = (np.asarray(x, np.float64) for x in statistics)
    if spec.binomial:
        low, high = binomial_interval(hits, num_samples, level)
        rule_of_three = np.minimum(upper_bound_without_hits(num_samples, 1.0, level), 1.0)
        return low, np.where(hits == 0, rule_of_three, high)
    largest = np.asarray(spec.largest, np.float64)
    largest = largest[(...,) + (None,) * (num_samples.ndim - largest.ndim)] if largest.ndim else largest
    floor = np.where(spec.bounded_by_one | ~np.isnan(largest), 0.0, -np.inf)
    ceiling = np.fmin(largest, 1.0 if spec.bounded_by_one else np.inf)
    below, above = _sides(statistics, spec, level)
    with np.errstate(invalid="ignore"):  # a value beyond the largest float
        low, high = value - below, value + above
    if spec.sequence is not None:
        low = np.maximum(low, floor if isinstance(spec.sequence, FiniteSample) or spec.bounded_by_one else -np.inf)
        high = np.minimum(high, ceiling)
    # Half of the error allowed bounds what no interim look has hit, at all looks alike: it pays for the first look at
    # which b is below the true value.
    unseen_level = level if spec.sequence is None else 0.5 * (1.0 + level)
    unknown = np.isnan(below)
    bound = np.fmin(upper_bound_without_hits(num_samples, largest, unseen_level), ceiling)
    empty, full = unknown & (hits == 0), unknown & (hits == num_samples) & spec.indicator
    low = np.where(full, 1.0 - bound, np.where(unknown, floor, low))
    high = np.where(empty, bound, np.where(unknown, ceiling, high))
    return low[()], high[()]


def _sides(statistics: UnitStatistics, spec: EstimateSpec, level: float) -> tuple[Numbers, Numbers]:
    """The lengths of the interval below and above the value."""
    _, std_error, skewness, _, _, num_units = statistics
    if spec.sequence is not None:
        half_width = spec.sequence.half_width(std_error, num_units, spec.largest, level)
        return half_width, half_width
    below, above = skewed_sides(student_half_width(1.0, num_units, level), skewness, num_units)
    error = np.asarray(std_error, np.float64)
    return below * error, above * error


def skewed_sides(quantile: Numbers, skewness: Numbers, num_units: Numbers) -> tuple[Numbers, Numbers]:
    """How many standard errors the interval reaches (below, above) the value: t's `quantile` to twice that, each.

    Units skewed to the right are mostly below their mean, and then their spread is small too: a t interval from few of
    them ends too early above. With g the skewness and l = g / sqrt(n), T(t) = t + l t^2/3 + l^2 t^3/27 + l/6 is
    symmetric to second order, and T^-1(-+ quantile) are the ends. No side gets shorter than the quantile: for few units
    of unusual distributions, such as shifts of a lattice, the sample skewness misleads, most of all where it is large
    and T^-1 steep. g is the sample skewness times `UNDERSTATED`; where that is NaN, or there are fewer than 8 units,
    both sides are t's.

    **When it lies:** where few units have samples in the tail; of 16 units of exp X in scrambles 2 to 4 % are off by
    more than four standard errors, which the status does not see.

    Source: P. Hall, On the removal of skewness by transformation, JRSS B 54 (1992), 221-228.
    """
    lam = UNDERSTATED * np.asarray(skewness, np.float64) / np.sqrt(num_units)
    known = (np.abs(lam) > NO_SKEWNESS) & (np.asarray(num_units) >= MIN_UNITS)
    safe = np.where(known, lam, 1.0)

    def inverse(y: Numbers) -> Numbers:
        return np.where(known, 3.0 / safe * (np.cbrt(1.0 + safe * (y - safe / 6.0)) - 1.0), y)

    below, above = inverse(quantile), -inverse(-quantile)
    return np.clip(below, quantile, MOST * quantile), np.clip(above, quantile, MOST * quantile)
