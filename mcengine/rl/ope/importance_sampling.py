"""Importance sampling with weights of whole trajectories (IS, WIS) or of decisions (PDIS, WPDIS)."""

import jax
import jax.numpy as jnp
import numpy as np

from mcengine import weights
from mcengine.engine.from_samples import estimate_from
from mcengine.rl.ope.doubly_robust import doubly_robust_value, no_model, weighted_doubly_robust_value
from mcengine.rl.ope.logs import Log, as_trajectories
from mcengine.rl.ope.policy_value import PolicyValue, from_units, without_numpy_warnings
from mcengine.weights.weighting import Raw, SelfNormalised, Weighting


@without_numpy_warnings
def importance_sampling(log: Log, weighting: Weighting = Raw()) -> PolicyValue:
    """IS: mean(w G), G = sum_t discount^t reward_t, w = prod_t pi(a_t | s_t) / mu(a_t | s_t). Unbiased.

    For a bandit log this is inverse propensity weighting (IPW).

    **Arguments:** `weighting` as in `mc.estimate`, for example `Truncated()` for truncated weights.

    **Limits:** the variance grows exponentially with the horizon.

    **Source:** D. Precup, R. S. Sutton, S. Singh (2000), Eligibility traces for off-policy policy evaluation,
    section 3.
    """
    log = as_trajectories(log)
    log_weights, returns = log.log_weights[:, -1], log.rewards @ log.discounts
    estimate = estimate_from(log_weights, returns, weighting=weighting)
    with jax.enable_x64(True):
        w = np.asarray(weights.from_log(jnp.asarray(log_weights)))
    # The terms of the estimate's linear expansion, whose variance is its own.
    units = w * (returns - estimate.value) if weighting.self_normalised else w * returns
    return from_units(log, units, w, estimate=estimate)


def weighted_importance_sampling(log: Log) -> PolicyValue:
    """WIS: mean(w G) / mean(w). Biased by O(1/n); it lies between the smallest and largest logged return.

    For a bandit log this is self-normalised inverse propensity weighting (SNIPW).

    **Source:** as `importance_sampling`.
    """
    return importance_sampling(log, SelfNormalised())


@without_numpy_warnings
def per_decision(log: Log) -> PolicyValue:
    """PDIS: mean(sum_t discount^t w_{0:t} reward_t): a reward is weighted only by the decisions up to it. Unbiased.

    **Source:** as `importance_sampling`.
    """
    log = as_trajectories(log)
    return doubly_robust_value(log, no_model(log))


@without_numpy_warnings
def weighted_per_decision(log: Log) -> PolicyValue:
    """WPDIS: sum_t discount^t R_t, R_t = mean(w_{0:t} reward_t) / mean(w_{0:t}): self-normalised at every step.

    Biased by O(1/n). Error bar by the delta method: trajectory i contributes sum_t discount^t (R_t + w_{0:t}
    (reward_t - R_t) / mean(w_{0:t})). If all weights are 0 from some step on, the log does not show the later rewards
    of the target policy: they count as 0, and the status is NO_HITS.

    **Source:** as `importance_sampling`; P. Thomas and E. Brunskill (2016), Data-efficient off-policy policy evaluation
    for reinforcement learning, section 3.
    """
    log = as_trajectories(log)
    return weighted_doubly_robust_value(log, no_model(log))
