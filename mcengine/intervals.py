"""Confidence intervals of an estimate's outputs, with what is known where nothing was seen to vary."""

from typing import Any

import numpy as np

from mcengine import diagnostics
from mcengine.recipe import Recipe
from mcengine.sequences import FiniteSample


def interval_of(
    value: Any, std_error: Any, hits: Any, num_samples: Any, num_units: Any, recipe: Recipe, level: float
) -> tuple[Any, Any]:
    """(low, high), NumPy float64, of outputs of any shape, to which the counts broadcast.

    value -+ half width, Student-t over units or that of the recipe's sequence; Clopper and Pearson's for plain sampling
    of an indicator. Where the error is NaN: [0, b] without hits and [1 - b, 1] with nothing but hits of an indicator,
    b = -log(1 - level) sup(w f) / n; else all that w f can be, or the whole line.
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
        half_width = diagnostics.student_half_width(std_error, num_units, level)
    else:
        half_width = recipe.sequence.half_width(std_error, num_units, recipe.largest, level)
        # What no look has seen yet is bounded at all looks alike: half of the error allowed pays for the first of them
        # at which b is below the true value.
        unseen_level = 0.5 * (1.0 + level)
    with np.errstate(invalid="ignore"):  # a value beyond the largest float
        low, high = value - half_width, value + half_width
    if recipe.sequence is not None:
        low = np.maximum(low, floor if isinstance(recipe.sequence, FiniteSample) or recipe.bounded_by_one else -np.inf)
        high = np.minimum(high, ceiling)
    unknown = np.isnan(half_width)
    bound = np.fmin(diagnostics.upper_bound_without_hits(num_samples, largest, unseen_level), ceiling)
    empty, full = unknown & (hits == 0), unknown & (hits == num_samples) & recipe.indicator
    low = np.where(full, 1.0 - bound, np.where(unknown, floor, low))
    high = np.where(empty, bound, np.where(unknown, ceiling, high))
    return low[()], high[()]
