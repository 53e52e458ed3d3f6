"""Forms: where a weight enters an objective. Each gives the terms whose masked mean is maximised.

log w, T(log w): the log-weights of the level, before and after the transform; A: advantages, which never carry a
gradient; log pi: log-probabilities of what was done under the policy that learns. Weights, advantages and terms have
one entry a step or one a sequence, [..., T] or [..., 1].
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.objectives.bounds import finite_log

Weights = Float[Array, "*batch W"]
Advantages = Float[Array, "*batch V"]
Steps = Float[Array, "*batch T"]


def pessimistic(log_w: Weights, transformed: Weights, advantages: Advantages, log_pi: Steps) -> Array:
    """min(w A, T(w) A).

    For A >= 0 that is min(w, T(w)) A and for A < 0 max(w, T(w)) A, so that one exponential of the chosen log-weight
    does. Where the transform's side is chosen and clipped there is no gradient: for A > 0 above the upper bound, for
    A < 0 below the lower one.
    """
    del log_pi
    chosen = jnp.where(advantages >= 0, jnp.minimum(log_w, transformed), jnp.maximum(log_w, transformed))
    return weights.from_log(chosen) * advantages


def weight(log_w: Weights, transformed: Weights, advantages: Advantages, log_pi: Steps) -> Array:
    """T(w) A, whose gradient runs through the weight: none where the transform is flat."""
    del log_w, log_pi
    return weights.from_log(transformed) * advantages


def score(log_w: Weights, transformed: Weights, advantages: Advantages, log_pi: Steps) -> Array:
    """T(w) A log pi with T(w) held fixed, so that no sample is without gradient. Its value means nothing.

    A weight of 0 counts for nothing, log pi = -inf included.
    """
    del log_w
    return lax.stop_gradient(weights.from_log(transformed)) * advantages * finite_log(log_pi)
