"""A model's value corrected by weighted residuals (DR, WDR), and the model's value alone (DM)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mcengine import weights
from mcengine.rl.ope.action_values import ActionValues, action_values_of
from mcengine.rl.ope.logs import Log, TrajectoryLog, as_trajectories
from mcengine.rl.ope.policy_value import PolicyValue, from_units, without_numpy_warnings
from mcengine.rl.ope.returns import doubly_robust_return, self_normalised_terms, step_weights, temporal_differences

# A model counts as biased if the mean of its weighted residuals is more than so many standard errors from 0, which
# happens by chance in 1 of 100 logs.
MAX_BIAS_ERRORS = 2.6


@without_numpy_warnings
def doubly_robust(log: Log, model: ActionValues | None = None) -> PolicyValue:
    """DR: mean(V_0 + sum_t discount^t w_{0:t} delta_t), delta_t = reward_t + discount V_{t+1} - Q_t. Unbiased.

    The better the model, the smaller the variance; a wrong model causes no bias if the behaviour probabilities are
    right.

    **Arguments:** `model`, the values of the logged states and actions, by default `fitted_q(log)`.

    **Raises:** `ValueError` for a model of another shape; without a model, as `fitted_q`.

    **Source:** M. Dudik, J. Langford, L. Li (2011), Doubly robust policy evaluation and learning, equation (1);
    N. Jiang and L. Li (2016), equation (10).
    """
    log = as_trajectories(log)
    return doubly_robust_value(log, action_values_of(log, model))


@without_numpy_warnings
def weighted_doubly_robust(log: Log, model: ActionValues | None = None) -> PolicyValue:
    """WDR: mean(V_0) + sum_t discount^t mean(w_{0:t} delta_t) / mean(w_{0:t}), delta as in `doubly_robust`.

    Biased by O(1/n). Error bar by the delta method, as in `weighted_per_decision`; arguments and errors as in
    `doubly_robust`.

    **Source:** P. Thomas and E. Brunskill (2016), equation (7).
    """
    log = as_trajectories(log)
    return weighted_doubly_robust_value(log, action_values_of(log, model))


@without_numpy_warnings
def direct_method(log: Log, model: ActionValues | None = None) -> PolicyValue:
    """DM: mean(V_0), the value of the model, with an error bar from DR.

    The spread of V_0 over the start states shows neither the error of the model nor that of its fit. Therefore the
    error bar combines in quadrature that of the doubly robust estimate with the same model and the distance from it,
    `bias_seen`; the status is BIASED if that distance is larger than chance explains. Arguments and errors as in
    `doubly_robust`.

    **Limits:** if the weights are very uneven, the residuals do not show the bias; the status is then that of the
    weights.
    """
    log = as_trajectories(log)
    model = action_values_of(log, model)
    return value_against_reference(model.v[:, 0], doubly_robust_units(log, model), log, model)


def value_against_reference(
    units: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"], log: TrajectoryLog, model: ActionValues
) -> PolicyValue:
    """mean(units) of a method that relies on a model, with an error bar from a `reference` that does not.

    std_error^2 = (std_error of the reference)^2 + bias^2, where bias is the difference of the means. For any bias B of
    the model, in standard errors of the reference, 95 % intervals cover at least 0.95 (the smallest is 0.956, at
    B = 2.4). BIASED if the bias is above `MAX_BIAS_ERRORS` of its own standard errors.
    """
    difference = units - reference
    bias = float(difference.mean())
    spread, own = (_standard_error(array) for array in (reference, difference))
    # Equal units that were computed in another order differ by rounding.
    rounding = 1e-12 * (np.abs(units).mean() + np.abs(reference).mean())
    wider = np.hypot(1.0, bias / spread) if spread > rounding else 1.0
    moved = units.mean() + wider * (reference - reference.mean())
    biased = bool(abs(bias) > MAX_BIAS_ERRORS * own + rounding)
    return from_units(log, moved, step_mean_weights(log), residuals_of(log, model), bias=bias, biased=biased)


def _standard_error(units: Float[np.ndarray, " n"]) -> float:
    return float(units.std(ddof=1) / np.sqrt(len(units))) if len(units) > 1 else np.inf


def step_mean_weights(log: TrajectoryLog) -> Float[np.ndarray, " n"]:
    """sum_t discount^t w_{0:t} / sum_t discount^t: the mean weight of a trajectory's rewards, with expectation 1.

    The weight of the whole trajectory would flag logs on which intervals do cover, because it is that of the last
    reward only.
    """
    with jax.enable_x64(True):
        w = np.asarray(weights.from_log(jnp.asarray(log.log_weights)))
    return w @ log.discounts / log.discounts.sum()


def residuals_of(log: TrajectoryLog, model: ActionValues) -> Float[np.ndarray, " n"]:
    """sum_t discount^t w_{0:t} delta_t: the correction of the model for every trajectory."""
    return doubly_robust_units(log, model) - model.v[:, 0]


def doubly_robust_units(log: TrajectoryLog, model: ActionValues) -> Float[np.ndarray, " n"]:
    """The doubly robust return of every trajectory."""
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, (log.rewards, log.log_ratios, *model))
        return np.asarray(doubly_robust_return(*arrays, discount=log.discount))


class Corrections(NamedTuple):
    """Weights with mean 1 at every step, and temporal differences, [n, T] each: the factors of WDR's corrections."""

    weights: Float[np.ndarray, "n steps"]
    deltas: Float[np.ndarray, "n steps"]

    @classmethod
    def of(cls, log: TrajectoryLog, model: ActionValues) -> "Corrections":
        """The corrections of a model on a log."""
        with jax.enable_x64(True):
            deltas = temporal_differences(*map(jnp.asarray, (log.rewards, *model)), log.discount)
            return cls(np.asarray(step_weights(jnp.asarray(log.log_weights))), np.asarray(deltas))

    def terms(self) -> Float[np.ndarray, "n steps"]:
        """The contribution of every trajectory to D_t = mean(w_t delta_t), by the delta method."""
        return self_normalised_terms(self.weights, self.deltas)


def doubly_robust_value(log: TrajectoryLog, model: ActionValues) -> PolicyValue:
    """`doubly_robust` for arguments that were checked."""
    return from_units(log, doubly_robust_units(log, model), step_mean_weights(log), residuals_of(log, model))


def weighted_doubly_robust_value(log: TrajectoryLog, model: ActionValues) -> PolicyValue:
    """`weighted_doubly_robust` for arguments that were checked."""
    units = model.v[:, 0] + Corrections.of(log, model).terms() @ log.discounts
    return from_units(log, units, step_mean_weights(log), residuals_of(log, model))


def no_model(log: TrajectoryLog) -> ActionValues:
    """The model that is 0 everywhere: DR is then PDIS, and WDR is WPDIS."""
    zeros = np.zeros(log.rewards.shape)
    return ActionValues(zeros, zeros)
