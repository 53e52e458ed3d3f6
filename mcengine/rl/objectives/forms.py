"""Forms: where the weight enters an objective. A form returns the terms whose masked mean is maximised.

A form takes

- `log_w`, `transformed`: the level's log-weights before and after the transform, [..., T] or [..., 1];
- `advantages`, of the same shape or broadcast against it, without a gradient;
- `log_pi`, [..., T]: log-probabilities of the actions taken under the policy that learns.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.objectives.bounds import finite_log

Weights = Float[Array, "*batch W"]
Advantages = Float[Array, "*batch V"]
Steps = Float[Array, "*batch T"]
Form = Callable[[Array, Array, Array, Array], Array]


def pessimistic(log_w: Weights, transformed: Weights, advantages: Advantages, log_pi: Steps) -> Array:
    """min(w A, T(w) A).

    This is min(w, T(w)) A for A >= 0 and max(w, T(w)) A for A < 0, so only the chosen log-weight is exponentiated.
    There is no gradient where the clipped side is chosen: for A > 0 above the upper bound, for A < 0 below the lower.
    """
    del log_pi
    chosen = jnp.where(advantages >= 0, jnp.minimum(log_w, transformed), jnp.maximum(log_w, transformed))
    return weights.from_log(chosen) * advantages


def weight(log_w: Weights, transformed: Weights, advantages: Advantages, log_pi: Steps) -> Array:
    """T(w) A, with the gradient of the weight: 0 where the transform is constant."""
    del log_w, log_pi
    return weights.from_log(transformed) * advantages


def score(log_w: Weights, transformed: Weights, advantages: Advantages, log_pi: Steps) -> Array:
    """T(w) A log pi with T(w) held fixed, so every sample of positive weight has a gradient. Only the gradient matters.

    A weight of 0 gives the term 0, also where log pi = -inf.
    """
    del log_w
    return lax.stop_gradient(weights.from_log(transformed)) * advantages * finite_log(log_pi)
