"""`multilevel`: the front door of multilevel Monte Carlo."""

import math
import time
from functools import partial
from numbers import Integral, Real
from typing import Any, no_type_check

import jax
import numpy as np
from jax.typing import ArrayLike

from mcengine.engine.budgets import Samples, Tolerance
from mcengine.engine.validation import check_key
from mcengine.execution.settings import Execution
from mcengine.inference.status import Status
from mcengine.mlmc.goals import CostGoal, Goal, PrecisionGoal, Seen, bias_of
from mcengine.mlmc.levels import Hierarchy
from mcengine.mlmc.result import LevelEstimate, MultilevelEstimate
from mcengine.numerics.tracing import is_traced

# Fewer say too little of a level's own variance.
LEAST_SAMPLES = 256
# And a pilot's variance from fewer is no variance at all.
LEAST_PILOT = 2
# A level with so little of the variance may be off by half, and the sum's error bar is not by 3 %. With few samples
# k-hat cries wolf.
SMALL_SHARE = 1 / 10
ABOUT_TAILS = (Status.FEW_HITS, Status.HEAVY_TAIL, Status.DOMINATED, Status.UNRELIABLE)


@no_type_check  # it checks its arguments in the user's words
def multilevel(
    key: ArrayLike,
    levels: Any,
    *,
    budget: Tolerance | Samples,
    max_level: int = 10,
    pilot: int = 1024,
    bias_share: float = 0.25,
    weak_order: float | None = None,
    execution: Execution = Execution(),
) -> MultilevelEstimate:
    """E[P] as E[P_0] + sum_l E[P_l - P_(l-1)], with many samples of what is cheap and few of what is small.

    N_l = c sqrt(V_l / C_l) for variances V_l and costs C_l has the least cost for its variance sum V_l / N_l. Where V_l
    falls faster than C_l grows, a root mean square error eps costs eps^-2, as if no fine level were needed at all.

    Level by level a pilot finds V_l and E[P_l - P_(l-1)], until what finer levels would add (by extrapolation, see
    `mcengine.mlmc.allocation.bias`) is seen to be small enough. All its samples are then thrown away: the estimate and
    its bias are from fresh ones, which had no part in choosing the counts.

    **Arguments:**

    - `key`: a key of `jax.random.key`.
    - `levels`: a function l -> (problem, cost of a sample), or a list of such pairs, where problem l is the correction
      P_l - P_(l-1), one number, both from one sample of what drives them: an `Expectation` whose integrand returns fine
      minus coarse, or a `difference`. Problem 0 is P_0. Costs in any one unit.
    - `budget`: `Tolerance(rtol, atol, max_samples, level)`: the interval's half-width, bias included, is at most
      max(atol, rtol |value|); `max_samples` bounds the samples of all levels together. `Samples(n)`: work worth n
      samples of level 0, sum N_l C_l <= n C_0. The pilot comes on top.
    - `max_level`: the finest level that may be used.
    - `pilot`: samples of each level that look for its variance, or an eighth of what the level will get.
    - `bias_share`: how much of the interval's half-width is the bias's.
    - `weak_order`: the rate a of |E[P_l - P_(l-1)]| ~ 2^(-a l) where it is known (1 for the schemes of Euler and
      Milstein); else it is fitted, and at least 1/2. Fitted to few noisy levels it may overstate the bias, and then
      the status.

    **Returns:** a `MultilevelEstimate`. Its interval is for the limit E[P], and widened by the bias.

    **Raises:** `TypeError` for levels that are no such pairs, another budget, and inside a trace; `ValueError` for
    fewer than two levels, bad costs, values that are not one number, a weak order that is not positive, a pilot of
    fewer than 2 samples, and a budget too small for two levels.

    When it lies: the bias is an extrapolation, wrong where coarse levels do not behave like fine ones yet.

    Source: M. Giles, Multilevel Monte Carlo path simulation, Operations Research 56 (2008); Acta Numerica 24 (2015).
    """
    key = check_key("multilevel", key)
    if is_traced(key):
        raise TypeError("multilevel: it decides by what it sees, and cannot be called inside jit, vmap or grad.")
    goal = _goal(budget, bias_share)
    _check_numbers(max_level, pilot, weak_order)
    hierarchy = Hierarchy(levels, max_level, execution)
    start = time.perf_counter()
    for_pilot, for_result = jax.random.split(key)
    found, pilot_cost = _explore(for_pilot, hierarchy, goal, pilot, weak_order)
    counts = goal.counts(found)
    lines = [_estimate_level(for_result, hierarchy, level, int(count)) for level, count in enumerate(counts)]
    bias = bias_of(_seen(lines), weak_order)
    result = partial(MultilevelEstimate, tuple(lines), bias, pilot_cost, time.perf_counter() - start)
    return result(max(_gravest(lines), goal.verdict(result(Status.OK))))


def _check_numbers(max_level: Any, pilot: Any, weak_order: Any) -> None:
    for name, value, least in (("max_level", max_level, 1), ("pilot", pilot, LEAST_PILOT)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            words = "; there must be at least two levels, or nothing tells the bias" if name == "max_level" else ""
            raise ValueError(f"multilevel: {name} must be a whole number of at least {least}, got {value!r}{words}.")
    if weak_order is None:
        return
    is_number = isinstance(weak_order, Real) and not isinstance(weak_order, bool)
    if not (is_number and math.isfinite(weak_order) and weak_order > 0):
        raise ValueError(
            f"multilevel: weak_order must be a positive number, or None where it is not known, got {weak_order!r}."
        )


def _goal(budget: Any, bias_share: float) -> Goal:
    if not 0.0 < bias_share < 1.0:
        raise ValueError(f"multilevel: bias_share must lie strictly between 0 and 1, got {bias_share}.")
    if isinstance(budget, Tolerance):
        if budget.atol is None:
            raise ValueError("multilevel: give atol besides rtol (atol=0.0 where you know that the value is not 0).")
        if budget.finite_sample:
            raise ValueError("multilevel: finite_sample needs a bound on each sample, which corrections do not have.")
        return PrecisionGoal(budget, bias_share, LEAST_SAMPLES)
    if isinstance(budget, Samples):
        return CostGoal(budget.count, bias_share, LEAST_SAMPLES)
    raise TypeError(f"multilevel: budget must be mc.Tolerance(rtol, atol) or mc.Samples(n), got {budget!r}.")


def _explore(key: Any, hierarchy: Hierarchy, goal: Goal, pilot: int, weak_order: float | None) -> tuple[Seen, float]:
    """(what the pilots of levels 0 to the finest one saw, what they cost)."""
    lines: list[LevelEstimate] = []
    spent = 0.0
    for level in range(hierarchy.finest + 1):
        lines.append(_estimate_level(key, hierarchy, level, pilot))
        spent += pilot * lines[-1].cost
        if level == 0:
            continue
        for known, wanted in enumerate(goal.pilot_counts(_seen(lines), weak_order)):
            if lines[known].num_samples < wanted / 2:
                # Fresh ones: which pilot is prolonged depends on what it saw.
                lines[known] = _estimate_level(key, hierarchy, known, int(wanted))
                spent += wanted * lines[known].cost
        if level >= min(2, hierarchy.finest) and goal.is_fine_enough(_seen(lines), weak_order):
            break
    return _seen(lines), spent


def _estimate_level(key: Any, hierarchy: Hierarchy, level: int, count: int) -> LevelEstimate:
    cost = hierarchy[level].cost
    level_key = jax.random.fold_in(jax.random.fold_in(key, level), count % 2**32)
    found = hierarchy.estimate(level, level_key, count)
    (mean,), (error,) = (jax.tree.leaves(tree) for tree in (found.value, found.std_error))
    # Nothing but zeros seen: no variance, rather than an unknown one; `allocation.believed` does not trust it.
    error = 0.0 if np.isnan(error).item() and found.status == Status.NO_HITS else float(np.reshape(error, ()))
    return LevelEstimate(
        level, count, float(np.reshape(mean, ())), error, error**2 * count, cost, found.seconds or 0.0, found.status
    )


def _gravest(lines: list[LevelEstimate]) -> Status:
    """The gravest status of the levels, leaving out what is said of the tails of levels that hardly count."""
    variance = sum(line.std_error**2 for line in lines)
    counted = [
        line.status for line in lines
        if line.status not in ABOUT_TAILS or line.std_error**2 >= SMALL_SHARE * variance
    ]  # fmt: skip
    return max(counted, default=Status.OK)


def _seen(lines: list[LevelEstimate]) -> Seen:
    return Seen(*(
        np.asarray([getattr(line, name) for line in lines], np.float64)
        for name in ("mean", "std_error", "variance", "cost")
    ))  # fmt: skip
