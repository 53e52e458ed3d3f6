"""Doubly robust estimates for bandits with reduced weights: SWITCH and DRos."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mcengine import weights
from mcengine.rl.ope.action_values import ActionValues, action_values_of
from mcengine.rl.ope.logs import Log, TrajectoryLog, as_trajectories
from mcengine.rl.ope.policy_value import PolicyValue, from_units, without_numpy_warnings


@without_numpy_warnings
def switch(log: Log, model: ActionValues | None = None, *, threshold: float | None = None) -> PolicyValue:
    """SWITCH: mean(V + w 1[w <= threshold] (reward - Q)): DR for small weights, the model for large ones.

    `bias_seen` is the difference from DR, -mean(w 1[w > threshold] (reward - Q)); the status is BIASED if it is not
    small relative to the error bar.

    **Arguments:** `threshold` > 0, by default sqrt(n), for which the bias vanishes as n grows; `model` as in
    `doubly_robust`.

    **Raises:** `ValueError` for a log of more than one step, a threshold that is not positive, and as `doubly_robust`.

    **Source:** Y.-X. Wang, A. Agarwal, M. Dudik (2017), Optimal and adaptive off-policy evaluation in contextual
    bandits, equation (6), with DR as the unbiased estimator.
    """
    log = _one_step("switch", log)
    threshold = _positive_or_default("switch: threshold", threshold, float(np.sqrt(log.num_units)))
    return _with_reduced_weights(log, model, lambda w: np.where(w <= threshold, w, 0.0))


@without_numpy_warnings
def shrunk_doubly_robust(log: Log, model: ActionValues | None = None, *, strength: float | None = None) -> PolicyValue:
    """DRos: mean(V + w' (reward - Q)), w' = w strength / (w^2 + strength) the optimistically shrunk weight.

    w' is at most sqrt(strength) / 2; strength 0 gives the direct method and infinity gives DR. `bias_seen` and the
    status BIASED as in `switch`.

    **Arguments:** `strength` > 0 (lambda in the paper), by default n, for which the bias vanishes as n grows; `model`
    as in `doubly_robust`.

    **Raises:** as `switch`.

    **Source:** Y. Su, M. Dimakopoulou, A. Krishnamurthy, M. Dudik (2020), Doubly robust off-policy evaluation with
    shrinkage, section 3.1.
    """
    log = _one_step("shrunk_doubly_robust", log)
    strength = _positive_or_default("shrunk_doubly_robust: strength", strength, float(log.num_units))
    return _with_reduced_weights(log, model, lambda w: w / (1.0 + w * (w / strength)))


def _with_reduced_weights(
    log: TrajectoryLog,
    model: ActionValues | None,
    reduce: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]],
) -> PolicyValue:
    """The doubly robust estimate with weights reduce(w)."""
    model = action_values_of(log, model)
    with jax.enable_x64(True):
        w = np.asarray(weights.from_log(jnp.asarray(log.log_ratios)))[:, 0]
    residual = (log.rewards - model.q)[:, 0]
    reduced = reduce(w)
    bias = float(np.mean((reduced - w) * residual))
    return from_units(log, model.v[:, 0] + reduced * residual, w, w * residual, bias=bias)


def _one_step(owner: str, log: Log) -> TrajectoryLog:
    log = as_trajectories(log)
    if log.horizon != 1:
        raise ValueError(f"{owner}: needs a log of one step (a bandit log), got {log.horizon} steps.")
    return log


def _positive_or_default(name: str, given: float | None, default: float) -> float:
    value = float(default if given is None else given)
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {given}.")
    return value
