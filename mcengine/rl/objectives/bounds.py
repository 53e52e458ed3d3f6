"""Logarithms held at a bound in value, whose gradient goes on as if there were none.

Rules of their own for the derivative: with `where`, XLA's loops over an objective took up to twice as long on a CPU.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Logs = Float[Array, "*shape"]
# e^60 = 1e26: a million such weights on advantages up to a million add up within float32 (3e38). Where exp overflows, a
# clipped objective's gradient is 0 times infinity.
LARGEST_LOG_WEIGHT = 60.0


@jax.custom_jvp
def bounded_weight(log_w: Logs) -> Logs:
    """min(log w, `LARGEST_LOG_WEIGHT`). The gradient goes on, so that a bad action far beyond is still pushed away."""
    return jnp.minimum(log_w, LARGEST_LOG_WEIGHT)


@jax.custom_jvp
def finite_log(log_p: Logs) -> Logs:
    """log p, -inf as the least finite number: times a weight of 0 it is 0."""
    return jnp.maximum(log_p, jnp.finfo(log_p.dtype).min)


bounded_weight.defjvp(lambda at, along: (bounded_weight(*at), *along))
finite_log.defjvp(lambda at, along: (finite_log(*at), *along))


def where_possible(of: Float[Array, "*batch V"], log_w: Float[Array, "*batch W"]) -> Float[Array, "*batch _"]:
    """`of`, NaN where w is infinite or NaN: of what cannot have been drawn there is no weight.

    For what weights are multiplied with, and not for them: XLA on CPU may lose a NaN in a minimum.
    """
    return jnp.where(lax.stop_gradient(log_w) < jnp.inf, of, jnp.nan)
