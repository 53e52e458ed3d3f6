"""Bounds of logarithms: the value is bounded, the gradient passes through unchanged.

The derivatives are custom rules: with `jnp.where`, XLA's loops over an objective took up to twice as long on a CPU.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Logs = Float[Array, "*shape"]
# e^60 = 1e26: a million such weights on advantages up to a million sum to less than the largest float32 (3e38). If exp
# overflowed, the gradient of a clipped objective would be 0 times infinity.
LARGEST_LOG_WEIGHT = 60.0


@jax.custom_jvp
def bounded_log_weight(log_w: Logs) -> Logs:
    """min(log w, `LARGEST_LOG_WEIGHT`), with derivative 1, so that a bad action of enormous ratio keeps a gradient."""
    return jnp.minimum(log_w, LARGEST_LOG_WEIGHT)


@jax.custom_jvp
def finite_log(log_p: Logs) -> Logs:
    """log p, with -inf replaced by the most negative finite number: its product with a weight of 0 is 0."""
    return jnp.maximum(log_p, jnp.finfo(log_p.dtype).min)


bounded_log_weight.defjvp(lambda at, along: (bounded_log_weight(*at), *along))
finite_log.defjvp(lambda at, along: (finite_log(*at), *along))


def nan_where_impossible(values: Float[Array, "*batch V"], log_w: Float[Array, "*batch W"]) -> Float[Array, "*batch _"]:
    """`values`, NaN where the weight is infinite or NaN: mu had probability 0 for the action taken.

    Apply it to the factor of the weights and not to the weights: XLA on CPU may drop a NaN in a minimum.
    """
    return jnp.where(lax.stop_gradient(log_w) < jnp.inf, values, jnp.nan)
