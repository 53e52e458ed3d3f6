"""Weights of samples: by their advantages (REPS, AWR, MPO), and of prioritised replay.

The improved policy is q(a) ~ pi(a) exp(A / temperature), so log w = A / temperature. The policy is then fitted with the
loss -sum weight log pi; the weights carry no gradient.

All functions raise `ValueError`, naming the argument, for advantages that are not finite, a temperature that is not
positive, shapes that differ, and a mask that is False everywhere; inside `jit` only shapes are checked.
"""

import jax.numpy as jnp
from jax import lax, nn
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.rl.inputs import as_mask, require_finite, require_positive, require_probabilities, require_shapes

Samples = Float[Array, "*batch n"]
# Halvings of an interval of log temperatures; they reach the last digit of float32.
BISECTIONS = 60
# Advantages that differ by less count as equal: their smallest temperature would underflow in float32.
LEAST_SPREAD = 1e-30


def advantage_weights(advantages: ArrayLike, temperature: ArrayLike, *, mask: ArrayLike | None = None) -> Samples:
    """exp(A / temperature) / its sum along the last axis (REPS; MPO's E step over actions).

    **Arguments:**

    - `advantages`, [..., n].
    - `temperature`: one number, or [..., 1].
    - `mask`, [..., n], booleans.

    **Returns:** [..., n]; weights of rows that are masked throughout are 0.

    **Source:** Peters et al. (2010); Abdolmaleki et al. (2018), equation 7.
    """
    advantages, mask = _check_arguments("advantage_weights", advantages, mask, temperature)
    centred, _ = _below_largest(advantages, mask)
    return lax.stop_gradient(weights.from_log(weights.normalised(_over(centred, temperature, mask))))


def exponentiated_advantages(
    advantages: ArrayLike, temperature: ArrayLike, *, limit: float = 20.0, mask: ArrayLike | None = None
) -> Samples:
    """min(exp(A / temperature), limit), not normalised (AWR); other arguments as in `advantage_weights`.

    **Source:** Peng et al. (2019), algorithm 1.
    """
    advantages, mask = _check_arguments("exponentiated_advantages", advantages, mask, temperature)
    require_positive("exponentiated_advantages", limit=jnp.asarray(limit))
    log_w = weights.truncated(_over(advantages, temperature, mask), jnp.log(jnp.asarray(limit, float)))
    return lax.stop_gradient(weights.from_log(log_w))


def temperature_dual(
    temperature: ArrayLike, advantages: ArrayLike, epsilon: ArrayLike, *, mask: ArrayLike | None = None
) -> Float[Array, ""]:
    """eta epsilon + mean_s eta log mean_a exp(A_sa / eta): its minimum over eta bounds the divergence by epsilon.

    Differentiable in the temperature eta.

    **Arguments:**

    - `temperature`: one number, eta.
    - `advantages`, [n] for samples (REPS) or [..., n] for actions at states (MPO). The inner mean is over the last
      axis, the outer one over states that are not masked throughout.
    - `epsilon`: the bound of the mean divergence, in nats.
    - `mask`, of the shape of the advantages, booleans.
    """
    advantages, mask = _check_arguments("temperature_dual", advantages, mask, temperature)
    require_shapes("temperature_dual", (), temperature=temperature)
    temperature = jnp.asarray(temperature, float)
    centred, largest = _below_largest(advantages, mask)
    count = jnp.maximum(jnp.sum(mask, axis=-1), 1).astype(float)
    # The gradient of the logarithm of an empty sum would be NaN.
    log_w = jnp.where(jnp.any(mask, axis=-1, keepdims=True), _over(centred, temperature, mask), 0.0)
    log_means = nn.logsumexp(log_w, axis=-1) - jnp.log(count)
    return temperature * jnp.asarray(epsilon, float) + _mean_of_states(temperature * log_means + largest, mask)


def solve_temperature(advantages: ArrayLike, epsilon: ArrayLike, *, mask: ArrayLike | None = None) -> Float[Array, ""]:
    """The temperature at which the weights diverge from equal ones by epsilon: the minimiser of `temperature_dual`.

    The divergence of a state is KL(weights || equal weights) along the last axis; of several states it is the mean. It
    decreases with the temperature, which is found by bisection between 1e-4 and 1e4 times the spread (the largest
    max - min of the advantages of a state, or 1 if all are equal).

    **Arguments:** as in `temperature_dual`; `epsilon` > 0.

    **Returns:** one number; the lower end of the interval if no temperature in it gives so large a divergence (epsilon
    above log n, or equal advantages).
    """
    advantages, mask = _check_arguments("solve_temperature", advantages, mask, 1.0)
    require_shapes("solve_temperature", (), epsilon=epsilon)
    require_positive("solve_temperature", epsilon=jnp.asarray(epsilon))
    # Weights do not depend on an offset; subtracting the maximum makes rounding independent of it too.
    centred, _ = _below_largest(advantages, mask)
    widest = -jnp.min(centred)
    spread = jnp.where(widest > LEAST_SPREAD, widest, 1.0)
    log_n = jnp.log(jnp.maximum(jnp.sum(mask, axis=-1), 1).astype(float))

    def divergence(log_temperature: Array) -> Array:
        log_w = weights.normalised(_over(centred, spread * jnp.exp(log_temperature), mask))
        terms = jnp.where(log_w > -jnp.inf, weights.from_log(log_w) * jnp.where(log_w > -jnp.inf, log_w, 0.0), 0.0)
        return _mean_of_states(jnp.sum(terms, axis=-1) + log_n, mask)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        too_cold = divergence(middle) > jnp.asarray(epsilon, float)
        return jnp.where(too_cold, middle, low), jnp.where(too_cold, high, middle)

    ends = (jnp.log(jnp.asarray(1e-4, float)), jnp.log(jnp.asarray(1e4, float)))
    low, high = lax.fori_loop(0, BISECTIONS, halve, ends)
    return spread * jnp.exp(0.5 * (low + high))


def replay_weights(probabilities: ArrayLike, beta: ArrayLike, *, size: ArrayLike | None = None) -> Float[Array, " n"]:
    """(size P_i)^-beta, the importance weights of prioritised replay; divided by their maximum if `size` is None.

    **Arguments:**

    - `probabilities`, [n]: P_i with which the sampled entries were drawn.
    - `beta`: 1 for the full correction.
    - `size`: the size of the buffer. With beta = 1 the weights then have mean 1 in expectation. If None the largest
      weight of the batch is 1, as in the paper, so that weights only shorten steps; the size cancels.

    **Raises:** `ValueError` for no entries, probabilities outside (0, 1], a beta that is not finite, and a size that is
    not positive.

    **Source:** Schaul et al. (2016), section 3.4.
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


def _check_arguments(
    owner: str, advantages: ArrayLike, mask: ArrayLike | None, temperature: ArrayLike
) -> tuple[Samples, Array]:
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
    """(A - max A of its row, 0 where masked; max A)."""
    largest = jnp.max(jnp.where(mask, advantages, -jnp.inf), axis=-1, keepdims=True)
    largest = lax.stop_gradient(jnp.where(largest > -jnp.inf, largest, 0.0))
    return jnp.where(mask, advantages - largest, 0.0), largest[..., 0]


def _over(advantages: Samples, temperature: ArrayLike, mask: Array) -> Samples:
    """log w = A / temperature, -inf where masked."""
    return jnp.where(mask, advantages / jnp.asarray(temperature, float), -jnp.inf)


def _mean_of_states(values: Float[Array, "*batch"], mask: Array) -> Float[Array, ""]:
    """The mean over states that are not masked throughout."""
    kept = jnp.any(mask, axis=-1)
    return jnp.sum(jnp.where(kept, values, 0.0)) / jnp.sum(kept).astype(values.dtype)
