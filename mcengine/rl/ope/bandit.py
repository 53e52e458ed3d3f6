"""Doubly robust estimates of bandits with tamed weights: SWITCH and DRos."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcengine import weights
from mcengine.rl.ope.logs import Log, TrajectoryLog, as_trajectories
from mcengine.rl.ope.models import checked_values
from mcengine.rl.ope.policy_value import PolicyValue, from_units, met_with_a_status


@met_with_a_status
def switch(log: Log, model: Any = None, *, threshold: float | None = None) -> PolicyValue:
    """SWITCH: mean(V + w 1[w <= threshold] (reward - Q)): DR where weights are small, the model where they are not.

    `bias_seen` is what that took away of DR, -mean(w 1[w > threshold] (reward - Q)), and the status is BIASED where it
    is not small against the error bar.

    **Arguments:** `threshold` > 0, by default sqrt(n), which takes nothing away in the limit; `model` as in
    `doubly_robust`.

    **Raises:** `ValueError` for a log of more than one step, a threshold that is not positive, and as `doubly_robust`.

    Source: Y.-X. Wang, A. Agarwal, M. Dudik (2017), Optimal and adaptive off-policy evaluation in contextual bandits,
    equation (6), with DR as the unbiased part.
    """
    log = _rounds("switch", log)
    threshold = _positive("switch: threshold", threshold, float(np.sqrt(log.num_units)))
    return _tamed(log, model, lambda w: np.where(w <= threshold, w, 0.0))


@met_with_a_status
def shrunk_doubly_robust(log: Log, model: Any = None, *, strength: float | None = None) -> PolicyValue:
    """DRos: mean(V + w' (reward - Q)), w' = w strength / (w^2 + strength) the optimistically shrunk weight.

    w' is at most sqrt(strength) / 2; strength 0 is the direct method and infinity is DR. `bias_seen` and the status
    BIASED as in `switch`.

    **Arguments:** `strength` > 0 (lambda in the paper), by default n, which takes nothing away in the limit; `model`
    as in `doubly_robust`.

    **Raises:** as `switch`.

    Source: Y. Su, M. Dimakopoulou, A. Krishnamurthy, M. Dudik (2020), Doubly robust off-policy evaluation with
    shrinkage, section 3.1.
    """
    log = _rounds("shrunk_doubly_robust", log)
    strength = _positive("shrunk_doubly_robust: strength", strength, float(log.num_units))
    return _tamed(log, model, lambda w: w / (1.0 + w * (w / strength)))


def _tamed(log: TrajectoryLog, model: Any, tame: Any) -> PolicyValue:
    model = checked_values(log, model)
    with jax.enable_x64(True):
        w = np.asarray(weights.from_log(jnp.asarray(log.log_ratios)))[:, 0]
    residual = (log.rewards - model.q)[:, 0]
    tamed = tame(w)
    bias = float(np.mean((tamed - w) * residual))
    return from_units(log, model.v[:, 0] + tamed * residual, w, w * residual, bias=bias)


def _rounds(who: str, log: Log) -> TrajectoryLog:
    log = as_trajectories(log)
    if log.horizon != 1:
        raise ValueError(f"{who}: it is for logs of one step (bandits), and this one has {log.horizon}.")
    return log


def _positive(name: str, given: float | None, otherwise: float) -> float:
    value = float(otherwise if given is None else given)
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {given}.")
    return value
