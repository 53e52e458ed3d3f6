"""Weights of samples by their advantages: regression to a better policy (REPS, AWR, MPO), and prioritised replay.

The better policy is q(a) ~ pi(a) exp(A / temperature): self-normalised importance weights with log w = A / temperature.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.inputs import as_mask, require_finite, require_probabilities

Samples = Float[Array, "*batch n"]
# Halvings of an interval of log temperature: to float32's last digit.
BISECTIONS = 60


def advantage_weights(advantages: ArrayLike, temperature: ArrayLike, *, mask: Any = None) -> Samples:
    """exp(A / temperature) over its sum along the last axis (REPS, MPO's E step over actions).

    Held fixed: the loss is -sum weight log pi. Source: Peters et al. (2010); Abdolmaleki et al. (2018), equation 7.
    """
    return lax.stop_gradient(weights.from_log(weights.normalised(_scaled(advantages, temperature, mask))))


def exponentiated_advantages(
    advantages: ArrayLike, temperature: ArrayLike, *, limit: float = 20.0, mask: Any = None
) -> Samples:
    """min(exp(A / temperature), limit), not normalised (AWR). Source: Peng et al. (2019), algorithm 1."""
    log_w = weights.truncated(_scaled(advantages, temperature, mask), jnp.log(jnp.asarray(limit, float)))
    return lax.stop_gradient(weights.from_log(log_w))


def temperature_dual(temperature: ArrayLike, advantages: ArrayLike, epsilon: ArrayLike) -> Array:
    """eta epsilon + eta log mean exp(A / eta), whose least value over eta > 0 bounds the new policy's divergence.

    The mean is over the last axis, and over all leading axes of the logarithms: states, whose actions are averaged
    (MPO), or one axis of samples (REPS). Differentiable in the temperature.
    """
    temperature = jnp.asarray(temperature, float)
    log_means = weights.log_mean(_scaled(advantages, temperature, None))
    return temperature * (jnp.asarray(epsilon, float) + jnp.mean(log_means))


def solve_temperature(advantages: ArrayLike, epsilon: ArrayLike, *, mask: Any = None) -> Array:
    """The temperature at which the weights' divergence from equal ones is epsilon: the minimum of the dual.

    KL(weights || equal) falls as the temperature rises; found by bisection between 1e-4 and 1e4 times the advantages'
    spread. Where no temperature is that low (epsilon above log n), the lowest.
    """
    log_n = jnp.log(jnp.sum(as_mask("solve_temperature", mask, jnp.shape(advantages))).astype(float))
    spread = jnp.maximum(jnp.max(jnp.abs(_scaled(advantages, 1.0, None))), jnp.finfo(float).tiny)

    def divergence(log_temperature: Array) -> Array:
        log_w = weights.normalised(_scaled(advantages, spread * jnp.exp(log_temperature), mask))
        return jnp.sum(jnp.where(log_w > -jnp.inf, weights.from_log(log_w) * log_w, 0.0)) + log_n

    def halve(_: Any, ends: tuple) -> tuple:
        low, high = ends
        middle = 0.5 * (low + high)
        too_cold = divergence(middle) > epsilon
        return jnp.where(too_cold, middle, low), jnp.where(too_cold, high, middle)

    ends = (jnp.log(jnp.asarray(1e-4, float)), jnp.log(jnp.asarray(1e4, float)))
    low, high = lax.fori_loop(0, BISECTIONS, halve, ends)
    return spread * jnp.exp(0.5 * (low + high))


def replay_weights(probabilities: ArrayLike, beta: ArrayLike, *, size: ArrayLike) -> Float[Array, " n"]:
    """(size P_i)^-beta over the largest of them: the importance weights of prioritised replay.

    **Arguments:** `probabilities` P_i with which the sampled entries were drawn from `size` in the buffer; `beta`, 1
    for full correction. Source: Schaul et al. (2016), section 3.4.
    """
    probabilities = jnp.asarray(probabilities)
    require_probabilities("replay_weights", probabilities=probabilities)
    log_w = -beta * (jnp.log(jnp.asarray(size, float)) + jnp.log(probabilities))
    return lax.stop_gradient(weights.from_log(log_w - jnp.max(log_w)))


def _scaled(advantages: Any, temperature: Any, mask: Any) -> Array:
    advantages = jnp.asarray(advantages, float)
    mask = as_mask("advantages", mask, advantages.shape)
    require_finite("advantages", advantages=jnp.where(mask, advantages, 0.0))
    return jnp.where(mask, jnp.where(mask, advantages, 0.0) / temperature, -jnp.inf)
