"""Tricks for the compiler, each with its reason."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mcengine.numerics.formats import float_dtype


def runtime_one(key: Array) -> Float[Array, ""]:
    """The number 1, which the compiler cannot know: a key word as a float is never negative."""
    word = jax.random.key_data(key).reshape(-1)[0].astype(float_dtype())
    return jnp.where(word < 0.0, 1.5, 1.0).astype(float_dtype())


def fence(tree, one: Float[Array, ""] | None = None):
    """The same values, computed once: for what several consumers read and is dear to compute.

    XLA on CPU repeats a producer (generator, quantile, exponentials) inside each of its consumers, but not across a
    division, and dividing by `runtime_one` changes no bit. `lax.optimization_barrier` is dropped before that happens:
    a draw of Student-t and its two densities cost 2.3 times as much with it. It does hold between the steps of a
    `scan`, and is what None asks for.
    """
    return lax.optimization_barrier(tree) if one is None else jax.tree.map(lambda leaf: leaf / one, tree)
