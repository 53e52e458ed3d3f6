"""Sums and weights in log space, with gradients that stay finite where a weight is 0."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def log_sum_exp(terms: list[Float[Array, "*shape"]]) -> Float[Array, "*shape"]:
    """log sum_k exp(terms_k), -inf where all terms are, with a gradient of 0 there instead of NaN."""
    top = terms[0]
    for term in terms[1:]:
        top = jnp.maximum(top, term)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
    total = jnp.zeros_like(top)
    for term in terms:
        total = total + jnp.exp(term - top)
    alive = total > 0
    return jnp.where(alive, jnp.log(jnp.where(alive, total, 1.0)) + top, -jnp.inf)


def log_weights_of(weights: Float[Array, "*shape k"]) -> Float[Array, "*shape k"]:
    """Logarithms of weights, normalised; -inf for a weight of zero."""
    positive = weights > 0
    log_weights = jnp.where(positive, jnp.log(jnp.where(positive, weights, 1.0)), -jnp.inf)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return log_weights - jnp.log(total)
