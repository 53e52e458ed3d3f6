"""The kernels' number format, and scales carried as logarithms."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def float_dtype() -> jnp.dtype:
    """The kernels' dtype: float32, or float64 where the user has set ``jax_enable_x64``."""
    return jnp.result_type(float)


# log 2 in two parts; the first has so few bits that its product with an exponent is exact.
_LOG_2_HIGH, _LOG_2_LOW = 0.693145751953125, 1.4286068203094172e-06


def add_exponent(log_scale: Float[Array, "*shape"], exponent: Array) -> tuple[Array, Array]:
    """(L, c) with exp(log_scale) 2^exponent = c exp(L): L rounded to a float, c near 1 what that took away.

    Without c a scale of e^30 would be off by 1e-6, the same way in every sample.
    """
    steps = exponent.astype(log_scale.dtype)
    total = log_scale + steps * (_LOG_2_HIGH + _LOG_2_LOW)
    # log_scale - total without rounding (Knuth's two-sum).
    difference = log_scale - total
    back = difference - log_scale
    lost = (log_scale - (difference - back)) - (total + back)
    return total, jnp.exp(((difference + steps * _LOG_2_HIGH) + lost) + steps * _LOG_2_LOW)
