"""The arithmetic of multilevel Monte Carlo: rates, bias of the finest level, samples for each level. NumPy, float64.

Source: M. Giles, Multilevel Monte Carlo path simulation, Operations Research 56 (2008), 607-617, and Multilevel Monte
Carlo methods, Acta Numerica 24 (2015), 259-328, sections 3.1 and 3.4.
"""

import math

import numpy as np
from jaxtyping import Float, Int

Column = Float[np.ndarray, " levels"]

# Rates below are not believed: a bias that hardly falls would ask for levels without end.
LEAST_RATE = 0.5
# Levels whose extrapolated corrections bound the bias, so that one that is small by chance does not end the search.
LOOK_BACK = 3


def rate(sizes: Column) -> float:
    """The slope a of sizes_l ~ 2^(-a l), least squares over levels 1, 2, ...; NaN where fewer than 2 are above 0."""
    levels = np.arange(1, len(sizes))
    known = np.isfinite(sizes[1:]) & (sizes[1:] > 0)
    if known.sum() < 2:
        return math.nan
    return -float(np.polyfit(levels[known], np.log2(sizes[1:][known]), 1)[0])


def weak_rate(means: Column, errors: Column, given: float | None) -> float:
    """The rate a of |E[P_l - P_(l-1)]| ~ 2^(-a l): as given, or fitted and at least 1/2."""
    if given is not None:
        return given
    fitted = rate(denoised(means, errors))
    return LEAST_RATE if math.isnan(fitted) else max(fitted, LEAST_RATE)


def denoised(means: Column, errors: Column) -> Column:
    """|E[Y_l]| without what sampling noise adds to |mean|: sqrt(max(mean^2 - error^2, 0))."""
    return np.sqrt(np.maximum(means**2 - np.nan_to_num(errors) ** 2, 0.0))


def bias(means: Column, errors: Column, alpha: float) -> float:
    """|E[P - P_L]| by extrapolation of the last corrections: max_j |Y_(L-j)| 2^(-a j) / (2^a - 1), j = 0, 1, 2.

    If E[P - P_l] = c 2^(-a l), each of them is it exactly.
    """
    last = denoised(means, errors)[1:][::-1][:LOOK_BACK]
    return float(np.max(last * 2.0 ** (-alpha * np.arange(len(last))))) / (2.0**alpha - 1.0)


def believed(variances: Column) -> Column:
    """Variances, each at least half of what the rate says of the level before: a pilot may miss rare corrections."""
    beta = rate(variances)
    beta = LEAST_RATE if math.isnan(beta) else max(beta, LEAST_RATE)
    result = np.nan_to_num(variances)
    for level in range(2, len(result)):
        result[level] = max(result[level], 0.5 * result[level - 1] / 2.0**beta)
    return result


def counts_for_variance(variances: Column, costs: Column, wanted: float) -> Column:
    """N_l with sum V_l / N_l = wanted at the least cost: sqrt(V_l / C_l) sum_k sqrt(V_k C_k) / wanted."""
    return np.sqrt(variances / costs) * np.sum(np.sqrt(variances * costs)) / wanted


def counts_for_cost(variances: Column, costs: Column, total: float, least: int) -> Column:
    """N_l with sum N_l C_l = total and the least variance, N_l ~ sqrt(V_l / C_l), none below `least`."""
    free = total - least * np.sum(costs)
    shape = np.sqrt(variances / costs)
    share = np.sum(shape * costs)
    return least + (free / share * shape if share > 0 else np.full(len(costs), free / np.sum(costs)))


def whole(counts: Column, least: int) -> Int[np.ndarray, " levels"]:
    """Whole numbers, at least `least` and below 2^53."""
    return np.maximum(np.ceil(np.minimum(counts, 2.0**53)), least).astype(np.int64)


def welch_dof(variances: Column, counts: Column) -> float:
    """Degrees of freedom of the sum of independent means with these variances (of the means) and sample counts.

    (sum s_l^2)^2 / sum (s_l^4 / (N_l - 1)), after Welch (1947) and Satterthwaite (1946).
    """
    squares = np.sum(variances**2 / np.maximum(counts - 1.0, 1.0))
    return float(np.sum(variances) ** 2 / squares) if squares > 0 else math.inf
