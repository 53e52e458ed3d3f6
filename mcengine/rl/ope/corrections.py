"""A model's value corrected by weighted residuals (DR, WDR), and the model's value alone (DM)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mcengine import weights
from mcengine.rl.ope.logs import Log, TrajectoryLog, as_trajectories
from mcengine.rl.ope.models import ActionValues, checked_values
from mcengine.rl.ope.policy_value import PolicyValue, from_units, met_with_a_status
from mcengine.rl.ope.returns import doubly_robust_return, self_normalised_terms, step_weights, temporal_differences

# Standard errors of the weighted residuals' mean beyond which a model is seen to be wrong: by chance in 1 of 100 logs.
SEEN_WRONG = 2.6


@met_with_a_status
def doubly_robust(log: Log, model: Any = None) -> PolicyValue:
    """DR: mean(V_0 + sum_t discount^t w_{0:t} delta_t), delta_t = reward_t + discount V_{t+1} - Q_t. Unbiased.

    As good as the model where that is good, and right where it is not, as long as behaviour probabilities are.

    **Arguments:** `model`, the values of logged states and actions (`ActionValues`), by default `fitted_q(log)`.

    **Raises:** `ValueError` for a model of another shape; without a model, as `fitted_q`.

    Source: M. Dudik, J. Langford, L. Li (2011), Doubly robust policy evaluation and learning, equation (1);
    N. Jiang and L. Li (2016), equation (10), whose recursion it computes.
    """
    log = as_trajectories(log)
    return doubly_robust_value(log, checked_values(log, model))


@met_with_a_status
def weighted_doubly_robust(log: Log, model: Any = None) -> PolicyValue:
    """WDR: mean(V_0) + sum_t discount^t mean(w_{0:t} delta_t) / mean(w_{0:t}), delta as in `doubly_robust`.

    Biased by O(1/n). Error bar by the delta method, as in `weighted_per_decision`; arguments and errors as in
    `doubly_robust`.

    Source: P. Thomas and E. Brunskill (2016), equation (7).
    """
    log = as_trajectories(log)
    return weighted_doubly_robust_value(log, checked_values(log, model))


@met_with_a_status
def direct_method(log: Log, model: Any = None) -> PolicyValue:
    """DM: mean(V_0), what the model says, with the error bar of DR.

    The spread of V_0 from start to start says nothing of how wrong the model is, nor of the data it was fitted to. So
    the error bar is that of the doubly robust estimate with the same model (to which a fit that is rich enough comes
    ever closer) and the distance from it, `bias_seen`, in quadrature; the status is BIASED where that distance is more
    than chance. Arguments and errors as in `doubly_robust`.

    **When it lies:** where weights are so uneven that residuals show nothing; then it has their status.
    """
    log = as_trajectories(log)
    model = checked_values(log, model)
    return judged_by(model.v[:, 0], doubly_robust_units(log, model), log, model)


def judged_by(
    units: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"], log: TrajectoryLog, model: ActionValues
) -> PolicyValue:
    """mean(units) of a method that trusts a model, judged by a `reference` that does not.

    std_error^2 = reference's std_error^2 + bias^2, bias the difference of the means: whatever the model's bias B is in
    reference's standard errors, an interval at 95 % covers at least .95, since B and a chance that hides it must meet
    (.956 at B = 2.4, the worst). BIASED where bias is above `SEEN_WRONG` of its own standard errors.
    """
    difference = units - reference
    bias = float(difference.mean())
    spread, own = (_standard_error(array) for array in (reference, difference))
    # The same units by another order of operations differ by rounding, and then by little more than its spread.
    rounding = 1e-12 * (np.abs(units).mean() + np.abs(reference).mean())
    wider = np.hypot(1.0, bias / spread) if spread > rounding else 1.0
    moved = units.mean() + wider * (reference - reference.mean())
    biased = bool(abs(bias) > SEEN_WRONG * own + rounding)
    return from_units(log, moved, step_mean_weights(log), residuals_of(log, model), bias=bias, biased=biased)


def _standard_error(units: Float[np.ndarray, " n"]) -> float:
    return float(units.std(ddof=1) / np.sqrt(len(units))) if len(units) > 1 else np.inf


def step_mean_weights(log: TrajectoryLog) -> Float[np.ndarray, " n"]:
    """sum_t discount^t w_{0:t} / sum_t discount^t: what a trajectory's weights carry, of expectation 1.

    Not the weight of the whole trajectory: the last steps are but a part, and it would flag logs on which intervals
    cover.
    """
    with jax.enable_x64(True):
        w = np.asarray(weights.from_log(jnp.asarray(log.log_weights)))
    return w @ log.discounts / log.discounts.sum()


def residuals_of(log: TrajectoryLog, model: ActionValues) -> Float[np.ndarray, " n"]:
    """sum_t discount^t w_{0:t} delta_t: what the weights add to the model."""
    return doubly_robust_units(log, model) - model.v[:, 0]


def doubly_robust_units(log: TrajectoryLog, model: ActionValues) -> Float[np.ndarray, " n"]:
    """The doubly robust return of every trajectory."""
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, (log.rewards, log.log_ratios, *model))
        return np.asarray(doubly_robust_return(*arrays, log.discount))


class Corrections(NamedTuple):
    """Weights of mean 1 at every step and temporal differences, [n, T] each: what WDR's corrections are made of."""

    weights: Float[np.ndarray, "n steps"]
    deltas: Float[np.ndarray, "n steps"]

    @classmethod
    def of(cls, log: TrajectoryLog, model: ActionValues) -> "Corrections":
        """Those of a log and a model."""
        with jax.enable_x64(True):
            deltas = temporal_differences(*map(jnp.asarray, (log.rewards, *model)), log.discount)
            return cls(np.asarray(step_weights(jnp.asarray(log.log_weights))), np.asarray(deltas))

    def terms(self) -> Float[np.ndarray, "n steps"]:
        """What every trajectory contributes to D_t = mean(w_t delta_t), by the delta method."""
        return self_normalised_terms(self.weights, self.deltas)


def doubly_robust_value(log: TrajectoryLog, model: ActionValues) -> PolicyValue:
    """`doubly_robust` of checked arguments."""
    return from_units(log, doubly_robust_units(log, model), step_mean_weights(log), residuals_of(log, model))


def weighted_doubly_robust_value(log: TrajectoryLog, model: ActionValues) -> PolicyValue:
    """`weighted_doubly_robust` of checked arguments."""
    units = model.v[:, 0] + Corrections.of(log, model).terms() @ log.discounts
    return from_units(log, units, step_mean_weights(log), residuals_of(log, model))


def no_model(log: TrajectoryLog) -> ActionValues:
    """0 everywhere: DR is then PDIS, and WDR is WPDIS."""
    zeros = np.zeros(log.rewards.shape)
    return ActionValues(zeros, zeros)
