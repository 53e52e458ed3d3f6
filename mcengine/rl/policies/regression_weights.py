"""Weights of samples by their advantages: regression to a better policy (REPS, AWR, MPO), and prioritised replay.

The better policy is q(a) ~ pi(a) exp(A / temperature): self-normalised importance weights with log w = A / temperature.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax, nn
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.inputs import as_mask, require_finite, require_positive, require_probabilities, require_shapes

Samples = Float[Array, "*batch n"]
# Halvings of an interval of log temperature: to float32's last digit.
BISECTIONS = 60
# Advantages that differ by less are equal: their least temperature would be no float32.
LEAST_SPREAD = 1e-30


def advantage_weights(advantages: ArrayLike, temperature: ArrayLike, *, mask: Any = None) -> Samples:
    """exp(A / temperature) over its sum along the last axis (REPS, MPO's E step over actions).

    Held fixed: the loss is -sum weight log pi. Rows that are masked throughout have weights 0.

    **Arguments:** `advantages`, [..., n]; `temperature`, one number, or [..., 1].

    **Raises:** `ValueError` for a temperature that is not positive, advantages that are not finite, shapes that differ,
    and a mask that leaves nothing.

    Source: Peters et al. (2010); Abdolmaleki et al. (2018), equation 7.
    """
    advantages, mask = _checked("advantage_weights", advantages, mask, temperature)
    centred, _ = _below_largest(advantages, mask)
    return lax.stop_gradient(weights.from_log(weights.normalised(_over(centred, temperature, mask))))


def exponentiated_advantages(
    advantages: ArrayLike, temperature: ArrayLike, *, limit: float = 20.0, mask: Any = None
) -> Samples:
    """min(exp(A / temperature), limit), not normalised (AWR); arguments and errors as in `advantage_weights`.

    Source: Peng et al. (2019), algorithm 1.
    """
    advantages, mask = _checked("exponentiated_advantages", advantages, mask, temperature)
    require_positive("exponentiated_advantages", limit=jnp.asarray(limit))
    log_w = weights.truncated(_over(advantages, temperature, mask), jnp.log(jnp.asarray(limit, float)))
    return lax.stop_gradient(weights.from_log(log_w))


def temperature_dual(
    temperature: ArrayLike, advantages: ArrayLike, epsilon: ArrayLike, *, mask: Any = None
) -> Float[Array, ""]:
    """eta epsilon + mean_s eta log mean_a exp(A_sa / eta), whose least value over eta > 0 bounds the new policy's
    divergence.

    The inner mean is over the last axis, the outer over all leading ones: states, whose actions are averaged (MPO), or
    one axis of samples (REPS). States that are masked throughout have no say. Differentiable in the temperature.

    **Raises:** `ValueError` as `advantage_weights`; the temperature is one number.
    """
    advantages, mask = _checked("temperature_dual", advantages, mask, temperature)
    require_shapes("temperature_dual", (), temperature=temperature)
    temperature = jnp.asarray(temperature, float)
    centred, largest = _below_largest(advantages, mask)
    count = jnp.maximum(jnp.sum(mask, axis=-1), 1).astype(float)
    # The logarithm of an empty sum has a gradient of NaN.
    log_w = jnp.where(jnp.any(mask, axis=-1, keepdims=True), _over(centred, temperature, mask), 0.0)
    log_means = nn.logsumexp(log_w, axis=-1) - jnp.log(count)
    return temperature * jnp.asarray(epsilon, float) + _mean_of_states(temperature * log_means + largest, mask)


def solve_temperature(advantages: ArrayLike, epsilon: ArrayLike, *, mask: Any = None) -> Float[Array, ""]:
    """The temperature at which the weights' divergence from equal ones is epsilon: the minimum of `temperature_dual`.

    The divergence of a state is KL(weights || equal) along the last axis, in nats; that of [states, actions] is the
    mean over states. It falls as the temperature rises; found by bisection between 1e-4 and 1e4 times the advantages'
    spread, the largest max - min of a state. Where no temperature is that low (epsilon above log n), the lowest; so
    too where all advantages are equal, whose spread counts as 1.

    **Raises:** `ValueError` for an epsilon that is not positive, advantages that are not finite, shapes that differ,
    and a mask that leaves nothing.
    """
    advantages, mask = _checked("solve_temperature", advantages, mask, 1.0)
    require_shapes("solve_temperature", (), epsilon=epsilon)
    require_positive("solve_temperature", epsilon=jnp.asarray(epsilon))
    # The weights know no offset, and rounding should not either.
    centred, _ = _below_largest(advantages, mask)
    widest = -jnp.min(centred)
    spread = jnp.where(widest > LEAST_SPREAD, widest, 1.0)
    log_n = jnp.log(jnp.maximum(jnp.sum(mask, axis=-1), 1).astype(float))

    def divergence(log_temperature: Array) -> Array:
        log_w = weights.normalised(_over(centred, spread * jnp.exp(log_temperature), mask))
        terms = jnp.where(log_w > -jnp.inf, weights.from_log(log_w) * jnp.where(log_w > -jnp.inf, log_w, 0.0), 0.0)
        return _mean_of_states(jnp.sum(terms, axis=-1) + log_n, mask)

    def halve(_: Any, ends: tuple) -> tuple:
        low, high = ends
        middle = 0.5 * (low + high)
        too_cold = divergence(middle) > jnp.asarray(epsilon, float)
        return jnp.where(too_cold, middle, low), jnp.where(too_cold, high, middle)

    ends = (jnp.log(jnp.asarray(1e-4, float)), jnp.log(jnp.asarray(1e4, float)))
    low, high = lax.fori_loop(0, BISECTIONS, halve, ends)
    return spread * jnp.exp(0.5 * (low + high))


def replay_weights(probabilities: ArrayLike, beta: ArrayLike, *, size: ArrayLike | None = None) -> Float[Array, " n"]:
    """(size P_i)^-beta, the importance weights of prioritised replay; without `size`, over the largest of them.

    **Arguments:** `probabilities` P_i with which the sampled entries were drawn; `beta`, 1 for full correction; `size`,
    of the buffer they were drawn from: with beta = 1 the weights are then 1 in expectation. Without it the largest
    weight of the batch is 1, as published, which shortens steps and never lengthens them; the size cancels.

    **Raises:** `ValueError` for no entries, probabilities outside (0, 1], a beta that is not finite, and a size that is
    not positive.

    Source: Schaul et al. (2016), section 3.4.
    """
    probabilities = jnp.asarray(probabilities, float)
    if not probabilities.size:
        raise ValueError(f"replay_weights: there are no entries in probabilities of shape {probabilities.shape}.")
    require_probabilities("replay_weights", probabilities=probabilities)
    require_finite("replay_weights", beta=jnp.asarray(beta))
    beta, log_p = jnp.asarray(beta, float), jnp.log(probabilities)
    if size is None:
        return lax.stop_gradient(weights.from_log(beta * (jnp.min(log_p) - log_p)))
    require_positive("replay_weights", size=jnp.asarray(size))
    return lax.stop_gradient(weights.from_log(-beta * (jnp.log(jnp.asarray(size, float)) + log_p)))


def _checked(owner: str, advantages: Any, mask: Any, temperature: Any) -> tuple[Samples, Array]:
    """The advantages, 0 where masked, and the mask."""
    advantages = jnp.asarray(advantages, float)
    if advantages.ndim == 0:
        raise ValueError(f"{owner}: advantages must have an axis of samples, got one number.")
    mask = as_mask(owner, mask, advantages.shape)
    advantages = jnp.where(mask, advantages, 0.0)
    require_finite(owner, advantages=advantages)
    if jnp.ndim(temperature):
        require_shapes(owner, (*advantages.shape[:-1], 1), temperature=temperature)
    require_positive(owner, temperature=jnp.asarray(temperature))
    return advantages, mask


def _below_largest(advantages: Samples, mask: Array) -> tuple[Samples, Float[Array, "*batch"]]:
    """A - max A of its row, 0 where masked, and max A."""
    largest = jnp.max(jnp.where(mask, advantages, -jnp.inf), axis=-1, keepdims=True)
    largest = lax.stop_gradient(jnp.where(largest > -jnp.inf, largest, 0.0))
    return jnp.where(mask, advantages - largest, 0.0), largest[..., 0]


def _over(advantages: Samples, temperature: Any, mask: Array) -> Samples:
    """log w = A / temperature, -inf where masked."""
    return jnp.where(mask, advantages / jnp.asarray(temperature, float), -jnp.inf)


def _mean_of_states(values: Float[Array, "*batch"], mask: Array) -> Float[Array, ""]:
    there = jnp.any(mask, axis=-1)
    return jnp.sum(jnp.where(there, values, 0.0)) / jnp.sum(there).astype(values.dtype)
