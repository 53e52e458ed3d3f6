"""Diagnostics of weights and contributions, and three signs that large weights are missing from a log."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mcengine import weights
from mcengine.inference.diagnostics import MIN_CROWD
from mcengine.inference.status import Findings, Status, status_codes
from mcengine.rl.ope.logs import TrajectoryLog
from mcengine.summaries.summary import MAX_TAIL
from mcengine.weights import pareto_tail

# The mean weight is off if it is more than so many standard errors from 1, beyond rounding of at most `ROUNDING`.
MISSING_WEIGHT, ROUNDING = 2.5, 1e-3
# Squared ratios are too small if they are more than so many standard errors below their bound. Logs with equal policies
# are far from it. Probabilities are known up to `PROBABILITY_ROUNDING`.
MISSING_SQUARES, PROBABILITY_ROUNDING = 2.0, 1e-6


class SampleDiagnostics(NamedTuple):
    """The diagnostics that the engine's estimate of the mean of some numbers would have."""

    ess: float
    max_weight_share: float
    pareto_k: float
    status: Status


def sample_diagnostics(values: Float[np.ndarray, " n"]) -> SampleDiagnostics:
    """Diagnostics by the engine's rules, without the rest of an estimate, because every estimator needs them."""
    size = np.abs(values)
    largest, hits = np.max(size), np.sum(size > 0)
    relative = size / largest if largest > 0 else size
    top = -np.sort(-relative)[: min(MAX_TAIL, int(pareto_tail.tail_size(len(size)))) + 1]
    with np.errstate(all="ignore"):
        # As in the engine, numbers without a tail have a k-hat of NaN, from a division by zero.
        k = pareto_tail.k_hat(np.log(top), np.float64(hits))
    total = np.sum(relative)
    # Both are 0 if all numbers are 0.
    ess, share = (total**2 / np.sum(relative**2), 1.0 / total) if total > 0 else (0.0, 0.0)
    code = status_codes(
        Findings(
            value=np.float64(0.0), std_error=np.float64(1.0), hits=np.float64(hits), num_samples=float(len(size)),
            num_units=float(len(size)), k_hat=k, ess=ess, largest_share=share, is_nonfinite=~np.isfinite(largest),
        )
    )  # fmt: skip
    return SampleDiagnostics(ess, share, float(k), Status(int(code)))


def has_many_extremes(values: Float[np.ndarray, " n"]) -> bool:
    """Whether many values are at least half as far from the mean as the furthest one: then there is no heavy tail.

    k-hat fits a Pareto distribution to any values: a few residuals near 1 above many near 0 give k near 2.
    """
    away = np.abs(values - values.mean())
    return bool(np.sum(away >= 0.5 * np.max(away)) >= MIN_CROWD)


def num_variance_units(units: Float[np.ndarray, " n"]) -> float:
    """(sum d^2)^2 / sum d^4, d = units - mean: the effective number of units behind their variance; n if all are equal.

    It equals n / kurtosis: n / 3 for a normal distribution, h for h rare events. The relative error of the variance is
    about 1 / its square root.
    """
    away = units - units.mean()
    largest = np.max(np.abs(away))
    if largest <= 1e-12 * np.max(np.abs(units)):
        return float(len(units))
    squares = (away / largest) ** 2
    return float(squares.sum() ** 2 / np.sum(squares**2))


def is_mean_weight_off(weights: Float[np.ndarray, " n"]) -> bool:
    """Whether the mean weight differs from its expectation 1 by more than chance and rounding explain."""
    largest = np.max(weights)
    if len(weights) < 2 or not np.isfinite(largest):
        return True
    # Relative to the largest weight, because squares of weights may overflow.
    unit = max(largest, 1.0)
    relative = weights / unit
    error = relative.std(ddof=1) / np.sqrt(len(weights))
    return bool(abs(relative.mean() - 1.0 / unit) > MISSING_WEIGHT * error + ROUNDING / unit)


def are_large_ratios_missing(log: TrajectoryLog) -> bool:
    """Whether the squared ratios r = pi(a | s) / mu(a | s) are smaller than a bound from the logged probabilities.

    The logged action has probabilities pi and mu, all others together 1 - pi and 1 - mu, so by Cauchy and Schwarz

        E_mu[r^2 | s] >= pi^2 / mu + (1 - pi)^2 / (1 - mu),

    with equality for two actions. If the behaviour policy mostly takes actions that the target policy rarely takes,
    this shows that large ratios are missing even if the log has none of them. False for densities, for which there is
    no such bound.
    """
    if log.continuous:
        return False
    with jax.enable_x64(True):
        ratios = np.asarray(weights.from_log(jnp.asarray(log.log_ratios)))
    rest, rest_behaviour = 1.0 - np.exp(log.log_target), 1.0 - np.exp(log.log_behaviour)
    # A remaining probability that is only rounding error counts as 0.
    has_rest = log.mask & (rest > PROBABILITY_ROUNDING)
    bound = np.where(has_rest, rest**2 / np.maximum(rest_behaviour, PROBABILITY_ROUNDING), 0.0) + ratios * (1.0 - rest)
    missing = np.where(log.mask, bound - ratios**2, 0.0).mean(axis=-1)
    error = missing.std(ddof=1) / np.sqrt(len(missing)) if len(missing) > 1 else np.inf
    return bool(missing.mean() > MISSING_SQUARES * error + ROUNDING)
