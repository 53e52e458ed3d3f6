"""From what every trajectory contributes to an `Estimate`: the engine's error bar, and a status that knows weights."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mcengine import weights
from mcengine.inference.diagnostics import MIN_CROWD
from mcengine.inference.estimate import Estimate
from mcengine.inference.from_arrays import estimate_of_arrays
from mcengine.inference.status import MAX_BIAS, MIN_UNITS, Status, status_codes
from mcengine.rl.ope.logs import TrajectoryLog
from mcengine.summaries.summary import MAX_TAIL
from mcengine.weights import pareto_tail

P = ParamSpec("P")

# What weights say about an estimate that is not their own mean, and what is taken from the engine's own estimate.
OF_WEIGHTS = (Status.HEAVY_TAIL, Status.DOMINATED, Status.UNRELIABLE, Status.NO_HITS, Status.NON_FINITE)
OF_TAILS = (Status.HEAVY_TAIL, Status.UNRELIABLE)
OF_ESTIMATE = (Status.ROUNDING, Status.WEAK_DENOMINATOR, Status.NO_HITS, Status.NON_FINITE)
# Fewer units than this behind a variance do not tell it: intervals from 10 rare events cover .93.
MIN_CARRIERS = 10.0
# Standard errors of the mean weight from 1 beyond which large weights that were due have not come (or probabilities are
# wrong), and how much of 1 may be missing by rounding.
MISSING_WEIGHT, ROUNDING = 2.5, 1e-3
# The same for squared ratios, which are at least what is due: no log with equal policies is near it.
MISSING_SQUARES, PROBABILITY_ROUNDING = 2.0, 1e-6


class PolicyValue(Estimate):
    """The estimated value of a policy: an `Estimate` whose units are trajectories (rounds, of a bandit).

    `ess`, `pareto_k` and `max_weight_share` are the worst of those of what the units contribute and of the weights and
    weighted residuals behind them, which a sum of a model's values and residuals would hide. The status is the gravest
    of the weights' own, of the tails of contributions and residuals (unless `crowded`), and DOMINATED where fewer than
    ten units carry a variance (`carriers`), where the weights' mean is not 1 (`lacks_weight`) or ratios are smaller
    than they have to be (`lacks_large_ratios`): weights that take few values have no tail for k-hat to see, and large
    ones that did not come no ESS. A rare reward is no weight: one click in a hundred is fine if there are ten.
    """

    def merge(self, other: Estimate) -> Estimate:
        """Refused: models and normalisations belong to one log.

        **Raises:** `TypeError`.
        """
        raise TypeError("merge: estimate from both logs as one (with logger= where the behaviour policies differ).")


def met_with_a_status(estimator: Callable[P, PolicyValue]) -> Callable[P, PolicyValue]:
    """The estimator without NumPy's warnings: weights beyond the largest float are met with NON_FINITE."""

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
    """mean(units), with the error bar of independent units and the worst diagnostics of all three.

    **Arguments:** the `log` that they are of; `weights` behind the units; `residuals`, weighted, of a model; `balance`,
    what has expectation 1 where behaviour probabilities are right, by default the weights; `estimate`, the engine's own
    where it has one with these units; `bias`, what the method took away from (or added to) an unbiased estimate, and
    `biased`, whether that is too much: by default above `MAX_BIAS` standard errors.
    """
    # Residuals that are all 0 are those of an exact model.
    contributions = [units] if residuals is None or not np.any(residuals) else [units, residuals]
    overflown = not all(np.all(np.isfinite(array)) for array in (*contributions, weights))
    *contributions, weights = (np.where(np.isfinite(array), array, 0.0) for array in (*contributions, weights))
    of_contributions = [view_of(array) for array in contributions]
    # A mean of w G, not divided by anything, has no more of the weights than w G.
    whole = estimate is not None and not estimate.spec.self_normalised
    of_weights = [] if whole else [view_of(weights)]
    if estimate is None:
        estimate = estimate_of_arrays(None, units)
    else:
        bias = float(estimate.bias_seen)
    codes = [Status.NON_FINITE] if overflown else []
    codes += [view.status for view in of_weights if view.status in OF_WEIGHTS]
    codes += [estimate.status] if estimate.status in OF_ESTIMATE else []
    for array, view in zip(contributions, of_contributions, strict=True):
        codes += [view.status] if view.status in OF_TAILS and not crowded(array) else []
    if len(units) < MIN_UNITS:
        codes.append(Status.FEW_UNITS)
    if abs(bias) > MAX_BIAS * estimate.std_error if biased is None else biased:
        codes.append(Status.BIASED)
    lacks = lacks_weight(weights if balance is None else balance) or lacks_large_ratios(log)
    if lacks or min(map(carriers, (*contributions, weights))) < MIN_CARRIERS:
        codes.append(Status.DOMINATED)
    views = of_contributions + of_weights
    fields: dict[str, Any] = {field.name: getattr(estimate, field.name) for field in dataclasses.fields(estimate)}
    fields |= {
        "ess": np.min([estimate.ess, *(view.ess for view in views)]),
        "max_weight_share": np.max([estimate.max_weight_share, *(view.max_weight_share for view in views)]),
        "pareto_k": np.fmax.reduce([estimate.pareto_k, *(view.pareto_k for view in views)]),
        "bias_seen": np.float64(bias),
        "status_codes": np.int32(max(codes, default=Status.OK)),
    }
    return PolicyValue(**fields)


class View(NamedTuple):
    """What the engine would say of numbers if they were what is averaged."""

    ess: Any
    max_weight_share: Any
    pareto_k: Any
    status: Status


def view_of(weights: Float[np.ndarray, " n"]) -> View:
    """By the engine's own rules, without the sums of an estimate: a log's weights are looked at by every estimator."""
    size = np.abs(weights)
    largest, hits = np.max(size), np.sum(size > 0)
    relative = size / largest if largest > 0 else size
    top = -np.sort(-relative)[: min(MAX_TAIL, int(pareto_tail.tail_size(len(size)))) + 1]
    with np.errstate(all="ignore"):
        # As in the engine: no tail is a NaN, by way of a division by zero.
        k = pareto_tail.k_hat(np.log(top), np.float64(hits), np)
    total = np.sum(relative)
    # All 0 where there is no weight at all.
    ess, share = (total**2 / np.sum(relative**2), 1.0 / total) if total > 0 else (0.0, 0.0)
    code = status_codes(
        hits=hits, num_samples=np.float64(len(size)), num_units=np.float64(len(size)), value=np.float64(0.0),
        std_error=np.float64(1.0), k=k, ess=ess, share=share, bias=0.0, nonfinite=~np.isfinite(largest), missed=False,
        exact_interval=False, epsilon=0.0,
    )  # fmt: skip
    return View(ess, share, k, Status(int(code)))


def crowded(values: Float[np.ndarray, " n"]) -> bool:
    """Whether many values are about as far from the mean as the furthest: then there is no tail beyond them.

    k-hat fits a Pareto law to whatever it is given: to a few residuals near 1 above many near 0, with k near 2.
    """
    away = np.abs(values - values.mean())
    return bool(np.sum(away >= 0.5 * np.max(away)) >= MIN_CROWD)


def carriers(units: Float[np.ndarray, " n"]) -> float:
    """(sum d^2)^2 / sum d^4, d = units - mean: how many units carry their variance; n where they do not vary.

    n over the kurtosis: a third of n for a normal law, h for h rare events. The variance's own relative error is
    about 1 / sqrt(carriers).
    """
    away = units - units.mean()
    largest = np.max(np.abs(away))
    if largest <= 1e-12 * np.max(np.abs(units)):
        return float(len(units))
    squares = (away / largest) ** 2
    return float(squares.sum() ** 2 / np.sum(squares**2))


def lacks_weight(weights: Float[np.ndarray, " n"]) -> bool:
    """Whether the mean of weights is further from its expectation 1 than chance and rounding explain."""
    largest = np.max(weights)
    if len(weights) < 2 or not np.isfinite(largest):
        return True
    # In units of the largest: squares of weights may be beyond the largest float.
    unit = max(largest, 1.0)
    relative = weights / unit
    error = relative.std(ddof=1) / np.sqrt(len(weights))
    return bool(abs(relative.mean() - 1.0 / unit) > MISSING_WEIGHT * error + ROUNDING / unit)


def lacks_large_ratios(log: TrajectoryLog) -> bool:
    """Whether squared ratios r = pi(a | s) / mu(a | s) are smaller than the log's own probabilities say they must be.

    What was done has probabilities pi and mu, everything else together 1 - pi and 1 - mu; so by Cauchy and Schwarz
    E_mu[r^2 | s] >= pi^2 / mu + (1 - pi)^2 / (1 - mu), with equality where there are two actions. Where the behaviour
    policy mostly does what the target policy hardly ever does, this knows of the large ratios that are due before any
    has come. False for densities, which have no rest.
    """
    if log.continuous:
        return False
    with jax.enable_x64(True):
        ratios = np.asarray(weights.from_log(jnp.asarray(log.log_ratios)))
    rest, rest_behaviour = 1.0 - np.exp(log.log_target), 1.0 - np.exp(log.log_behaviour)
    # A rest of rounding errors is none.
    there = log.mask & (rest > PROBABILITY_ROUNDING)
    due = np.where(there, rest**2 / np.maximum(rest_behaviour, PROBABILITY_ROUNDING), 0.0) + ratios * (1.0 - rest)
    missing = np.where(log.mask, due - ratios**2, 0.0).mean(axis=-1)
    error = missing.std(ddof=1) / np.sqrt(len(missing)) if len(missing) > 1 else np.inf
    return bool(missing.mean() > MISSING_SQUARES * error + ROUNDING)
