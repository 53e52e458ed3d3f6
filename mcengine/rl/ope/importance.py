"""Importance sampling of whole trajectories (IS, WIS) and of decisions (PDIS, WPDIS)."""

import jax
import jax.numpy as jnp
import numpy as np

from mcengine import weights
from mcengine.engine.from_samples import estimate_from
from mcengine.rl.ope.corrections import doubly_robust_value, no_model, weighted_doubly_robust_value
from mcengine.rl.ope.logs import Log, as_trajectories
from mcengine.rl.ope.policy_value import PolicyValue, from_units, met_with_a_status
from mcengine.weights.weighting import Raw, SelfNormalised, Weighting


@met_with_a_status
def importance_sampling(log: Log, weighting: Weighting = Raw()) -> PolicyValue:
    """IS: mean(w G), G = sum_t discount^t reward_t, w = prod_t pi(a_t | s_t) / mu(a_t | s_t). Unbiased.

    Of a bandit log it is inverse propensity weighting (IPW). `weighting` as in `estimate`, as in Truncated() for
    clipped weights. The variance grows exponentially with the horizon.

    Source: D. Precup, R. S. Sutton, S. Singh (2000), Eligibility traces for off-policy policy evaluation, section 3.
    """
    log = as_trajectories(log)
    log_weights, returns = log.log_weights[:, -1], log.rewards @ log.discounts
    estimate = estimate_from(log_weights, returns, weighting=weighting)
    with jax.enable_x64(True):
        w = np.asarray(weights.from_log(jnp.asarray(log_weights)))
    # What it is linear in, for who carries its variance.
    units = w * (returns - estimate.value) if weighting.self_normalised else w * returns
    return from_units(log, units, w, estimate=estimate)


def weighted_importance_sampling(log: Log) -> PolicyValue:
    """WIS: mean(w G) / mean(w). Biased by O(1/n); between the smallest and largest return seen.

    Of a bandit log it is self-normalised inverse propensity weighting (SNIPW). Source: as `importance_sampling`.
    """
    return importance_sampling(log, SelfNormalised())


@met_with_a_status
def per_decision(log: Log) -> PolicyValue:
    """PDIS: mean(sum_t discount^t w_{0:t} reward_t): a reward is weighted by the decisions before it alone. Unbiased.

    Source: as `importance_sampling`.
    """
    log = as_trajectories(log)
    return doubly_robust_value(log, no_model(log))


@met_with_a_status
def weighted_per_decision(log: Log) -> PolicyValue:
    """WPDIS: sum_t discount^t R_t, R_t = mean(w_{0:t} reward_t) / mean(w_{0:t}): self-normalised at every step.

    Biased by O(1/n). Error bar by the delta method: trajectory i contributes sum_t discount^t (R_t + w_{0:t}
    (reward_t - R_t) / mean(w_{0:t})). Where from some step on all weights are 0, no trajectory shows what the target
    policy does: the value leaves those rewards out, and the status is NO_HITS.

    Source: as `importance_sampling`; P. Thomas and E. Brunskill (2016), Data-efficient off-policy policy evaluation
    for reinforcement learning, section 3.
    """
    log = as_trajectories(log)
    return weighted_doubly_robust_value(log, no_model(log))
