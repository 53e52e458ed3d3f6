"""From contributions of trajectories to an `Estimate`, with its error bar and a status that includes the weights."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np
from jaxtyping import Float

from mcengine.inference.estimate import Estimate
from mcengine.inference.from_arrays import estimate_of_arrays
from mcengine.inference.status import MAX_BIAS, MIN_UNITS, Status
from mcengine.rl.ope.logs import TrajectoryLog
from mcengine.rl.ope.weight_diagnostics import (
    are_large_ratios_missing,
    has_many_extremes,
    is_mean_weight_off,
    num_variance_units,
    sample_diagnostics,
)

P = ParamSpec("P")

# Statuses that are taken from the weights, from the tails of contributions, and from the engine's own estimate.
OF_WEIGHTS = (Status.HEAVY_TAIL, Status.DOMINATED, Status.UNRELIABLE, Status.NO_HITS, Status.NON_FINITE)
OF_TAILS = (Status.HEAVY_TAIL, Status.UNRELIABLE)
OF_ESTIMATE = (Status.ROUNDING, Status.WEAK_DENOMINATOR, Status.NO_HITS, Status.NON_FINITE)
# Below this number of `num_variance_units` a variance is not known: intervals from 10 rare events cover 0.93.
MIN_VARIANCE_UNITS = 10.0


class PolicyValue(Estimate):
    """The estimated value of a policy: an `Estimate` whose units are trajectories (for a bandit, rounds).

    `ess`, `pareto_k` and `max_weight_share` are the worst of three: of the contributions of the units, of the weights,
    and of the weighted residuals of a model. A sum of a model's values and residuals would hide the last two.

    The status is the gravest of

    - that of the weights;
    - heavy tails of contributions and residuals, unless `has_many_extremes`;
    - DOMINATED if fewer than ten units carry the variance (`num_variance_units`), if the mean weight is not 1
      (`is_mean_weight_off`), or if squared ratios are too small (`are_large_ratios_missing`). These find large weights
      that are missing from the log, which neither k-hat nor ESS can.

    Rare rewards are no reason for a flag: a log with one click in a hundred is fine if it has ten clicks.
    """

    def merge(self, other: Estimate) -> Estimate:
        """Raises `TypeError`, because models and normalisations belong to one log."""
        raise TypeError("merge: estimate from both logs as one (with logger= where the behaviour policies differ).")


def without_numpy_warnings(estimator: Callable[P, PolicyValue]) -> Callable[P, PolicyValue]:
    """The estimator without NumPy's overflow warnings: weights beyond the largest float have the status NON_FINITE."""

    @functools.wraps(estimator)
    def quiet(*arguments: P.args, **options: P.kwargs) -> PolicyValue:
        with np.errstate(over="ignore", invalid="ignore"):
            return estimator(*arguments, **options)

    return quiet


def from_units(
    log: TrajectoryLog,
    units: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"],
    residuals: Float[np.ndarray, " n"] | None = None,
    *,
    balance: Float[np.ndarray, " n"] | None = None,
    estimate: Estimate | None = None,
    bias: float = 0.0,
    biased: bool | None = None,
) -> PolicyValue:
    """mean(units) with the error bar of independent units, and the worst diagnostics of units, weights and residuals.

    **Arguments:**

    - `log`: the log that the units come from.
    - `units`, [n]: the contribution of every trajectory.
    - `weights`, [n]: the weights behind the units.
    - `residuals`, [n]: the weighted residuals of a model.
    - `balance`, [n]: numbers with expectation 1 if the behaviour probabilities are right; by default the weights.
    - `estimate`: the engine's own estimate, if it has one with these units.
    - `bias`: the difference from an unbiased estimate.
    - `biased`: whether the bias is too large; by default whether it is above `MAX_BIAS` standard errors.
    """
    # An exact model has residuals of 0, which have no diagnostics.
    contributions = [units] if residuals is None or not np.any(residuals) else [units, residuals]
    overflowed = not all(np.all(np.isfinite(array)) for array in (*contributions, weights))
    *contributions, weights = (np.where(np.isfinite(array), array, 0.0) for array in (*contributions, weights))
    of_contributions = [sample_diagnostics(array) for array in contributions]
    # A plain mean of w G depends on the weights only through w G.
    is_plain_mean = estimate is not None and not estimate.spec.self_normalised
    of_weights = [] if is_plain_mean else [sample_diagnostics(weights)]
    if estimate is None:
        estimate = estimate_of_arrays(None, units)
    else:
        bias = float(estimate.bias_seen)
    codes = [Status.NON_FINITE] if overflowed else []
    codes += [found.status for found in of_weights if found.status in OF_WEIGHTS]
    codes += [estimate.status] if estimate.status in OF_ESTIMATE else []
    for array, found in zip(contributions, of_contributions, strict=True):
        codes += [found.status] if found.status in OF_TAILS and not has_many_extremes(array) else []
    if len(units) < MIN_UNITS:
        codes.append(Status.FEW_UNITS)
    if abs(bias) > MAX_BIAS * estimate.std_error if biased is None else biased:
        codes.append(Status.BIASED)
    is_off = is_mean_weight_off(weights if balance is None else balance) or are_large_ratios_missing(log)
    if is_off or min(map(num_variance_units, (*contributions, weights))) < MIN_VARIANCE_UNITS:
        codes.append(Status.DOMINATED)
    of_all = of_contributions + of_weights
    fields: dict[str, Any] = {field.name: getattr(estimate, field.name) for field in dataclasses.fields(estimate)}
    fields |= {
        "ess": np.min([estimate.ess, *(found.ess for found in of_all)]),
        "max_weight_share": np.max([estimate.max_weight_share, *(found.max_weight_share for found in of_all)]),
        "pareto_k": np.fmax.reduce([estimate.pareto_k, *(found.pareto_k for found in of_all)]),
        "bias_seen": np.float64(bias),
        "status_codes": np.int32(max(codes, default=Status.OK)),
    }
    return PolicyValue(**fields)
