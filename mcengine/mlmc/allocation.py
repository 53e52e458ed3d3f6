"""The arithmetic of multilevel Monte Carlo: rates, bias of the finest level, samples for each level. NumPy, float64.

Source: M. Giles, Multilevel Monte Carlo path simulation, Operations Research 56 (2008), 607-617, and Multilevel Monte
Carlo methods, Acta Numerica 24 (2015), 259-328, sections 3.1 and 3.4.
"""

import math

import numpy as np
from jaxtyping import Float, Int

# One number for each level.
PerLevel = Float[np.ndarray, " levels"]

# Fitted rates are raised to this: with a slower one a tolerance would need very many levels.
LEAST_RATE = 0.5
# The bias is extrapolated from so many of the last corrections, since one alone may be small by chance.
NUM_LAST = 3


def rate(sizes: PerLevel) -> float:
    """The slope a of sizes_l ~ 2^(-a l), least squares over levels 1, 2, ...; NaN where fewer than 2 are above 0."""
    levels = np.arange(1, len(sizes))
    known = np.isfinite(sizes[1:]) & (sizes[1:] > 0)
    if known.sum() < 2:
        return math.nan
    return -float(np.polyfit(levels[known], np.log2(sizes[1:][known]), 1)[0])


def weak_rate(means: PerLevel, errors: PerLevel, given: float | None) -> float:
    """The rate a of |E[P_l - P_(l-1)]| ~ 2^(-a l): the given one, or a fitted one of at least 1/2."""
    if given is not None:
        return given
    fitted = rate(denoised(means, errors))
    return LEAST_RATE if math.isnan(fitted) else max(fitted, LEAST_RATE)


def denoised(means: PerLevel, errors: PerLevel) -> PerLevel:
    """|E[Y_l]| without the sampling noise that |mean| contains: sqrt(max(mean^2 - error^2, 0))."""
    return np.sqrt(np.maximum(means**2 - np.nan_to_num(errors) ** 2, 0.0))


def bias(means: PerLevel, errors: PerLevel, alpha: float) -> float:
    """|E[P - P_L]| by extrapolation of the last corrections: max_j |Y_(L-j)| 2^(-a j) / (2^a - 1), j = 0, 1, 2.

    If E[P - P_l] = c 2^(-a l), all three agree and are exact.
    """
    last = denoised(means, errors)[1:][::-1][:NUM_LAST]
    return float(np.max(last * 2.0 ** (-alpha * np.arange(len(last))))) / (2.0**alpha - 1.0)


def floored_variances(variances: PerLevel) -> PerLevel:
    """The variances, raised to half of what the fitted rate predicts from the level before.

    A pilot of few samples may miss rare corrections, and then reports a variance that is far too small.
    """
    beta = rate(variances)
    beta = LEAST_RATE if math.isnan(beta) else max(beta, LEAST_RATE)
    result = np.nan_to_num(variances)
    for level in range(2, len(result)):
        result[level] = max(result[level], 0.5 * result[level - 1] / 2.0**beta)
    return result


def counts_for_variance(variances: PerLevel, costs: PerLevel, wanted: float) -> PerLevel:
    """N_l with sum V_l / N_l = wanted at the least cost: sqrt(V_l / C_l) sum_k sqrt(V_k C_k) / wanted."""
    return np.sqrt(variances / costs) * np.sum(np.sqrt(variances * costs)) / wanted


def counts_for_cost(variances: PerLevel, costs: PerLevel, total: float, least: int) -> PerLevel:
    """N_l with sum N_l C_l = total and the least variance, N_l ~ sqrt(V_l / C_l), none below `least`."""
    free = total - least * np.sum(costs)
    shape = np.sqrt(variances / costs)
    share = np.sum(shape * costs)
    return least + (free / share * shape if share > 0 else np.full(len(costs), free / np.sum(costs)))


def whole(counts: PerLevel, least: int) -> Int[np.ndarray, " levels"]:
    """Whole numbers, at least `least` and below 2^53."""
    return np.maximum(np.ceil(np.minimum(counts, 2.0**53)), least).astype(np.int64)


def welch_dof(variances: PerLevel, counts: PerLevel) -> float:
    """Degrees of freedom of the sum of independent means with these variances (of the means) and sample counts.

    (sum s_l^2)^2 / sum (s_l^4 / (N_l - 1)), after Welch (1947) and Satterthwaite (1946).
    """
    squares = np.sum(variances**2 / np.maximum(counts - 1.0, 1.0))
    return float(np.sum(variances) ** 2 / squares) if squares > 0 else math.inf
