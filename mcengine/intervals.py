"""Confidence intervals of an estimate's outputs, with what is known where nothing was seen to vary."""

from typing import Any

import numpy as np

from mcengine import diagnostics
from mcengine.recipe import Recipe
from mcengine.sequences import FiniteSample

# Below, the transformation that removes it is the identity to the last digit that counts.
NO_SKEWNESS = 1e-6
# What 16 units show of a skewness of 4 is 1.6 to 1.9; what t's quantile is lengthened by at most. Both by the coverage
# of 16 units of a dozen laws (exponential, lognormal, exp X in scrambles, ...): without the first it is up to .01 less,
# and without the second up to .02 more, at half as long again. Of even laws intervals grow by 8 % on average.
UNDERSTATED, MOST = 1.25, 2.0


def interval_of(
    value: Any,
    std_error: Any,
    skewness: Any,
    hits: Any,
    num_samples: Any,
    num_units: Any,
    recipe: Recipe,
    level: float,
) -> tuple[Any, Any]:
    """(low, high), NumPy float64, of outputs of any shape, to which the counts broadcast.

    value -+ half width, Student-t over units (see `skewed_sides`) or that of the recipe's sequence; Clopper and
    Pearson's for plain sampling of an indicator. Where the error is NaN: [0, b] without hits and [1 - b, 1] with
    nothing but hits of an indicator, b = -log(1 - level) sup(w f) / n; else all that w f can be, or the whole line.
    """
    value, hits, num_samples = (np.asarray(x, np.float64) for x in (value, hits, num_samples))
    largest = np.asarray(recipe.largest, np.float64)
    largest = largest[(...,) + (None,) * (num_samples.ndim - largest.ndim)] if largest.ndim else largest
    if recipe.binomial:
        low, high = diagnostics.binomial_interval(hits, num_samples, level)
        rule_of_three = np.minimum(diagnostics.upper_bound_without_hits(num_samples, 1.0, level), 1.0)
        return low, np.where(hits == 0, rule_of_three, high)
    floor = np.where(recipe.bounded_by_one | ~np.isnan(largest), 0.0, -np.inf)
    ceiling = np.fmin(largest, 1.0 if recipe.bounded_by_one else np.inf)
    unseen_level = level
    if recipe.sequence is None:
        below, above = skewed_sides(diagnostics.student_half_width(1.0, num_units, level), skewness, num_units)
        below, above = below * np.asarray(std_error, np.float64), above * np.asarray(std_error, np.float64)
    else:
        below = above = recipe.sequence.half_width(std_error, num_units, recipe.largest, level)
        # What no look has seen yet is bounded at all looks alike: half of the error allowed pays for the first of them
        # at which b is below the true value.
        unseen_level = 0.5 * (1.0 + level)
    with np.errstate(invalid="ignore"):  # a value beyond the largest float
        low, high = value - below, value + above
    if recipe.sequence is not None:
        low = np.maximum(low, floor if isinstance(recipe.sequence, FiniteSample) or recipe.bounded_by_one else -np.inf)
        high = np.minimum(high, ceiling)
    unknown = np.isnan(below)
    bound = np.fmin(diagnostics.upper_bound_without_hits(num_samples, largest, unseen_level), ceiling)
    empty, full = unknown & (hits == 0), unknown & (hits == num_samples) & recipe.indicator
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
    known = (np.abs(lam) > NO_SKEWNESS) & (np.asarray(num_units) >= diagnostics.MIN_UNITS)
    safe = np.where(known, lam, 1.0)

    def inverse(y: Any) -> Any:
        return np.where(known, 3.0 / safe * (np.cbrt(1.0 + safe * (y - safe / 6.0)) - 1.0), y)

    sides = inverse(quantile), -inverse(-quantile)
    return tuple(np.clip(side, quantile, MOST * quantile) for side in sides)
