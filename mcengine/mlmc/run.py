"""`multilevel`: the front door of multilevel Monte Carlo."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral, Real
from typing import NoReturn

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from mcengine.engine.budgets import Samples, Tolerance
from mcengine.engine.validation import check_key
from mcengine.execution.settings import Execution
from mcengine.inference.status import Status
from mcengine.mlmc.goals import CostGoal, Goal, LevelMoments, PrecisionGoal, bias_of
from mcengine.mlmc.levels import Hierarchy, Level
from mcengine.mlmc.result import LevelEstimate, MultilevelEstimate
from mcengine.numerics.tracing import closes_over_trace, is_traced
from mcengine.problems.difference import Difference
from mcengine.problems.protocol import Problem

# Fewer samples than this estimate a level's own variance too poorly.
LEAST_SAMPLES = 256
# A sample variance needs two samples.
LEAST_PILOT = 2
# An error bar that is wrong by half, of a level with this share of the variance, changes that of the sum by less than
# 3 %. Such a level's status is left out if it is about tails: k-hat of few samples is often too high.
SMALL_SHARE = 1 / 10
ABOUT_TAILS = (Status.FEW_HITS, Status.HEAVY_TAIL, Status.DOMINATED, Status.UNRELIABLE)


def multilevel(
    key: PRNGKeyArray,
    levels: Callable[[int], tuple[Problem, float]] | Sequence[tuple[Problem, float]],
    *,
    budget: Tolerance | Samples,
    max_level: int = 10,
    pilot: int = 1024,
    bias_share: float = 0.25,
    weak_order: float | None = None,
    execution: Execution = Execution(),
) -> MultilevelEstimate:
    """Estimate E[P] = E[P_0] + sum_l E[P_l - P_(l-1)]: many samples of coarse levels, few of fine ones.

    N_l = c sqrt(V_l / C_l) for variances V_l and costs C_l has the least cost for its variance sum V_l / N_l. If V_l
    falls faster than C_l grows, a root mean square error eps costs O(eps^-2), the rate of plain sampling without bias.

    A pilot estimates V_l and E[P_l - P_(l-1)] level by level, until the extrapolated bias (see
    `mcengine.mlmc.allocation.bias`) is small enough. Its samples are then discarded: the estimate and its bias are from
    fresh samples, which did not influence their own number.

    **Arguments:**

    - `key`: a key of `jax.random.key`.
    - `levels`: a function l -> (problem, cost of a sample), or a list of such pairs, the costs in any one unit. Problem
      0 is P_0. Problem l is the correction P_l - P_(l-1), one number, with both terms computed from the same sample: an
      `Expectation` whose integrand returns fine minus coarse, or a `difference`.
    - `budget`: `Tolerance(rtol, atol, max_samples, level)`: the interval's half-width, bias included, is at most
      max(atol, rtol |value|); `max_samples` bounds the samples of all levels together. `Samples(n)`: the cost of n
      samples of level 0, sum N_l C_l <= n C_0. The pilot's samples come on top.
    - `max_level`: the finest level that may be used.
    - `pilot`: the number of pilot samples of each level; raised to an eighth of what the level will get.
    - `bias_share`: the part of the interval's half-width that is for the bias, between 0 and 1.
    - `weak_order`: the rate a of |E[P_l - P_(l-1)]| ~ 2^(-a l) if it is known (1 for the schemes of Euler and
      Milstein). By default it is fitted, and at least 1/2. A rate fitted to few noisy levels may overstate the bias,
      and with it the status.

    **Returns:** a `MultilevelEstimate`. Its interval is for the limit E[P], widened by the estimated bias.

    **Raises:** `TypeError` for levels that are not such pairs, for other budgets, and inside a trace; `ValueError` for
    fewer than two levels, costs that are not positive, values that are not one number, a weak order that is not
    positive, a pilot of fewer than 2 samples, and a budget too small for two levels.

    Fails silently when coarse levels do not yet show the rate of the fine ones: the bias is an extrapolation.

    Source: M. Giles, Multilevel Monte Carlo path simulation, Operations Research 56 (2008); Acta Numerica 24 (2015).
    """
    key = check_key("multilevel", key)
    if is_traced(key):
        _raise_in_trace()
    goal = _goal(budget, bias_share)
    _check_numbers(max_level, pilot, weak_order)
    hierarchy = Hierarchy(partial(_level_at, levels), _finest(levels, max_level), execution)
    start = time.perf_counter()
    for_pilot, for_result = jax.random.split(key)
    moments, pilot_cost = _explore(for_pilot, hierarchy, goal, pilot, weak_order)
    counts = goal.counts(moments)
    lines = [_estimate_level(for_result, hierarchy, level, int(count)) for level, count in enumerate(counts)]
    bias = bias_of(LevelMoments.of(lines), weak_order)
    result = partial(MultilevelEstimate, tuple(lines), bias, pilot_cost, time.perf_counter() - start)
    return result(max(_most_severe(lines), goal.status_of(result(Status.OK))))


def _raise_in_trace() -> NoReturn:
    raise TypeError(
        "multilevel: the number of samples depends on numbers, so it cannot be called inside jit, vmap or grad."
    )


def _finest(levels: Callable[[int], tuple[Problem, float]] | Sequence[tuple[Problem, float]], max_level: int) -> int:
    """The last level that may be used."""
    if callable(levels):
        return max_level
    if not isinstance(levels, Sequence) or isinstance(levels, str):
        raise TypeError(f"multilevel: levels must be a function of the level or a list of levels, got {levels!r}.")
    if len(levels) < 2:
        raise ValueError("multilevel: at least two levels are needed, since one does not show its bias.")
    return min(len(levels) - 1, max_level)


def _level_at(levels: Callable[[int], tuple[Problem, float]] | Sequence[tuple[Problem, float]], number: int) -> Level:
    """Level `number`, checked."""
    level = levels(number) if callable(levels) else levels[number]
    if not isinstance(level, tuple | list) or len(level) != 2:
        raise TypeError(f"multilevel: level {number} must be a pair (problem, cost per sample), got {level!r}.")
    problem, cost = level
    if is_traced((problem, cost)) or closes_over_trace(problem):
        _raise_in_trace()
    cost = float(cost)
    if not (math.isfinite(cost) and cost > 0):
        raise ValueError(f"multilevel: the cost of a sample of level {number} must be positive, got {cost}.")
    if isinstance(problem, Difference):
        problem = dataclasses.replace(problem, only_difference=True, exact=None)
    return Level(problem, cost)


def _check_numbers(max_level: int, pilot: int, weak_order: float | None) -> None:
    for name, value, least in (("max_level", max_level, 1), ("pilot", pilot, LEAST_PILOT)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            reason = "; at least two levels are needed, since one does not show its bias" if name == "max_level" else ""
            raise ValueError(f"multilevel: {name} must be a whole number of at least {least}, got {value!r}{reason}.")
    if weak_order is None:
        return
    is_number = isinstance(weak_order, Real) and not isinstance(weak_order, bool)
    if not (is_number and math.isfinite(weak_order) and weak_order > 0):
        raise ValueError(
            f"multilevel: weak_order must be a positive number, or None if it is not known, got {weak_order!r}."
        )


def _goal(budget: Tolerance | Samples, bias_share: float) -> Goal:
    if not 0.0 < bias_share < 1.0:
        raise ValueError(f"multilevel: bias_share must lie strictly between 0 and 1, got {bias_share}.")
    if isinstance(budget, Tolerance):
        if budget.atol is None:
            raise ValueError("multilevel: give atol besides rtol (atol=0.0 if you know that the value is not 0).")
        if budget.finite_sample:
            raise ValueError("multilevel: finite_sample needs a bound on each sample, which corrections do not have.")
        return PrecisionGoal(bias_share, LEAST_SAMPLES, budget)
    if isinstance(budget, Samples):
        return CostGoal(bias_share, LEAST_SAMPLES, budget.count)
    raise TypeError(f"multilevel: budget must be mc.Tolerance(rtol, atol) or mc.Samples(n), got {budget!r}.")


def _explore(
    key: PRNGKeyArray, hierarchy: Hierarchy, goal: Goal, pilot: int, weak_order: float | None
) -> tuple[LevelMoments, float]:
    """(the pilot's moments of levels 0 to the finest one needed, the pilot's cost)."""
    lines: list[LevelEstimate] = []
    spent = 0.0
    for level in range(hierarchy.finest + 1):
        lines.append(_estimate_level(key, hierarchy, level, pilot))
        spent += pilot * lines[-1].cost
        if level == 0:
            continue
        for known, wanted in enumerate(goal.pilot_counts(LevelMoments.of(lines), weak_order)):
            if lines[known].num_samples < wanted / 2:
                # All samples are drawn anew: the first ones decided that there must be more, and adding to them biases.
                lines[known] = _estimate_level(key, hierarchy, known, int(wanted))
                spent += wanted * lines[known].cost
        if level >= min(2, hierarchy.finest) and goal.is_fine_enough(LevelMoments.of(lines), weak_order):
            break
    return LevelMoments.of(lines), spent


def _estimate_level(key: PRNGKeyArray, hierarchy: Hierarchy, level: int, count: int) -> LevelEstimate:
    cost = hierarchy[level].cost
    level_key = jax.random.fold_in(jax.random.fold_in(key, level), count % 2**32)
    found = hierarchy.estimate(level, level_key, count)
    (mean,), (error,) = (jax.tree.leaves(tree) for tree in (found.value, found.std_error))
    # If all samples are 0, the variance is 0 here and not NaN; `allocation.floored_variances` raises it.
    error = 0.0 if np.isnan(error).item() and found.status == Status.NO_HITS else float(np.reshape(error, ()))
    return LevelEstimate(
        level, count, float(np.reshape(mean, ())), error, error**2 * count, cost, found.seconds or 0.0, found.status
    )


def _most_severe(lines: list[LevelEstimate]) -> Status:
    """The most severe status of the levels, without findings about tails of levels with a small share of variance."""
    variance = sum(line.std_error**2 for line in lines)
    counted = [
        line.status for line in lines
        if line.status not in ABOUT_TAILS or line.std_error**2 >= SMALL_SHARE * variance
    ]  # fmt: skip
    return max(counted, default=Status.OK)
